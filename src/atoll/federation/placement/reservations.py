"""Reservations as claims: which clusters keep how much of what is reserved, and how much of it is not used yet.

A reserved amount is kept as equal pieces, one per GPU, or else per core, or per GiB: it is an amount, not whole nodes.
The clusters take it in the order of their names, each as much as it could hold if it were empty and not reserved
otherwise: so the same clusters keep it from the first day to the last, while they are ready.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from atoll.federation.capacity import ResourceVector, Shape, parse_bytes, parse_millicores, take
from atoll.federation.placement.claims import Claim
from atoll.federation.placement.demand import PodDemand, Pods
from atoll.federation.placement.gangs import emptied, taken
from atoll.federation.placement.views import ClusterView, Occupation
from atoll.federation.resources import Reservation, ReservationSpec

_GIB = 2**30
_CORE = 1000


@dataclass(frozen=True)
class Keeping:
    """What one cluster keeps of a reservation, and what of that nobody of its queue uses yet."""

    reservation: Reservation
    cluster: str
    kept: Pods
    left: Pods

    def claim(self, now: datetime) -> Claim:
        """Claim what is left of it."""
        spec = self.reservation.spec
        starts, ends = ((at - now).total_seconds() for at in (spec.starts, spec.ends))
        return Claim(
            holder=self.reservation.metadata.name, kind="Reserved", cluster=self.cluster, pods=self.left,
            starts_in_seconds=starts, roomy_in_seconds=starts, ends_in_seconds=ends, queue=spec.queue,
        )  # fmt: skip


def pieces(spec: ReservationSpec) -> Pods:
    """Divide what is reserved into equal pieces."""
    amounts = spec.amounts
    cores = parse_millicores(amounts.cpu) if amounts.cpu is not None else 0
    memory = parse_bytes(amounts.memory) if amounts.memory is not None else 0
    models = sum(amounts.gpu_models.values())
    gpus = max(amounts.gpus or 0, models)
    count = gpus or _parts(cores, _CORE) or _parts(memory, _GIB)
    piece = ResourceVector(_parts(cores, count), _parts(memory, count), 1 if gpus else 0)
    groups = [(PodDemand(piece, gpu_models=(model,)), number) for model, number in sorted(amounts.gpu_models.items())]
    groups.append((PodDemand(piece), count - models))
    return tuple((pod, number) for pod, number in groups if number)


def _parts(amount: int, size: int) -> int:
    return -(-amount // size)


def keepings(
    reservations: Iterable[Reservation],
    views: Sequence[ClusterView],
    held: Mapping[str, Mapping[str, Sequence[Occupation]]],
    now: datetime,
) -> list[Keeping]:
    """Lay out every reservation that has not ended.

    Args:
        reservations: all there are.
        views: the clusters.
        held: by reservation and cluster, the runs of its queue and of those below it.
        now: the moment from which the runs' expected ends count.
    """
    found: list[Keeping] = []
    for reservation in sorted(reservations, key=lambda each: (each.spec.starts, each.metadata.name)):
        if reservation.spec.ends > now and reservation.metadata.deletion_timestamp is None:
            kept = _kept(reservation, views, found)
            found += _left(reservation, kept, held.get(reservation.metadata.name, {}), now)
    return found


def _kept(reservation: Reservation, views: Sequence[ClusterView], before: Sequence[Keeping]) -> dict[str, Pods]:
    """Divide the pieces among the clusters."""
    wanted, result = list(pieces(reservation.spec)), {}
    for view in sorted(views, key=lambda each: each.name):
        if not view.is_ready or view.is_leaving or not reservation.spec.clusters.matches(dict(view.labels)):
            continue
        shapes = _empty(view, [each for each in before if _overlap(each.reservation, reservation)])
        groups = []
        for at, (pod, count) in enumerate(wanted):
            shapes, left = take(pod.resources, shapes, count, suits=pod.suits)
            wanted[at] = (pod, left)
            groups.append((pod, count - left))
        if kept := tuple((pod, count) for pod, count in groups if count):
            result[view.name] = kept
    return result


def _overlap(one: Reservation, other: Reservation) -> bool:
    return one.spec.starts < other.spec.ends and other.spec.starts < one.spec.ends


def _empty(view: ClusterView, before: Iterable[Keeping]) -> tuple[Shape, ...]:
    """See the nodes as if nothing ran there, without what other reservations keep."""
    shapes = emptied(view.shapes)
    for keeping in before:
        if keeping.cluster == view.name:
            shapes = taken(shapes, keeping.kept)
    return shapes


def _left(
    reservation: Reservation, kept: Mapping[str, Pods], held: Mapping[str, Sequence[Occupation]], now: datetime
) -> list[Keeping]:
    """Leave out what the queue's own runs will use then: on one cluster more than is kept there counts elsewhere."""
    starts = (reservation.spec.starts - now).total_seconds()
    left = {cluster: list(groups) for cluster, groups in kept.items()}
    beyond: list[tuple[PodDemand, int]] = []
    for cluster in sorted(left):
        for run in held.get(cluster, ()):
            if run.ends_in_seconds > starts:
                beyond += [(run.pod, _use(left[cluster], run.pod, run.resources))]
    for pod, rest in beyond:
        units = rest
        for groups in reversed(list(left.values())):
            units = _use_units(groups, pod, units)
    return [
        Keeping(reservation, cluster, groups, tuple((pod, count) for pod, count in left[cluster] if count))
        for cluster, groups in kept.items()
    ]


def _use(groups: list[tuple[PodDemand, int]], pod: PodDemand, amount: ResourceVector) -> int:
    """Take what a run uses out of the pieces; give how many pieces it uses beyond them."""
    piece = groups[0][0].resources
    if piece.gpus:
        return _use_units(groups, pod, amount.gpus)
    if piece.millicores:
        return _use_units(groups, pod, _parts(amount.millicores, piece.millicores))
    return _use_units(groups, pod, _parts(amount.memory_bytes, piece.memory_bytes))


def _use_units(groups: list[tuple[PodDemand, int]], pod: PodDemand, units: int) -> int:
    for at, (piece, count) in enumerate(groups):
        if not piece.gpu_models or not pod.gpu_models or set(piece.gpu_models) & set(pod.gpu_models):
            used = min(count, units)
            groups[at], units = (piece, count - used), units - used
    return units


def amount(pods: Pods) -> ResourceVector:
    """Sum up pieces."""
    total = ResourceVector()
    for pod, count in pods:
        total = total + pod.resources * count
    return total
