"""One demand beside all clusters: what every check and every term of the score needs, worked out once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from atoll.federation.placement.demand import Demand, InputDemand
from atoll.federation.placement.shapes import Bools, Floats, Ints, Suitable
from atoll.federation.placement.table import Arrival, ClusterTable

_GIB = 1024**3


@dataclass(frozen=True)
class Staging:
    """How one input gets to each cluster: seconds (infinite: it cannot), money, and which replica it comes from.

    `source` is a position in the input's replicas; -1 where the cluster holds a copy itself or cannot get one.
    """

    seconds: Floats
    money: Floats
    bytes: Ints
    source: Ints


@dataclass(frozen=True)
class Case:
    """A demand and the clusters it might go to."""

    demand: Demand
    table: ClusterTable

    @cached_property
    def parts(self) -> tuple["Case", ...]:
        """Each group of pods as a case of its own."""
        return tuple(Case(self.demand.only(number), self.table) for number in range(len(self.demand.pods)))

    @cached_property
    def suitable(self) -> Suitable:
        """Which node shapes are of the right sort."""
        return self.table.suitable(self.demand.pod)

    @cached_property
    def has_model(self) -> Bools:
        """Which clusters have a node with a wanted GPU model."""
        return self.table.shapes.any(self.suitable.model)

    @cached_property
    def has_memory(self) -> Bools:
        """Which clusters have such a node whose GPUs have the memory."""
        return self.table.shapes.any(self.suitable.memory)

    @cached_property
    def has_suitable(self) -> Bools:
        """Which clusters have a node of the right sort in every respect."""
        return self.table.shapes.any(self.suitable.labels)

    @property
    def needs(self) -> tuple[int, int, int]:
        """What a pod asks for, in the order of the lines of ShapeColumns."""
        pod = self.demand.pod.resources
        return (pod.millicores, pod.memory_bytes, pod.gpus)

    @cached_property
    def has_large(self) -> tuple[Bools, ...]:
        """For each resource: which clusters have a suitable node that has enough of it when empty."""
        shapes, suitable = self.table.shapes, self.suitable.labels
        return tuple(shapes.any(suitable & (shapes.whole[line] >= need)) for line, need in enumerate(self.needs))

    @cached_property
    def room_now(self) -> Ints:
        """How many of the pods each cluster could start now, at most as many as there are.

        Where there are groups beside them, all count only if the others have room too.
        """
        return self._with_others(self._room(self.table.shapes.free), is_empty=False)

    @cached_property
    def room_empty(self) -> Ints:
        """How many of the pods each cluster could hold if nothing else ran there; with groups beside, as `room_now`."""
        return self._with_others(self._room(self.table.shapes.whole), is_empty=True)

    def _room(self, amounts: Ints) -> Ints:
        shapes, count = self.table.shapes, self.demand.count
        pods = shapes.pods(self.demand.pod.resources, amounts, count, self.suitable.labels)
        return np.minimum(shapes.total(pods * shapes.nodes), count)

    def _with_others(self, rooms: Ints, *, is_empty: bool) -> Ints:
        """Take one off where the pods themselves have room, but not all groups together."""
        if not self.demand.beside:
            return rooms
        together = self.table.holding_all(self.demand.pods, rooms >= self.demand.count, is_empty=is_empty)
        return np.where(together, rooms, np.minimum(rooms, self.demand.count - 1))

    @cached_property
    def wait_seconds(self) -> Floats:
        """When each cluster has room for all pods; infinite where that cannot be told or never will be."""
        count = self.demand.count
        waits = np.where(self.room_now >= count, 0.0, np.inf)
        full = (waits > 0) & self.table.has_runs
        if full.any():
            full &= self.room_empty >= count
            waits = np.where(full, self.table.waits(self.demand.pods, full), waits)
        return waits

    @cached_property
    def holds(self) -> tuple[Bools, ...]:
        """For each input: which clusters hold a copy."""
        return tuple(self._holders(needed) for needed in self.demand.inputs)

    def _holders(self, needed: InputDemand) -> Bools:
        result = np.zeros(len(self.table), np.bool_)
        result[[self.table.index[name] for name in needed.replicas if name in self.table.index]] = True
        return result

    @cached_property
    def missing_bytes(self) -> Ints:
        """Bytes that would have to be brought to each cluster."""
        total = np.zeros(len(self.table), np.int64)
        for stage in self.staging:
            total += stage.bytes
        return total

    @cached_property
    def staging(self) -> tuple[Staging, ...]:
        """For each input: how it gets to each cluster."""
        return tuple(self._stage(needed, held) for needed, held in zip(self.demand.inputs, self.holds, strict=True))

    def _stage(self, needed: InputDemand, held: Bools) -> Staging:
        """Choose the replica by its price per byte, in seconds: a choice by size would jump between replicas, and more
        bytes could then look cheaper than fewer."""
        table, clusters = self.table, len(self.table)
        best, trip = np.full(clusters, np.inf), np.full(clusters, np.inf)
        seconds, money = np.full(clusters, np.inf), np.zeros(clusters)
        source = np.full(clusters, -1, np.int64)
        for number, replica in enumerate(needed.replicas):
            position = table.index.get(replica)
            if position is None:
                continue
            rate = table.rates_from(replica)
            egress = table.egress_gib[position] / _GIB
            price = 1 / rate + egress * self.demand.seconds_per_currency
            round_trip = table.round_trips_from(replica)
            better = table.reached_from(replica) & ((price < best) | ((price == best) & (round_trip < trip)))
            best, trip = np.where(better, price, best), np.where(better, round_trip, trip)
            seconds = np.where(better, round_trip + needed.bytes / rate, seconds)
            money = np.where(better, needed.bytes * egress, money)
            source = np.where(better, number, source)
        seconds, money, source = np.where(held, 0.0, seconds), np.where(held, 0.0, money), np.where(held, -1, source)
        staging = Staging(seconds, money, np.where(held, 0, needed.bytes).astype(np.int64), source)
        for arrival in self.table.arriving(needed.key, needed.version):
            if not held[arrival.position] and arrival.moving.source in needed.replicas:
                self._shorten(staging, arrival, needed)
        return staging

    def _shorten(self, staging: Staging, arrival: Arrival, needed: InputDemand) -> None:
        """Count only what is left of a copy that is under way; what it costs is spent whoever waits for it."""
        moving, position = arrival.moving, arrival.position
        sharing = max(1, self.table.links.traffic.sharing(moving.source, moving.destination))
        left = min(moving.left_bytes or needed.bytes, needed.bytes)  # nothing is told before it has begun
        rate = self.table.rate(moving.source, moving.destination)
        staging.seconds[position] = left * sharing / rate
        staging.money[position], staging.bytes[position] = 0.0, left
        staging.source[position] = needed.replicas.index(moving.source)
