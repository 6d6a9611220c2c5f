"""What of a cycle's findings is news to the jobs that wait. A status is written only when it would say another thing.

Owns what "another thing" is: another reason, other clusters or reasons of clusters, another limit in the way, or an end
that is expected at another time. Numbers alone are none: they change with every job that starts anywhere. Pure but for
what it remembers of statuses, so that each is read once per revision; it is used by one cycle at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from atoll.federation.placement import Decision, decided_at, outline, recorded_terms
from atoll.hub.scheduler.cycle import Waiting

# Statuses written by one cycle. Fewer: thousands of jobs that come at once are told later why they wait. More: a job
# that could start waits for those writes.
MOST_TOLD = 500
# An expected end that moves by less is the same one: at least a minute, and this part of the time that is left.
_LEAST_MOVE_SECONDS = 60.0
_LEAST_MOVE_PART = 0.1


@dataclass(frozen=True)
class _Said:
    """What a status, or a new finding, says of a waiting job."""

    substance: tuple[Any, ...]
    ends_at: datetime | None = None
    seconds: float = 0.0

    def is_about(self, other: "_Said") -> bool:
        """Tell whether both say the same."""
        if self.substance != other.substance or (self.ends_at is None) != (other.ends_at is None):
            return False
        if self.ends_at is None or other.ends_at is None:
            return True
        least = max(_LEAST_MOVE_SECONDS, _LEAST_MOVE_PART * self.seconds)
        return abs((self.ends_at - other.ends_at).total_seconds()) <= least


@dataclass
class News:
    """Picks what must be told. Jobs that wait longest in the order of the cycle are told first."""

    _statuses: dict[str, tuple[str | None, _Said]] = field(default_factory=dict)

    def of(self, waiting: Sequence[Waiting]) -> tuple[Waiting, ...]:
        """Give those whose status says something else than was found."""
        known, self._statuses = self._statuses, {}
        findings: dict[int, _Said] = {}
        return tuple(each for each in waiting if self._is_news(each, known, findings))

    def _is_news(
        self, found: Waiting, known: Mapping[str, tuple[str | None, _Said]], findings: dict[int, _Said]
    ) -> bool:
        job = found.job
        revision, said = known.get(job.key, (None, None))
        if said is None or revision is None or revision != job.metadata.resource_version:
            said = _in_record(job.status.decision)
        self._statuses[job.key] = (job.metadata.resource_version, said)
        if job.status.reason != found.reason:
            return True
        if found.obstacle is None and found.decision is None:
            return job.status.message != found.message
        return not _found(found, findings).is_about(said)


def _found(waiting: Waiting, findings: dict[int, _Said]) -> _Said:
    """Say what was found; jobs of a likeness share their verdicts, which are looked through once."""
    if waiting.obstacle is not None:
        return _Said(_obstacle(waiting.obstacle.to_dict()))
    decision = waiting.decision
    assert decision is not None, "a finding is of queues or of clusters"
    known = findings.get(id(decision.verdicts))
    if known is None:
        known = findings[id(decision.verdicts)] = _in_decision(decision)
    return known


def _in_decision(decision: Decision) -> _Said:
    return _in_record(decision.to_dict())


def _in_record(record: Mapping[str, Any] | None) -> _Said:
    """Read what a stored record says. People may have written it, so nothing is assumed of it."""
    if not record:
        return _Said(())
    queue = record.get("queue")
    if isinstance(queue, Mapping):
        return _Said(_obstacle(queue))
    at, selected = decided_at(record), record.get("selected")
    seconds = recorded_terms(record, selected).get("totalSeconds") if isinstance(selected, str) else None
    if at is None or seconds is None:
        return _Said(outline(record))
    return _Said(outline(record), at + timedelta(seconds=min(seconds, 1e9)), seconds)


def _obstacle(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Reduce a limit in the way to whose it is, of what, and how high."""
    return ("queue", *(record.get(name) for name in ("queue", "resource", "field", "limit", "asked")))
