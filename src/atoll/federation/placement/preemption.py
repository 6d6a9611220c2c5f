"""Which runs to stop so that others have room: exactly enough of them, and as little work lost as can be.

Owns what stopping runs is sure to free, and the choice. Whose runs may be stopped for whom is federation/queueing's,
and whether to stop any at all the scheduler's.

On which node a run is, is not known here. Room counts as freed only where it is so on whichever node that is: nothing
is stopped for a job that then might not start.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from atoll.federation.capacity import ResourceVector, Shape, room
from atoll.federation.placement.demand import PodDemand, Pods
from atoll.federation.placement.gangs import given, has_room
from atoll.federation.placement.views import ClusterView, Occupation

# Up to so many runs every set of them is weighed. More: a few thousand checks each, which others' turns wait for.
_MOST_WEIGHED = 10
Cost = tuple[float, float]


@dataclass(frozen=True)
class Candidate:
    """A run that may be stopped. `lost_seconds`: its work since it began, or since it last saved where it is."""

    run: str
    job: str
    occupation: Occupation
    lost_seconds: float
    age_seconds: float = 0.0

    @property
    def cost(self) -> Cost:
        """What is lost, in GPU-seconds, then in core-seconds: the one is not paid with the other."""
        held = self.occupation.resources
        return (self.lost_seconds * held.gpus, self.lost_seconds * held.millicores / 1000)


Test = Callable[[Sequence[Candidate]], bool]


def cost(victims: Iterable[Candidate]) -> Cost:
    """Sum up what is lost."""
    gpu_seconds = core_seconds = 0.0
    for victim in victims:
        gpu_seconds, core_seconds = gpu_seconds + victim.cost[0], core_seconds + victim.cost[1]
    return (gpu_seconds, core_seconds)


def cheapest(candidates: Iterable[Candidate], *, is_enough: Test, is_fair: Test) -> tuple[Candidate, ...] | None:
    """Choose runs that are enough, none of them superfluous, at the lowest cost; of equal ones the youngest.

    Of few candidates the choice is the best there is. Of many it is the better of two: cheapest first, and cheapest by
    the size of the room first.

    Args:
        candidates: whoever may be stopped.
        is_enough: tells whether a set frees what is needed; a larger set then does, too.
        is_fair: tells whether all of a set may be stopped together; a smaller set then may, too.
    """
    ordered = sorted(candidates, key=_order)
    if not is_enough(ordered):
        return None
    found = [
        victims
        for order in (ordered, sorted(ordered, key=_price))
        if (victims := _greedy(order, is_enough, is_fair)) is not None
    ]
    best = min(found, key=_weight, default=None)
    if len(ordered) > _MOST_WEIGHED:
        return best
    return _exact(ordered, best, is_enough, is_fair)


def _order(candidate: Candidate) -> tuple[Cost, float, str]:
    return (candidate.cost, candidate.age_seconds, candidate.run)


def _price(candidate: Candidate) -> tuple[float, float]:
    """Give the cost per GPU, or per core where there are none; a stable sort keeps the order of equal ones."""
    held = candidate.occupation.resources
    gpu_seconds, core_seconds = candidate.cost
    return (gpu_seconds / max(1, held.gpus), core_seconds / max(1, held.millicores))


def _weight(victims: Sequence[Candidate]) -> tuple[Cost, int, float, tuple[str, ...]]:
    """Compare sets: by what is lost, then fewer of them, then younger ones, then by name."""
    names = tuple(sorted(victim.run for victim in victims))
    return (cost(victims), len(victims), sum(victim.age_seconds for victim in victims), names)


def _greedy(ordered: Sequence[Candidate], is_enough: Test, is_fair: Test) -> tuple[Candidate, ...] | None:
    """Take from the front until it is enough, then leave out whoever is not needed, the dearest first.

    Nearly always a few are: it is tested with one, two, four, and so on, and whoever comes after that is not looked at.
    """
    fair: list[Candidate] = []
    too_few, tested = 0, 1
    for candidate in ordered:
        if not is_fair([*fair, candidate]):
            continue
        fair.append(candidate)
        if len(fair) == tested:
            if is_enough(fair):
                break
            too_few, tested = tested, 2 * tested
    needed = range(too_few + 1, len(fair) + 1)
    found = bisect_left(needed, True, key=lambda number: is_enough(fair[:number]))
    if found == len(needed):
        return None
    victims = fair[: needed[found]]
    for victim in sorted(victims, key=_order, reverse=True):
        without = [each for each in victims if each is not victim]
        if is_enough(without):
            victims = without
    return tuple(victims)


def _exact(
    ordered: Sequence[Candidate], best: tuple[Candidate, ...] | None, is_enough: Test, is_fair: Test
) -> tuple[Candidate, ...] | None:
    """Weigh every set that may be better than the best known one."""

    def search(start: int, chosen: list[Candidate]) -> None:
        nonlocal best
        if best is not None and _weight(chosen) >= _weight(best):
            return
        if is_enough(chosen):
            best = tuple(chosen)
            return
        for number in range(start, len(ordered)):
            more = [*chosen, ordered[number]]
            if is_fair(more):
                search(number + 1, more)

    search(0, [])
    return best


def is_room_sure(view: ClusterView, pods: Pods, victims: Sequence[Candidate]) -> bool:
    """Tell whether all pods have room once the victims have ended, on whichever nodes they are."""
    stopped = tuple(group for victim in victims for group in victim.occupation.pods)
    names = {victim.occupation.run for victim in victims}
    if _is_told(view, pods, stopped, (run for run in view.occupations if run.run not in names)):
        return has_room(given(view.shapes, stopped), pods)
    if len(pods) != 1:
        return False
    ((pod, count),) = pods
    return _sure_rooms(view, pod, count, stopped) >= count


def _is_told(view: ClusterView, pods: Pods, stopped: Pods, staying: Iterable[Occupation]) -> bool:
    """Tell whether it is known what stays where: there is but one node to be on, or nothing of Atoll's stays at all."""
    where = {at for pod in {pod for pod, _ in stopped} for at in view.places_of(pod)}
    if sum(view.shapes[at].nodes for at in where) <= 1:
        return True
    wanted = {at for at, shape in enumerate(view.shapes) if any(pod.suits(shape) for pod, _ in pods)}
    seen: set[PodDemand] = set()
    for run in staying:
        for pod, _ in run.pods:
            if pod not in seen and not wanted.isdisjoint(view.places_of(pod)):
                return False
            seen.add(pod)
    return True


def _sure_rooms(view: ClusterView, pod: PodDemand, count: int, stopped: Pods) -> int:
    """Count the pods that have room for sure: where there is room now, and in place of each pod that ends.

    What pods leave behind on one node adds up at least pod by pod (the floor of a sum is no less than the sum of
    floors), if a resource of which each such node has enough for all pods that it could ever hold is left aside.
    """
    rooms = room(pod.resources, view.shapes, at_most=count, suits=pod.suits)
    where = [[view.shapes[at] for at in view.places_of(gone)] for gone, _ in stopped]
    scarce = _scarce(pod.resources, {shape for shapes in where for shape in shapes})
    for (gone, times), shapes in zip(stopped, where, strict=True):
        if shapes and all(_may_hold(pod, shape) for shape in shapes):
            rooms += times * _times(gone.resources, pod.resources, scarce, count)
    return rooms


def _may_hold(pod: PodDemand, shape: Shape) -> bool:
    return pod.suits(shape) and shape.allocatable.covers(pod.resources)


def _amounts(vector: ResourceVector) -> tuple[int, int, int]:
    return (vector.millicores, vector.memory_bytes, vector.gpus)


def _scarce(need: ResourceVector, nodes: Iterable[Shape]) -> tuple[int, ...]:
    """Name, by place, the resources that may bound how many pods one of the nodes has room for."""
    return tuple(sorted({at for shape in nodes for at in _scarce_on(shape, _amounts(need))}))


def _scarce_on(shape: Shape, need: tuple[int, int, int]) -> set[int]:
    """Leave aside what one node has enough of for as many pods as the rest of its resources could ever hold."""
    free, whole = _amounts(shape.free), _amounts(shape.allocatable)
    asked = {at for at in range(len(need)) if need[at]}
    most = min((whole[at] // need[at] for at in asked), default=0)
    scarce = {at for at in asked if free[at] < need[at] * most}
    while scarce:
        most = min(whole[at] // need[at] for at in scarce)
        more = {at for at in asked - scarce if free[at] < need[at] * most}
        if not more:
            return scarce
        scarce |= more
    return asked


def _times(left: ResourceVector, need: ResourceVector, scarce: Iterable[int], at_most: int) -> int:
    return min([at_most, *(_amounts(left)[at] // _amounts(need)[at] for at in scarce)])
