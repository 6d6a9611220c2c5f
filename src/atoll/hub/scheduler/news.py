"""What of a cycle's findings is news to the jobs that wait. A status is written only when it would say another thing.

Owns what "another thing" is: another reason, other clusters or reasons of clusters, another limit in the way, or an end
that is expected at another time. Numbers alone are none: they change with every job that starts anywhere. Pure; it is
used by one cycle at a time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from atoll.federation.placement import Decision, decided_at, outline, recorded_terms
from atoll.hub.scheduler.outcome import Waiting

# An expected end that moves by less is the same one: at least a minute, and this part of the time that is left.
_LEAST_MOVE_SECONDS = 60.0
_LEAST_MOVE_PART = 0.1


@dataclass(frozen=True)
class Said:
    """What a status, or a new finding, says of a waiting job."""

    substance: tuple[Any, ...]
    ends_at: datetime | None = None
    seconds: float = 0.0

    def is_about(self, other: "Said") -> bool:
        """Tell whether both say the same."""
        if self.substance != other.substance or (self.ends_at is None) != (other.ends_at is None):
            return False
        if self.ends_at is None or other.ends_at is None:
            return True
        least = max(_LEAST_MOVE_SECONDS, _LEAST_MOVE_PART * self.seconds)
        return abs((self.ends_at - other.ends_at).total_seconds()) <= least


class News:
    """Picks what must be told."""

    def __init__(self) -> None:
        """Begin with no finding."""
        self._findings: dict[int, Said] = {}

    def begin(self) -> None:
        """Begin a cycle: findings of the one before are gone."""
        self._findings = {}

    def of(self, waiting: Iterable[Waiting]) -> tuple[Waiting, ...]:
        """Give those of one cycle whose status says something else than was found."""
        self.begin()
        return tuple(each for each in waiting if self.is_news(each))

    def is_news(self, found: Waiting) -> bool:
        """Tell whether a job's status says something else than was found."""
        status = found.job.status
        if status.reason != found.reason:
            return True
        if found.obstacle is None and found.decision is None:
            return status.message != found.message
        return not self.said(found).is_about(_in_record(status.decision))

    def said(self, found: Waiting) -> Said:
        """Sum a finding up."""
        if found.obstacle is None and found.decision is None and found.promise is None:
            return Said((found.reason, found.message))
        return _found(found, self._findings)


def _found(waiting: Waiting, findings: dict[int, Said]) -> Said:
    """Say what was found; jobs of a likeness share their verdicts, which are looked through once."""
    if waiting.promise is not None:
        return _in_record(waiting.record())
    if waiting.obstacle is not None:
        return Said(_obstacle(waiting.obstacle.to_dict()))
    decision = waiting.decision
    assert decision is not None, "a finding is of queues or of clusters"
    known = findings.get(id(decision.verdicts))
    if known is None:
        known = findings[id(decision.verdicts)] = _in_decision(decision)
    return known


def _in_decision(decision: Decision) -> Said:
    return _in_record(decision.to_dict())


def _in_record(record: Mapping[str, Any] | None) -> Said:
    """Read what a stored record says. People may have written it, so nothing is assumed of it."""
    if not record:
        return Said(())
    queue = record.get("queue")
    if isinstance(queue, Mapping):
        return Said(_obstacle(queue))
    at, selected = decided_at(record), record.get("selected")
    seconds = recorded_terms(record, selected).get("totalSeconds") if isinstance(selected, str) else None
    if at is None or seconds is None:
        return Said(outline(record))
    return Said(outline(record), at + timedelta(seconds=min(seconds, 1e9)), seconds)


def _obstacle(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Reduce a limit in the way to whose it is, of what, and how high."""
    return ("queue", *(record.get(name) for name in ("queue", "resource", "field", "limit", "asked")))
