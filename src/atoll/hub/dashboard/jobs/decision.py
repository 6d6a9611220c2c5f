"""The decision table of one job: every cluster with its seconds, or why it cannot take the job. Pure.

Owns the reading of a decision record (federation/placement/decision.py has its form). People may have written one, so
nothing is assumed of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from atoll.hub.dashboard.words import duration, instant

# In the order in which they pass; staging goes on during the wait, so only what is beyond it counts.
_TERMS = (
    ("waitSeconds", "wait"),
    ("stagingSeconds", "staging"),
    ("runSeconds", "run"),
    ("moneySeconds", "cost"),
    ("idleSeconds", "idle"),
)


@dataclass(frozen=True)
class Slice:
    """One term of a score: as a part of the longest total, and in seconds."""

    term: str
    begin: float
    width: float
    seconds: float


@dataclass(frozen=True)
class Candidate:
    """A cluster that could take the job. `seconds` gives every term by its name, `total` among them."""

    cluster: str
    is_selected: bool
    total: float
    seconds: Mapping[str, float]
    slices: tuple[Slice, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """Clusters that are out for the same first reason."""

    reason: str
    messages: tuple[str, ...]
    clusters: tuple[str, ...]
    more: int = 0


@dataclass(frozen=True)
class DecisionModel:
    """A whole decision. `queue` says what limit of a queue is in the way; then no cluster was looked at."""

    headline: str
    decided_at: datetime | None
    candidates: tuple[Candidate, ...]
    refusals: tuple[Refusal, ...]
    helps: tuple[str, ...]
    queue: str
    claim: str
    learned: str
    notes: tuple[str, ...] = ()
    """What is said of every candidate alike."""


def view_decision(record: Mapping[str, Any] | None) -> DecisionModel | None:
    """Read a record; None if there is none yet."""
    if not record:
        return None
    entries, selected = _objects(record.get("clusters")), record.get("selected")
    feasible = [each for each in entries if each.get("isFeasible") and isinstance(each.get("terms"), Mapping)]
    longest = max((_number(each["terms"], "totalSeconds") for each in feasible), default=0.0)
    candidates = [_candidate(each, selected, longest) for each in feasible]
    alike = _shared(candidates)
    return DecisionModel(
        headline=_headline(record),
        decided_at=instant(str(record.get("decidedAt", ""))),
        candidates=tuple(replace(each, notes=_without(each.notes, alike)) for each in candidates),
        refusals=_refusals([each for each in entries if each not in feasible], record.get("omitted")),
        helps=tuple(dict.fromkeys(_help(each) for each in _objects(record.get("diagnosis")))),
        queue=_queue(record.get("queue")),
        claim=_claim(record.get("claim")),
        learned=_learned(record.get("demand")),
        notes=alike,
    )


def _without(notes: Sequence[str], left_out: Sequence[str]) -> tuple[str, ...]:
    return tuple(note for note in notes if note not in left_out)


def _shared(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Give the notes that stand at every candidate, of more than one."""
    if len(candidates) < 2:
        return ()
    return tuple(note for note in candidates[0].notes if all(note in each.notes for each in candidates))


def _headline(record: Mapping[str, Any]) -> str:
    selected = record.get("selected")
    if record.get("queue"):
        return "It waits for its queue"
    if not selected:
        return "No cluster can take it"
    return f"It goes to {selected}" if record.get("startsNow") else f"It waits for room on {selected}"


def _candidate(entry: Mapping[str, Any], selected: Any, longest: float) -> Candidate:
    seconds = {word: _number(entry["terms"], term) for term, word in _TERMS}
    total = _number(entry["terms"], "totalSeconds")
    copies = [f"copies {each.get('dataset')} from {each.get('source')}" for each in _objects(entry.get("staging"))]
    name = str(entry.get("cluster", ""))
    notes = (*copies, *map(str, _list(entry.get("notes"))))
    return Candidate(name, name == selected, total, seconds, tuple(_slices(seconds, longest)), notes)


def _slices(seconds: Mapping[str, float], longest: float) -> Iterable[Slice]:
    """Lay the terms one after another, as they add up to the total."""
    at = 0.0
    for term, value in seconds.items():
        beyond = max(0.0, value - seconds["wait"]) if term == "staging" else value
        if beyond > 0 and longest > 0:
            yield Slice(term, round(at / longest, 4), round(beyond / longest, 4), value)
            at += beyond


def _refusals(entries: Sequence[Mapping[str, Any]], omitted: Any) -> tuple[Refusal, ...]:
    alike: dict[str, list[tuple[str, str]]] = {}
    for entry in entries:
        reasons = _objects(entry.get("reasons"))
        first = str(reasons[0].get("reason", "Unknown")) if reasons else "Unknown"
        words = "; ".join(str(each.get("message", "")) for each in reasons)
        alike.setdefault(first, []).append((str(entry.get("cluster", "")), words))
    more = dict(omitted) if isinstance(omitted, Mapping) else {}
    for reason in more:
        alike.setdefault(reason, [])
    return tuple(
        Refusal(
            reason,
            tuple(dict.fromkeys(words for _, words in found if words)),
            tuple(name for name, _ in found),
            int(more.get(reason, 0)),
        )
        for reason, found in sorted(
            alike.items(), key=lambda item: (-len(item[1]) - int(more.get(item[0], 0)), item[0])
        )
    )


def _help(entry: Mapping[str, Any]) -> str:
    saves = entry.get("savesSeconds")
    gain = f" ({duration(saves)} sooner)" if isinstance(saves, int | float) and saves > 0 else ""
    return f"{entry.get('message', '')}{gain}"


def _queue(limit: Any) -> str:
    if not isinstance(limit, Mapping):
        return ""
    return ". ".join(str(limit[name]) for name in ("message", "advice") if limit.get(name))


def _claim(claim: Any) -> str:
    if not isinstance(claim, Mapping):
        return ""
    where = claim.get("cluster")
    if claim.get("kind") == "Preempting":
        return f"runs are stopped for it on {where}, where its room is kept"
    return f"room on {where} is kept for it, expected at {str(claim.get('startsAt', ''))[:19].replace('T', ' ')} UTC"


def _learned(demand: Any) -> str:
    learned = demand.get("learned") if isinstance(demand, Mapping) else None
    if not isinstance(learned, Mapping):
        return ""
    low, high = _number(learned, "lowSeconds"), _number(learned, "highSeconds")
    runs = int(_number(learned, "runs"))
    return f"learned from {runs} earlier runs: {duration(low)} to {duration(high)}"


def _number(values: Any, name: str) -> float:
    value = values.get(name) if isinstance(values, Mapping) else None
    return float(value) if isinstance(value, int | float) else 0.0


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in _list(value) if isinstance(each, Mapping)]
