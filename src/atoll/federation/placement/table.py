"""All clusters as columns: the same views, laid out so that one numpy operation looks at every cluster.

Owns the layout only; what makes a cluster feasible or good stands in feasible.py and score.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np

from atoll.federation.estimates import Moving
from atoll.federation.mesh import round_trip_seconds, transfer_rate
from atoll.federation.placement.demand import PodDemand, Pods
from atoll.federation.placement.gangs import emptied, has_room
from atoll.federation.placement.links import Links
from atoll.federation.placement.shapes import Blocks, Bools, Floats, Ints, ShapeColumns, Suitable
from atoll.federation.placement.spread import Seeds, seed
from atoll.federation.placement.views import ClusterView
from atoll.federation.placement.waiting import seconds_until_free
from atoll.federation.resources import LabelSelector

_UNLIMITED_BYTES = int(np.iinfo(np.int64).max)


class Arrival(NamedTuple):
    """A copy on its way to the cluster at a position."""

    position: int
    moving: Moving


@dataclass(frozen=True)
class ClusterTable:
    """The clusters of one snapshot as columns. A question that was asked before is answered from memory."""

    views: tuple[ClusterView, ...]
    links: Links
    index: Mapping[str, int]
    shapes: ShapeColumns
    is_ready: Bools
    is_asleep: Bools
    is_heard: Bools
    is_cordoned: Bools
    is_leaving: Bools
    has_runs: Bools
    has_storage: Bools
    storage_bytes: Ints
    gpu_hour: Floats
    cpu_hour: Floats
    egress_gib: Floats
    _answers: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, views: Sequence[ClusterView], links: Links, blocks: Blocks | None = None) -> "ClusterTable":
        """Lay out views, in the order given; `blocks` remembers the nodes of those that did not change."""
        return cls(
            views=tuple(views),
            links=links,
            index={view.name: index for index, view in enumerate(views)},
            shapes=ShapeColumns.of([view.shapes for view in views], blocks),
            is_ready=np.array([view.is_ready for view in views], np.bool_),
            is_asleep=np.array([view.is_asleep for view in views], np.bool_),
            is_heard=np.array([view.is_heard for view in views], np.bool_),
            is_cordoned=np.array([view.is_cordoned for view in views], np.bool_),
            is_leaving=np.array([view.is_leaving for view in views], np.bool_),
            has_runs=np.array([len(view.occupations) > 0 for view in views], np.bool_),
            has_storage=np.array([view.storage is not None for view in views], np.bool_),
            storage_bytes=np.array([_storage_bytes(view) for view in views], np.int64),
            gpu_hour=np.array([view.costs.gpu_hour for view in views], np.float64),
            cpu_hour=np.array([view.costs.cpu_hour for view in views], np.float64),
            egress_gib=np.array([view.costs.egress_gib for view in views], np.float64),
        )

    def __len__(self) -> int:
        """Count the clusters."""
        return len(self.views)

    @cached_property
    def seeds(self) -> Seeds:
        """The clusters' own numbers, by which equally good ones are chosen from."""
        return np.array([seed(view.name) for view in self.views], np.uint64)

    def with_occupied(self, view: ClusterView) -> "ClusterTable":
        """See one cluster with other node shapes and occupations; nothing else of the view may differ."""
        position = self.index[view.name]
        views = (*self.views[:position], view, *self.views[position + 1 :])
        shapes = self.shapes.with_shapes(position, view.shapes)
        has_runs = self.has_runs.copy()
        has_runs[position] = bool(view.occupations)
        kept = {key: answer for key, answer in self._answers.items() if key[0] in _LASTING}
        for key, waits in self._answers.items():
            if key[0] == "waits":
                kept[key] = waits.copy()
                kept[key][position] = np.nan
        return replace(self, views=views, shapes=shapes, has_runs=has_runs, _answers=kept)

    def labelled(self, selector: LabelSelector) -> Bools:
        """Tell which clusters a selector matches."""
        key = ("labels", selector.model_dump_json())
        return self._bools(key, lambda view: selector.matches(dict(view.labels)))

    def within(self, residency: tuple[str, ...]) -> Bools:
        """Tell which clusters are in one of the jurisdictions; none named means all are."""
        key = ("residency", residency)
        return self._bools(key, lambda view: not residency or not set(residency).isdisjoint(view.residency))

    def reached_from(self, source: str) -> Bools:
        """Tell which clusters can copy from a cluster now; none from one that is unknown or not heard."""
        heard = source in self.index and bool(self.is_heard[self.index[source]])
        key = ("links", source)
        return self._bools(key, lambda view: heard and self.links.between(source, view.name).is_usable)

    def rates_from(self, source: str) -> Floats:
        """Estimate the bytes/s that one more copy from a cluster to every cluster gets, beside those under way."""
        traffic = self.links.traffic
        return self._floats(
            ("rates", source), lambda view: self.rate(source, view.name) / (1 + traffic.sharing(source, view.name))
        )

    def rate(self, source: str, destination: str) -> float:
        """Estimate the bytes/s that copies between two clusters have among them: measured, or as declared."""
        ours, theirs = (self.views[self.index[name]].uplink for name in (source, destination))
        measured = self.links.traffic.rate((source, destination), self.links.now)
        return transfer_rate(ours, theirs, measured.bytes_per_second if measured is not None else None)

    def arriving(self, dataset: str, version: int) -> tuple[Arrival, ...]:
        """Give the copies of a dataset's version that are under way to clusters, from ones that are still reached."""
        return tuple(
            Arrival(self.index[name], moving)
            for name, moving in self.links.traffic.arriving(dataset, version).items()
            if name in self.index and moving.source in self.index and self.reached_from(moving.source)[self.index[name]]
        )

    def round_trips_from(self, source: str) -> Floats:
        """Estimate the seconds of a round trip from a cluster to every cluster."""
        uplink = self.views[self.index[source]].uplink
        return self._floats(("trips", source), lambda view: round_trip_seconds(uplink, view.uplink))

    def suitable(self, pod: PodDemand) -> Suitable:
        """Tell which node shapes are of the right sort for a pod."""
        key = ("suitable", pod)
        if key not in self._answers:
            self._answers[key] = Suitable.of(pod, self.shapes)
        return cast(Suitable, self._answers[key])

    def serves(self, kinds: tuple[tuple[str, str], ...]) -> Bools:
        """Tell which clusters serve all of these kinds."""
        return self._bools(("kinds", kinds), lambda view: view.workload_kinds.issuperset(kinds))

    def holding_all(self, pods: Pods, among: Bools, *, is_empty: bool) -> Bools:
        """Tell which clusters have room for all groups of pods at once, now or if they were empty; none but `among`."""
        result = np.zeros(len(self), np.bool_)
        for position in np.flatnonzero(among):
            shapes = self.views[position].shapes
            result[position] = has_room(emptied(shapes) if is_empty else shapes, pods)
        return result

    def waits(self, pods: Pods, among: Bools) -> Floats:
        """Estimate when clusters have room for all pods; infinite if that cannot be told. Valid where `among` holds."""
        waits: Floats = self._answers.setdefault(("waits", pods), np.full(len(self), np.nan))
        for position in np.flatnonzero(among & np.isnan(waits)):
            waits[position] = seconds_until_free(pods, self.views[position])
        return waits

    def _bools(self, key: tuple[Any, ...], holds: Callable[[ClusterView], bool]) -> Bools:
        if key not in self._answers:
            self._answers[key] = np.array([holds(view) for view in self.views], np.bool_)
        return np.asarray(self._answers[key])

    def _floats(self, key: tuple[Any, ...], tell: Callable[[ClusterView], float]) -> Floats:
        if key not in self._answers:
            self._answers[key] = np.array([tell(view) for view in self.views], np.float64)
        return np.asarray(self._answers[key])


# Answers that do not depend on what is free.
_LASTING = frozenset({"kinds", "labels", "residency", "links", "rates", "trips"})


def _storage_bytes(view: ClusterView) -> int:
    if view.storage is None or view.storage.free_bytes is None:
        return _UNLIMITED_BYTES
    return min(view.storage.free_bytes, _UNLIMITED_BYTES)
