"""Gateway: the agent beside a lab's instruments; its broker, its outbox and what it has proven."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from atoll.federation.resources.base import Condition, DnsLabel, Duration, Model, NonNegative, Resource
from atoll.federation.resources.gateway_mqtt import MqttSpec
from atoll.federation.resources.intake_counts import IntakeCounts
from atoll.federation.resources.stream_files import StreamFiles
from atoll.federation.resources.uplink import UplinkSpec

BrokerUrl = Annotated[str, StringConstraints(pattern=r"^mqtts?://[^\s/]+$", max_length=512)]
GatewayPhase = Literal["Pending", "Ready", "Degraded", "Unreachable"]


class GatewaySpec(Model):
    """Which broker the gateway listens to, and how much it may keep when the hub is away."""

    site: DnsLabel | None = None
    broker: BrokerUrl | None = Field(
        default=None,
        description="mqtt://host:port or mqtts://host:port; the gateway's own setting if unset. "
        "User and password are told to the gateway on its own machine: whoever reads this object would read them. "
        "One that has a password and a --broker of its own goes to that broker only.",
    )
    mqtt: MqttSpec | None = Field(default=None, description="The session that the gateway asks its broker for.")
    outbox_bytes: Annotated[int, Field(ge=1_000_000)] = 10_000_000_000
    files_bytes: Annotated[int, Field(ge=1_000_000)] = Field(
        default=10_000_000_000,
        description="Room at the hub for large files on their way; the largest file has to fit.",
    )
    outbox_age: Duration | None = Field(
        default=None,
        description="Longest that a reading waits in the outbox, where its Stream's buffer says nothing shorter; "
        "absent: as long as it takes. It is counted while the gateway runs.",
    )
    uplink: UplinkSpec = Field(default=UplinkSpec(), description="What the gateway may take of its link, and when.")


class StreamLedger(IntakeCounts):
    """What the gateway counts of one stream."""

    stream: str
    duplicates: NonNegative = 0
    forwarded: NonNegative = 0
    outbox_bytes: NonNegative = Field(default=0, description="What the waiting readings take of its disk.")
    readings_per_second: Annotated[float, Field(ge=0)] = Field(default=0.0, description="Taken in, of late.")
    forwarded_per_second: Annotated[float, Field(ge=0)] = Field(default=0.0, description="Sent to the hub, of late.")
    problem: str = Field(default="", description="Why nothing of it is taken in now; absent if it is.")


class GatewayStatus(Model):
    """What the gateway reported; `last_proven_at` dates it."""

    phase: GatewayPhase = "Pending"
    reason: str = ""
    outbox_readings: NonNegative = 0
    outbox_bytes: NonNegative = 0
    lag_seconds: Annotated[float, Field(ge=0)] = 0.0
    broker_connected: bool = False
    broker_needed: bool = Field(
        default=True, description="Whether any of its Streams has topics; with files alone there is no broker to have."
    )
    ledger: tuple[StreamLedger, ...] = ()
    files: tuple[StreamFiles, ...] = Field(default=(), description="Where the files of its Streams are on their way.")
    readings_per_second: Annotated[float, Field(ge=0)] = Field(default=0.0, description="Taken in, of late.")
    forwarded_per_second: Annotated[float, Field(ge=0)] = Field(default=0.0, description="Sent to the hub, of late.")
    shed: NonNegative = Field(default=0, description="Readings of all Streams that were given up for want of room.")
    damaged: NonNegative = Field(default=0, description="Readings of all Streams that were lost with the disk.")
    last_proven_at: datetime | None = None
    lost_since: datetime | None = None
    agent_version: str = ""
    conditions: tuple[Condition, ...] = ()
    observed_generation: int | None = None


class Gateway(Resource):
    """The agent of one lab."""

    description: ClassVar[str] = (
        "The agent beside a lab's instruments that takes MQTT messages and forwards them without losing one."
    )

    kind: Literal["Gateway"] = "Gateway"
    spec: GatewaySpec = GatewaySpec()
    status: GatewayStatus = GatewayStatus()
