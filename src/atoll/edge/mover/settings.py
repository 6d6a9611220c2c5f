"""What a mover process is told when it starts."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MoverSettings:
    """The mover of one namespace in one cluster; `root` is where the namespace's dataset volume is mounted."""

    cluster: str
    namespace: str
    nats_url: str
    root: Path
