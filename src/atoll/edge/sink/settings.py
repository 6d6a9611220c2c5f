"""What a sink process is told when it starts."""

from dataclasses import dataclass
from pathlib import Path

from atoll.federation.bus.membership import Membership


@dataclass(frozen=True)
class SinkSettings:
    """The sink of one namespace in one cluster; `root` is where the namespace's dataset volume is mounted."""

    cluster: str
    namespace: str
    membership: Membership
    root: Path
