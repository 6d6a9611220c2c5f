"""Which stream a name stands for, and how far it goes, as its leader says. Owns the one look that all readers have."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atoll.federation.bus.connection import Bus


@dataclass(frozen=True)
class StreamExtent:
    """Which stream it is, and its newest sequence. One made anew has another `created` and counts from 1 again."""

    created: str
    last_sequence: int
    bytes: int = 0
    max_bytes: int = 0

    @classmethod
    async def read(cls, bus: "Bus", stream: str) -> "StreamExtent":
        """Ask the server.

        Raises:
            NotFound: the stream does not exist yet. Unavailable: NATS does not answer.
        """
        info = await bus.api(f"STREAM.INFO.{stream}")
        state = info["state"]
        return cls(
            str(info.get("created", "")), int(state["last_seq"]), int(state["bytes"]), int(info["config"]["max_bytes"])
        )
