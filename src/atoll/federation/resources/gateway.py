"""Gateway: the agent beside a lab's instruments; its broker, its outbox and what it has proven."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from atoll.federation.resources.base import Condition, DnsLabel, Model, NonNegative, Resource

BrokerUrl = Annotated[str, StringConstraints(pattern=r"^mqtts?://[^\s/]+$", max_length=512)]
GatewayPhase = Literal["Pending", "Ready", "Degraded", "Unreachable"]


class GatewaySpec(Model):
    """Which broker the gateway listens to, and how much it may keep when the hub is away."""

    site: DnsLabel | None = None
    broker: BrokerUrl | None = Field(
        default=None, description="mqtt://host:port or mqtts://host:port; the gateway's own setting if unset."
    )
    outbox_bytes: Annotated[int, Field(ge=1_000_000)] = 10_000_000_000


class StreamLedger(Model):
    """One stream's counters since the gateway's outbox was made."""

    stream: str
    received: NonNegative = 0
    duplicates: NonNegative = 0
    forwarded: NonNegative = 0
    committed: NonNegative = 0


class GatewayStatus(Model):
    """What the gateway reported; `last_proven_at` dates it."""

    phase: GatewayPhase = "Pending"
    reason: str = ""
    outbox_readings: NonNegative = 0
    outbox_bytes: NonNegative = 0
    lag_seconds: Annotated[float, Field(ge=0)] = 0.0
    broker_connected: bool = False
    ledger: tuple[StreamLedger, ...] = ()
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
