"""How Atoll's streams are set up: tables, logs and records, as JetStream's API takes them. Pure."""

from typing import Any

_DEDUPE_WINDOW_SECONDS = 120
_SECOND = 1_000_000_000


def table_stream(stream: str, prefix: str, *, history: int, is_hubs_own: bool) -> dict[str, Any]:
    """Set up the stream behind tables. See Bus.ensure_table.

    A stream that members write to takes neither batches nor roll-ups. The server answers the first messages of a batch
    with an empty one, wherever their sender says, and to JetStream that is the order to delete a stream; a roll-up
    replaces everybody's messages (docs/adr/0019).
    """
    return {
        "name": stream,
        "subjects": [f"{prefix}.>"],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_msgs_per_subject": history,
        "allow_direct": True,
        "allow_msg_ttl": True,
        "allow_atomic": is_hubs_own,
        "allow_rollup_hdrs": is_hubs_own,
    }


def log_stream(stream: str, prefix: str, *, max_bytes: int, taken_in: str) -> dict[str, Any]:
    """Set up the stream behind a log. See Bus.ensure_log."""
    source = f"{taken_in or prefix}.>"
    return {
        "name": stream,
        "subjects": [source],
        **({"subject_transform": {"src": source, "dest": f"{prefix}.>"}} if taken_in else {}),
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_bytes": max_bytes,
        "duplicate_window": _DEDUPE_WINDOW_SECONDS * _SECOND,
    }


def chunk_stream(stream: str, prefix: str, *, max_bytes: int, taken_in: str) -> dict[str, Any]:
    """Set up the stream behind the chunks of files. See Bus.ensure_chunks."""
    source = f"{taken_in}.>"
    return {
        "name": stream,
        "subjects": [source],
        "subject_transform": {"src": source, "dest": f"{prefix}.>"},
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "discard_new_per_subject": True,
        "max_msgs_per_subject": 1,
        "max_bytes": max_bytes,
    }


def record_stream(
    stream: str, prefix: str, *, max_bytes: int, max_age_seconds: float, in_batches: bool = False
) -> dict[str, Any]:
    """Set up the stream behind records that nobody alters. See Bus.ensure_records."""
    return {
        "name": stream,
        "subjects": [f"{prefix}.>"],
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "max_bytes": max_bytes,
        "max_age": int(max_age_seconds * _SECOND),
        "deny_delete": True,
        "deny_purge": True,
        **({"allow_atomic": True, "allow_direct": True} if in_batches else {}),
    }
