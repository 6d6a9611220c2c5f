"""What a gateway process is told when it starts."""

from dataclasses import dataclass
from pathlib import Path

from atoll.edge.enrolment import EnrolmentSettings


@dataclass(frozen=True)
class GatewaySettings:
    """One gateway.

    Attributes:
        gateway: the name of the Gateway object that this process is.
        enrolment: how it comes to reach the hub's NATS, which may be away for as long as it likes.
        state_dir: folder of the outbox; one gateway at a time.
        broker: mqtt[s]://[user:password@]host[:port], used unless the Gateway object names one.
        broker_ca_file: certificates to trust for mqtts; the system's if None.
        heartbeat_seconds: how often the hub hears of this gateway.
    """

    gateway: str
    enrolment: EnrolmentSettings
    state_dir: Path
    broker: str | None = None
    broker_ca_file: Path | None = None
    heartbeat_seconds: float = 2.0
