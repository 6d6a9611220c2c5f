"""The ledger that a commit makes of a version. Pure.

Owns what is stated: files, counts, hashes, marks and checkpoints.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from atoll.edge.sink.contents import Contents, earliest, instant, latest
from atoll.edge.sink.contiguity import Progress
from atoll.edge.sink.growth import Growth
from atoll.edge.sink.ledger import Checkpoint, Mark, VersionLedger, manifest_sha256
from atoll.edge.sink.merkle import merkle_root
from atoll.federation.resources.dataset import Ledger

StreamKey = tuple[str, str]  # gateway, stream


def state(
    old: VersionLedger, contents: Contents, growths: Sequence[Growth], progresses: Mapping[StreamKey, Progress]
) -> VersionLedger:
    """Give the ledger of a version once these growths are in its files."""
    is_ended = any(growth.is_ended for growth in growths)
    files = contents.files()
    ledger = old.model_copy(
        update={
            "complete": is_ended,
            "completed_at": datetime.now(UTC) if is_ended else None,
            "produced_by": old.produced_by or next((growth.stream for growth in growths), ""),
            "files": files,
            "manifest_sha256": manifest_sha256(files),
            "numbered": contents.numbered,
            "segments": contents.segments,
            "index": contents.index_ledger(),
            "marks": _marks(old.marks, growths),
            "checkpoints": _checkpoints(old.checkpoints, progresses),
        }
    )
    root = merkle_root(ledger.proven_files())
    return ledger.model_copy(update={"ledger": _counts(old.ledger, contents, growths, root)})


def _counts(old: Ledger, contents: Contents, growths: Sequence[Growth], root: str) -> Ledger:
    sources, feeds = contents.sources(), tuple(contents.feeds.values())
    before = {(feed.gateway, feed.stream, feed.outbox): feed for feed in old.feeds}

    def added(name: str) -> int:
        """Sum over the feeds; what a ledger of old counted without feeds stays."""
        new = sum(getattr(feed, name) for feed in feeds)
        return int(getattr(old, name) + new - sum(getattr(feed, name) for feed in before.values()))

    instants = [instant(at) for growth in growths for at in (growth.first_ns, growth.last_ns) if at is not None]
    return Ledger(
        received=sum(source.received for source in sources),
        gaps=added("gaps"),
        duplicates=added("duplicates"),
        shed=added("shed"),
        late=old.late + sum(growth.late for growth in growths),
        segments=len(contents.segments) + sum(1 for source in contents.closed if not source.is_file),
        merkle_root=root,
        first_at=earliest([old.first_at, *instants]),
        last_at=latest([old.last_at, *instants]),
        sources=sources,
        feeds=feeds,
    )


def _marks(old: Sequence[Mark], growths: Sequence[Growth]) -> tuple[Mark, ...]:
    marks = {(mark.gateway, mark.stream, mark.outbox): mark.envelope for mark in old}
    for growth in growths:
        marks |= {(growth.gateway, growth.stream, outbox): number for outbox, number in growth.marks.items()}
    return tuple(
        Mark(gateway=gateway, stream=stream, outbox=outbox, envelope=envelope)
        for (gateway, stream, outbox), envelope in marks.items()
    )


def _checkpoints(old: Sequence[Checkpoint], progresses: Mapping[StreamKey, Progress]) -> tuple[Checkpoint, ...]:
    kept = (item for item in old if (item.gateway, item.stream) not in progresses)
    return (*kept, *(item for progress in progresses.values() for item in progress.checkpoints()))
