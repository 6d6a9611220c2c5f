"""The last hour of the federation: GPUs in use, jobs that run and that wait. Pure.

Owns a ring of samples in this hub's memory, and their form for a chart. It is no record: a hub that starts knows
nothing yet, and `/metrics` is where a platform keeps what it wants to know for longer.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from atoll.hub.dashboard.fleet.clusters import ClusterRow
from atoll.hub.dashboard.queues.rows import QueueRow

SECONDS = 10.0
_SAMPLES = 360
_TOLD = 12


@dataclass(frozen=True, slots=True)
class Sample:
    """One look."""

    at: datetime
    gpus: int
    used_gpus: int
    running: int
    waiting: int


class Trend:
    """The samples of the last hour."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=_SAMPLES)

    def take(self, sample: Sample) -> None:
        """Keep one; the oldest goes when there are enough."""
        self._samples.append(sample)

    @property
    def samples(self) -> Sequence[Sample]:
        """All that are kept, the oldest first."""
        return tuple(self._samples)


def look(clusters: Mapping[str, ClusterRow], queues: Mapping[str, QueueRow], at: datetime) -> Sample:
    """Sum up how it is now; a queue counts with those below it, so the tops are all."""
    tops = [row for row in queues.values() if row.parent not in queues]
    return Sample(
        at=at,
        gpus=sum(row.gpus for row in clusters.values()),
        used_gpus=sum(row.gpus - row.free_gpus for row in clusters.values()),
        running=sum(row.running for row in tops),
        waiting=sum(row.pending for row in tops),
    )


@dataclass(frozen=True)
class TrendModel:
    """The chart: data for the script that draws it, and a few of its rows for the table behind it."""

    data: Mapping[str, Any]
    rows: tuple[Sample, ...]


def view_trend(samples: Iterable[Sample]) -> TrendModel | None:
    """Make the chart; None while there is no line to draw."""
    known = tuple(samples)
    if len(known) < 2:
        return None
    series = (
        ("GPUs in use", "lagoon", [each.used_gpus for each in known]),
        ("jobs that run", "kelp", [each.running for each in known]),
        ("jobs that wait", "sun", [each.waiting for each in known]),
    )
    data = {
        "times": [int(each.at.timestamp()) for each in known],
        "series": [{"name": name, "tone": tone, "values": values} for name, tone, values in series],
    }
    step = max(1, -(-len(known) // _TOLD))
    return TrendModel(data, tuple(reversed(known[::-1][::step])))
