"""Is this envelope the next one of its Stream, and what is missing before it? Pure.

Owns what "next" means: readings of a Stream are numbered without a gap per outbox, and a new outbox starts at 1.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from atoll.edge.sink.arrival import Absent
from atoll.edge.sink.ledger import Checkpoint
from atoll.federation.bus.envelope import Envelope


class Verdict(NamedTuple):
    """`is_new`: it has not been seen. `seen`: the newest reading of its outbox before it."""

    is_new: bool
    seen: int = 0
    missing: int = 0


@dataclass(frozen=True)
class Progress:
    """How far one Stream is, per outbox that ever fed it, and where that is in the log."""

    gateway: str
    stream: str
    outboxes: tuple[tuple[str, int, int], ...] = ()  # ident, newest envelope, newest reading; the latest outbox last
    log_sequence: int = 0
    log_created: str = ""

    def judge(self, envelope: Envelope) -> Verdict:
        """Compare an envelope with what has been seen."""
        _, newest, last = self._of(envelope.outbox)
        if envelope.number <= newest:
            return Verdict(is_new=False)
        return Verdict(is_new=True, seen=last, missing=max(0, envelope.first - last - 1))

    def after(self, envelope: Envelope) -> "Progress":
        """Give the progress with this envelope seen."""
        if not self.judge(envelope).is_new:
            return self
        others = tuple(item for item in self.outboxes if item[0] != envelope.outbox)
        seen = max(envelope.last, self._of(envelope.outbox)[2])
        return replace(self, outboxes=(*others, (envelope.outbox, envelope.number, seen)))

    def at(self, log_sequence: int, log_created: str) -> "Progress":
        """Give the progress with another place in the log."""
        return replace(self, log_sequence=log_sequence, log_created=log_created)

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Give what a ledger keeps of this."""
        return tuple(
            Checkpoint(
                gateway=self.gateway,
                stream=self.stream,
                outbox=outbox,
                envelope=envelope,
                sequence=sequence,
                log_sequence=self.log_sequence,
                log_created=self.log_created,
            )
            for outbox, envelope, sequence in self.outboxes
        )

    def _of(self, outbox: str) -> tuple[str, int, int]:
        return next((item for item in self.outboxes if item[0] == outbox), (outbox, 0, 0))


def absences(verdict: Verdict, envelope: Envelope) -> tuple[Absent, ...]:
    """Name the readings that a new envelope shows to be missing: before it, and among those that it stands for.

    What a disk's damage covers may lie below what has been seen: the hub had it before the gateway lost it.
    """
    found = [Absent(envelope.outbox, verdict.seen + 1, envelope.first - 1)] if verdict.missing else []
    found += [Absent(envelope.outbox, *span, is_shed=True) for span in envelope.shed]
    damaged = ((max(first, verdict.seen + 1), last) for first, last in envelope.damaged)
    found += [Absent(envelope.outbox, first, last) for first, last in damaged if first <= last]
    return tuple(found)


def furthest(left: Progress, right: Progress) -> Progress:
    """Give the one that has seen more. Both are true of files, and one Stream is read by one sink in order."""
    seen_left = {item[0]: item[1] for item in left.outboxes}
    is_ahead = any(envelope > seen_left.get(outbox, 0) for outbox, envelope, _ in right.outboxes)
    return right if is_ahead else left


def restore(checkpoints: tuple[Checkpoint, ...]) -> dict[tuple[str, str], Progress]:
    """Give the progress per (gateway, stream) that a ledger keeps."""
    found: dict[tuple[str, str], Progress] = {}
    for item in checkpoints:
        key = (item.gateway, item.stream)
        old = found.get(key, Progress(item.gateway, item.stream, (), item.log_sequence, item.log_created))
        found[key] = replace(old, outboxes=(*old.outboxes, (item.outbox, item.envelope, item.sequence)))
    return found
