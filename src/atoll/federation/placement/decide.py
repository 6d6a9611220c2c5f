"""Decide where a job goes: feasible, score, select, and the record of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

import numpy as np

from atoll.federation.placement.case import Case
from atoll.federation.placement.decision import ClusterTerms, Decision, StagedInput, Verdict
from atoll.federation.placement.demand import Demand
from atoll.federation.placement.diagnose import diagnose
from atoll.federation.placement.feasible import CHECKS, feasible, obstacles, reasons
from atoll.federation.placement.score import Terms, score
from atoll.federation.placement.shapes import Bools
from atoll.federation.placement.speeds import relative_speed
from atoll.federation.placement.table import ClusterTable

# Scores that differ by less are equal: estimates are not better than that, and a float's last bits are no reason.
_TIE_DIGITS = 3
# More verdicts than a person reads; a record of a thousand clusters would be a quarter of a megabyte, in every Run.
_MAX_VERDICTS = 64


@dataclass(frozen=True)
class Choice:
    """What the numbers say: the terms of every cluster, and the selected position (None: no cluster is feasible)."""

    terms: Terms
    selected: int | None


def decide(demand: Demand, table: ClusterTable, *, decided_at: datetime) -> Decision:
    """Select the cluster where the job would finish first, and record why. Equal input gives an equal decision."""
    case = Case(demand, table)
    choice, failed = choose(case), obstacles(case)
    shown, rest = _by_interest(choice, failed)
    return Decision(
        demand=demand,
        decided_at=decided_at,
        selected=None if choice.selected is None else table.views[choice.selected].name,
        verdicts=tuple(_verdict(case, choice, failed, position) for position in shown),
        diagnosis=diagnose(case, failed, choice.terms, choice.selected),
        omitted=_count_reasons(failed[:, rest]),
    )


def choose(case: Case) -> Choice:
    """Find the feasible cluster with the lowest total; equal ones are spread by a stable hash of job and cluster."""
    terms = score(case)
    totals = np.where(feasible(case), terms.total, np.inf).round(_TIE_DIGITS)
    if not len(totals) or np.isinf(totals.min()):
        return Choice(terms, None)
    tied = np.flatnonzero(totals == totals.min())
    selected = min(tied, key=lambda position: _spread(case.demand.job, case.table.views[position].name))
    return Choice(terms, int(selected))


def _spread(job: str, cluster: str) -> bytes:
    return blake2b(f"{job}\n{cluster}".encode(), digest_size=8).digest()


def _by_interest(choice: Choice, failed: Bools) -> tuple[list[int], list[int]]:
    """Order clusters: the selected one, feasible ones by total, then those with the fewest reasons; cut a long list."""
    totals = choice.terms.total
    is_other = np.arange(len(totals)) != choice.selected
    order = [int(position) for position in np.lexsort((totals, failed.sum(axis=0), is_other))]
    return order[:_MAX_VERDICTS], order[_MAX_VERDICTS:]


def _count_reasons(failed: Bools) -> Mapping[str, int]:
    """Count clusters by the first check that they fail."""
    if not failed.shape[1]:
        return {}
    words = [check.reason for check in CHECKS]
    first = np.where(failed.any(axis=0), failed.argmax(axis=0), len(words))
    return Counter((*words, "Feasible")[row] for row in first)


def _verdict(case: Case, choice: Choice, failed: Bools, position: int) -> Verdict:
    cluster = case.table.views[position].name
    why_not = reasons(case, position, failed)
    if why_not:
        return Verdict(cluster, False, reasons=why_not)
    return Verdict(
        cluster,
        True,
        terms=_terms(choice.terms, position),
        relative_speed=float(choice.terms.speed[position]) if case.demand.gpus else None,
        staging=_staging(case, position),
        notes=_notes(case, position),
    )


def _terms(terms: Terms, position: int) -> ClusterTerms:
    columns = (terms.wait, terms.staging, terms.run, terms.money, terms.money_seconds, terms.total)
    return ClusterTerms(*(float(column[position]) for column in columns))


def _staging(case: Case, position: int) -> tuple[StagedInput, ...]:
    return tuple(
        StagedInput(needed.key, needed.bytes, needed.replicas[stage.source[position]], float(stage.seconds[position]))
        for needed, stage in zip(case.demand.inputs, case.staging, strict=True)
        if stage.source[position] >= 0
    )


def _notes(case: Case, position: int) -> tuple[str, ...]:
    """Say what was assumed."""
    demand = case.demand
    notes = []
    if demand.duration_source != "expectedDuration":
        how = "spec.timeLimit" if demand.duration_source == "timeLimit" else f"{demand.duration_seconds:g} s"
        notes.append(f"spec.expectedDuration is not given: {how} is taken for it")
    if demand.gpus:
        products = {shape.gpu_model for shape in case.table.views[position].shapes if demand.pod.suits(shape)}
        names = {name for name in (*products, demand.duration_gpu) if name and relative_speed(name) is None}
        notes += [f"no published speed of {name} is known: 1.0 is taken for it" for name in sorted(names)]
    return tuple(notes)
