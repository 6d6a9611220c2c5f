"""The runs on one cluster: who is there is kept from cycle to cycle, when they end is told from a moment on. Pure.

Owns how that is laid out, as columns for a look at all clusters at once, and as objects for who looks at one. When a
run ends, usage.py says; the columns say the same but for the last bits of a float.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from atoll.federation.capacity import Shape
from atoll.federation.placement import ClusterView, Columns, End, Occupation, Occupations, taken, view_of_cluster
from atoll.federation.resources import Cluster, ObjectMeta
from atoll.hub.scheduler.usage import (
    LEAST_REMAINING_PART,
    Held,
    counted_runs,
    grace_seconds,
    is_counted,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tenants:
    """Who is on a cluster, those first whom its free capacity is already without, each by the names of the runs.

    Attributes:
        cluster: as it was reported.
        plain: how it is seen without any runs.
        held: what the runs hold; the first `counted` of them are in what was reported.
        shapes: its nodes, without what those hold that were not reported.
    """

    cluster: Cluster
    plain: ClusterView
    held: tuple[Held, ...]
    counted: int
    shapes: tuple[Shape, ...]

    @classmethod
    def of(cls, cluster: Cluster, plain: ClusterView, held: Mapping[str, Held]) -> "Tenants":
        """Sort the runs on a cluster."""
        known = counted_runs(cluster.status.inventory)
        ordered = [each for _, each in sorted(held.items())]
        counted = [each for each in ordered if is_counted(each.run, known)]
        others = [each for each in ordered if not is_counted(each.run, known)] if len(counted) < len(ordered) else []
        shapes = plain.shapes
        for each in others:
            shapes = taken(shapes, each.pods)
        return cls(cluster, plain, (*counted, *others), len(counted), shapes)

    @classmethod
    def none(cls) -> "Tenants":
        """Have nobody, on no cluster."""
        nowhere = Cluster(metadata=ObjectMeta(name="nowhere"))
        return cls.of(nowhere, view_of_cluster(nowhere), {})

    @cached_property
    def columns(self) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
        """When runs began (not a number: not yet), how long they take from then, or from now; and what they hold."""
        begun = [each.run.status.started_at for each in self.held]
        starts = [np.nan if at is None else _seconds(at) for at in begun]
        takes = [_takes(each) for each in self.held]
        leaves = [np.nan if each.run.spec.preempted is None else grace_seconds(each.grace) for each in self.held]
        amounts = np.array([each.spoken.amounts for each in self.held], np.int64).reshape(-1, 3)
        return np.array(starts, np.float64), np.array(takes, np.float64), np.array(leaves, np.float64), amounts


class Stays(Occupations):
    """The runs on a cluster, with their ends as seen from a moment."""

    def __init__(self, tenants: Tenants, now: datetime) -> None:
        """See who is there."""
        self.held, self._tenants, self._now = tenants.held, tenants, now

    def __len__(self) -> int:
        """Count them."""
        return len(self.held)

    @overload
    def __getitem__(self, at: int) -> Occupation: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Occupation]: ...
    def __getitem__(self, at: int | slice) -> Occupation | Sequence[Occupation]:
        """Give one, or some."""
        return self._occupations[at]

    def __iter__(self) -> Iterator[Occupation]:
        """Give each of them."""
        return iter(self._occupations)

    def __eq__(self, other: object) -> bool:
        """Tell whether the same runs end at the same moments."""
        return isinstance(other, Sequence) and self._occupations == tuple(other)

    def __hash__(self) -> int:
        """Be as equal ones are."""
        return hash(self._occupations)

    @cached_property
    def _occupations(self) -> tuple[Occupation, ...]:
        return tuple(
            Occupation.of(key, pods, seconds, is_counted=at < self._tenants.counted)
            for at, (seconds, key, pods) in enumerate(self.ends)
        )

    @property
    def ends(self) -> Iterable[End]:
        """Tell when each ends."""
        seconds = self.columns.ends_in_seconds.tolist()
        return ((seconds[at], each.key, each.spoken.pods) for at, each in enumerate(self.held))

    @cached_property
    def columns(self) -> Columns:
        """Lay them out."""
        starts, takes, leaves, amounts = self._tenants.columns
        left = takes - (_seconds(self._now) - starts)
        going = np.maximum(np.maximum(left, -left), takes * LEAST_REMAINING_PART)
        ends = np.where(np.isnan(starts), takes, going)
        return Columns(np.where(np.isnan(leaves), ends, leaves), amounts)


def _takes(held: Held) -> float:
    return held.run_seconds + (held.staging_seconds if held.run.status.started_at is None else 0.0)


def _seconds(at: datetime) -> float:
    return at.timestamp()
