"""What a hub is told when it starts. Owns the values only; the command line fills them in."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HubSettings:
    """Settings of one hub process.

    `member_nats_url` is where sinks and movers inside the clusters dial; it differs from `nats_url` when the hub sits
    beside its NATS server. `port` 0 lets the system choose.
    """

    nats_url: str
    state_dir: Path
    host: str = "127.0.0.1"
    port: int = 8700
    member_nats_url: str = ""
    # Program of the sink and mover containers, and the image that holds it (the sandbox runs the program directly).
    data_command: tuple[str, ...] = ("atoll",)
    data_image: str = "ghcr.io/atoll/atoll:0.1.0"
    # Three missed heartbeats of 10 s. Shorter, and a busy agent looks lost; longer, and placement trusts the dead.
    heartbeat_timeout_seconds: float = 30.0
    # A predecessor that was killed holds the lease this long; below 2 s a slow fsync of NATS loses it.
    lease_seconds: float = 3.0
    # Readings that NATS keeps per gateway. NATS sets this much of its disk aside at once; with less, a gateway's own
    # outbox has to hold more of what waits for a cluster that is away.
    lab_log_bytes: int = 4_000_000_000
    # How long a filled log keeps the envelopes of a deleted Stream. Shorter than a person takes to see a mistake and
    # apply the Stream again, and they are lost to it; longer, and they hold up the gateway's other Streams.
    orphan_keep_seconds: float = 600.0
    event_retention_seconds: float = 3600.0
    log_level: str = "info"

    @property
    def nats_url_for_members(self) -> str:
        """Where members dial; the hub's own URL unless told otherwise."""
        return self.member_nats_url or self.nats_url
