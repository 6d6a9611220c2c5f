"""Marks that a key is gone, and the headers that say so. Pure."""

from collections.abc import Mapping

# A follower that was away for less learns of the deletion as such.
_TTL_SECONDS = 86_400


def tombstone_headers(*, has_history: bool = False) -> dict[str, str]:
    """Headers of the mark that a key is gone; kept for a day, so that a follower who was away learns of it.

    Args:
        has_history: the stream keeps older values. They go with the mark's arrival, or the newest of them would come
            back when the mark ends (measured on nats-server 2.15.1).
    """
    headers = {"Atoll-Deleted": "1", "Nats-TTL": f"{_TTL_SECONDS}s"}
    return headers | {"Nats-Rollup": "sub"} if has_history else headers


def is_tombstone(headers: Mapping[str, str] | None) -> bool:
    """Whether a message says that its key is gone: ours, or the server's mark for an expired one."""
    return bool(headers) and ("Atoll-Deleted" in headers or "Nats-Marker-Reason" in headers)  # type: ignore[operator]


def header_lines(head: bytes) -> dict[str, str]:
    """Read the headers of a stored message as the server's API gives them: a status line, then `name: value`."""
    lines = (line.partition(":") for line in head.decode(errors="replace").splitlines()[1:])
    return {name: value.strip() for name, colon, value in lines if colon}
