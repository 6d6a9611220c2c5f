"""Which datasets are open, which run an instrument is in, and what ends it. Pure: the caller has the clock.

Owns the open datasets and the names of runs of each Stream; both outlive a restart. A run is over when all of the
instrument's open datasets are closed; a counted run's number goes up then.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from atoll.edge.gateway.memory import Memory, StreamKey
from atoll.edge.gateway.plans import Levels, StreamPlan, about
from atoll.federation.payloads import as_text, field

_NAMED, _COUNTED = "run-name", "run-number"
# What {run} is before the first start message, and for a reading that does not say: a reading is never without a place.
NO_RUN = "none"
_LONGEST_RUN_NAME = 100


class OpenDataset(NamedTuple):
    """A dataset that readings went into since its last end of run; `levels` are its {topic[N]} values."""

    stream: StreamKey
    dataset: str
    levels: tuple[str, ...]


class _Named(NamedTuple):
    """A run that a message named, and which instruments it is about."""

    name: str
    told: Levels


class Runs:
    """The open datasets and running runs of all Streams."""

    def __init__(self, memory: Memory, opened: Iterable[OpenDataset] = ()) -> None:
        self._memory = memory
        # When something was heard of each, by the caller's clock; None: not since the clock was started.
        self._open: dict[OpenDataset, float | None] = dict.fromkeys(opened)
        self._numbers = {
            (stream, tuple(json.loads(levels))): int(value) for stream, levels, value in memory.facts(_COUNTED)
        }
        self._named: dict[StreamKey, dict[str, _Named]] = {}
        for stream, key, value in memory.facts(_NAMED):
            told = {int(position): level for position, level in json.loads(key).items()}
            self._named.setdefault(stream, {})[key] = _Named(value, told)

    def open(self, item: OpenDataset, *, now: float) -> bool:
        """Note that a dataset receives; tell whether it was not open before."""
        is_new = item not in self._open
        self._open[item] = now
        return is_new

    def is_open(self, item: OpenDataset) -> bool:
        """Tell whether a dataset awaits the end of its run."""
        return item in self._open

    def run_of(self, plan: StreamPlan, instrument: tuple[str, ...], value: Any) -> str:
        """Give what {run} is for a reading."""
        spec = plan.spec.run
        if spec is not None and spec.topic is not None:
            named = self._named.get(plan.key, {}).values()
            return next((run.name for run in named if about(run.told, instrument)), NO_RUN)
        if spec is not None and spec.field is not None:
            return as_text(field(value, spec.field)) or NO_RUN
        return str(self._numbers.get((plan.key, instrument), 1))

    def begin(self, plan: StreamPlan, told: Levels, payload: bytes) -> list[OpenDataset]:
        """Take a start message; give the datasets that end with it, none if it names the run that is running."""
        spec = plan.spec.run
        key = json.dumps(told)
        name = _run_name(plan, payload, spec.field if spec is not None else None)
        known = self._named.setdefault(plan.key, {})
        if key in known and known[key].name == name:
            return []
        ended = self.end(plan, told)
        known[key] = _Named(name, told)
        self._memory.keep(_NAMED, plan.key, key, name)
        return ended

    def end(self, plan: StreamPlan, told: Levels) -> list[OpenDataset]:
        """Close the open datasets of the instruments that a message is about."""
        meant = sorted(item for item in self._open if item.stream == plan.key and about(told, item.levels))
        ended = self._close(meant)
        self._forget_runs(plan.key, told)
        return ended

    def end_of(self, plan: StreamPlan, instrument: tuple[str, ...]) -> list[OpenDataset]:
        """Close the open datasets of one instrument."""
        return self.end(plan, dict(enumerate(instrument)))

    def end_idle(self, plans: Iterable[StreamPlan], *, now: float) -> list[OpenDataset]:
        """Close what was silent for too long. A silence begins with the first question after `restart_clock`."""
        limits = {plan.key: plan.idle_seconds for plan in plans if plan.idle_seconds is not None}
        idle = []
        for item, heard in self._open.items():
            limit = limits.get(item.stream)
            if heard is None:
                self._open[item] = now
            elif limit is not None and now - heard >= limit:
                idle.append(item)
        return self._close(sorted(idle))

    def restart_clock(self) -> None:
        """Count silences anew: while the broker was away, silence meant nothing."""
        self._open = dict.fromkeys(self._open)

    def _close(self, ended: Sequence[OpenDataset]) -> list[OpenDataset]:
        for item in ended:
            del self._open[item]
        still_open = {(item.stream, item.levels) for item in self._open}
        for stream, levels in sorted({(item.stream, item.levels) for item in ended} - still_open):
            self._finish(stream, levels)
        return list(ended)

    def _finish(self, stream: StreamKey, levels: tuple[str, ...]) -> None:
        """Count on, and forget the run that an instrument was in."""
        number = self._numbers[stream, levels] = self._numbers.get((stream, levels), 1) + 1
        self._memory.keep(_COUNTED, stream, json.dumps(levels), str(number))
        self._forget_runs(stream, dict(enumerate(levels)))

    def _forget_runs(self, stream: StreamKey, told: Levels) -> None:
        """Forget the named runs of these instruments, but for those that others are still in."""
        named = self._named.get(stream, {})
        still_open = [item.levels for item in self._open if item.stream == stream]
        for key, run in list(named.items()):
            is_meant = all(told.get(position, level) == level for position, level in run.told.items())
            if is_meant and not any(about(run.told, levels) for levels in still_open):
                del named[key]
                self._memory.drop(_NAMED, stream, key)


def _run_name(plan: StreamPlan, payload: bytes, path: str | None) -> str:
    if path is None:
        return payload.decode(errors="replace").strip()[:_LONGEST_RUN_NAME] or NO_RUN
    return (as_text(field(plan.value(payload), path)) or NO_RUN)[:_LONGEST_RUN_NAME]
