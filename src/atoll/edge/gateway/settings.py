"""What a gateway process is told when it starts."""

from dataclasses import dataclass, field
from pathlib import Path

from atoll.edge.enrolment import EnrolmentSettings
from atoll.edge.gateway.file_source.roots import Roots
from atoll.edge.gateway.mqtt.settings import BrokerSettings


@dataclass(frozen=True)
class GatewaySettings:
    """One gateway.

    Attributes:
        gateway: the name of the Gateway object that this process is.
        enrolment: how it comes to reach the hub's NATS, which may be away for as long as it likes.
        state_dir: folder of the outbox; one gateway at a time.
        broker: which broker, unless the Gateway object names one, and the secrets that only this machine has.
        files: which folders of this machine may be read at all, whatever the hub says.
        heartbeat_seconds: how often the hub hears of this gateway.
    """

    gateway: str
    enrolment: EnrolmentSettings
    state_dir: Path
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    files: Roots = field(default_factory=Roots)
    heartbeat_seconds: float = 2.0
