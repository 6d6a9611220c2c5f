"""What would have to change: the cheapest changes that would make a job feasible, or let it end sooner.

Each suggestion is tried before it is made: the change is applied to a copy of the demand or of the cluster, and the
same checks and the same score are run again. Rules about where data may be are never suggested away.
"""

from collections.abc import Iterator

import numpy as np

from atoll.federation.placement.case import Case
from atoll.federation.placement.decision import Suggestion
from atoll.federation.placement.feasible import CHECKS, obstacles, reasons
from atoll.federation.placement.hypotheses import LESSER_JOBS, RELAXATIONS, Hypothesis, free_capacity
from atoll.federation.placement.reasons import Reason
from atoll.federation.placement.score import Terms, score
from atoll.federation.placement.shapes import Bools
from atoll.federation.placement.table import ClusterTable

# What is tried: enough that the nearest misses are among them; each costs about a decision over a few clusters.
_MAX_CLUSTERS = 6
_MAX_SUGGESTIONS = 3
# One change may uncover the next obstacle (a GPU model that is allowed then has too little memory).
_MAX_ROUNDS = 3
_INCURABLE = [check.reason not in RELAXATIONS for check in CHECKS]
_LESSENING = [check.reason in LESSER_JOBS for check in CHECKS]
# Estimates closer together than this say nothing about which is sooner.
_WORTH_SAYING_SECONDS = 1.0


def diagnose(case: Case, failed: Bools, terms: Terms, selected: int | None) -> tuple[Suggestion, ...]:
    """Suggest the cheapest changes that let the job end before it does where it is; or run at all, if it is nowhere."""
    selected_total = None if selected is None else float(terms.total[selected])
    hopeful = _hopeful(case, failed, terms, selected_total)
    worlds = [world for position in _near_misses(case, failed, hopeful) for world in _worlds(case, failed, position)]
    useful = [world for world in worlds if _is_useful(world, selected_total)]
    return tuple(_suggestion(world, selected_total) for world in sorted(useful, key=_cost)[:_MAX_SUGGESTIONS])


def _cost(world: Hypothesis) -> tuple[int, int, float, float, str]:
    total = np.inf if world.total_seconds is None else world.total_seconds
    return (world.effort, len(world.changes), -world.kept, total, world.view.name)


def _is_useful(world: Hypothesis, selected_total: float | None) -> bool:
    if selected_total is None:
        return True
    return world.total_seconds is not None and selected_total - world.total_seconds >= _WORTH_SAYING_SECONDS


def _hopeful(case: Case, failed: Bools, terms: Terms, selected_total: float | None) -> Bools:
    """Leave out what need not be tried: obstacles without a cure and, beside a selected cluster, what is no better."""
    hopeful = ~failed[_INCURABLE].any(axis=0)
    if selected_total is None:
        return np.asarray(hopeful)
    staged = np.where(np.isfinite(terms.staging), terms.staging + terms.idle, 0.0)
    at_best = staged + terms.run + terms.money_seconds
    is_known = case.room_empty >= case.demand.count
    hopeful &= ~failed[_LESSENING].any(axis=0) & (~is_known | (at_best < selected_total - _WORTH_SAYING_SECONDS))
    return np.asarray(hopeful)


def _near_misses(case: Case, failed: Bools, hopeful: Bools) -> list[int]:
    """Choose the clusters with the fewest obstacles; a wait for capacity counts as one."""
    obstacle_counts = failed.sum(axis=0) + (case.wait_seconds > 0)
    misses = [int(position) for position in np.flatnonzero(obstacle_counts * hopeful)]
    return sorted(misses, key=lambda position: (obstacle_counts[position], position))[:_MAX_CLUSTERS]


def _worlds(case: Case, failed: Bools, position: int) -> Iterator[Hypothesis]:
    """Remove a cluster's obstacles until nothing stands in the way; give up at one that stays."""
    world = Hypothesis(case.demand, case.table.views[position], case.table.links)
    why_not = reasons(case, position, failed)
    for _ in range(_MAX_ROUNDS):
        if not why_not:
            break
        relaxed = _relaxed(world, why_not)
        if relaxed is None:
            return
        world, case, position = relaxed, _case(case, relaxed), 0
        why_not = reasons(case, position, obstacles(case))
    if why_not:
        return
    if world.changes:
        yield world.scored(float(score(case).total[position]))
    if case.wait_seconds[position] > 0:
        freed = free_capacity(world)
        yield freed.scored(float(score(_case(case, freed)).total[0]))


def _relaxed(world: Hypothesis, why_not: tuple[Reason, ...]) -> Hypothesis | None:
    """Apply the cure of each reason; None if one has none."""
    relaxed: Hypothesis | None = world
    for reason in why_not:
        cure = RELAXATIONS.get(reason.reason)
        relaxed = cure(relaxed, reason) if cure and relaxed else None
    return relaxed


def _case(case: Case, hypothesis: Hypothesis) -> Case:
    """Put the changed cluster first, beside those that hold the inputs."""
    holders = {replica for needed in hypothesis.demand.inputs for replica in needed.replicas}
    known = sorted(case.table.index[name] for name in holders.intersection(case.table.index))
    others = [
        case.table.views[position] for position in known if case.table.views[position].name != hypothesis.view.name
    ]
    return Case(hypothesis.demand, ClusterTable.of([hypothesis.view, *others], hypothesis.links))


def _suggestion(world: Hypothesis, selected_total: float | None) -> Suggestion:
    total = world.total_seconds
    saves = None if selected_total is None or total is None else selected_total - total
    return Suggestion(world.view.name, world.changes, "; ".join(world.phrases), total, saves)
