"""Decide where a job goes: feasible, score, select, and the record of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from atoll.federation.capacity import format_duration
from atoll.federation.estimates import RunTime
from atoll.federation.placement.beside import Against, InTheWay, beside_claims
from atoll.federation.placement.case import Case, Staging
from atoll.federation.placement.decision import ClusterTerms, Decision, StagedInput, StagingRate, Suggestion, Verdict
from atoll.federation.placement.demand import Demand, InputDemand
from atoll.federation.placement.diagnose import diagnose
from atoll.federation.placement.feasible import CHECKS, feasible, obstacles, reasons
from atoll.federation.placement.score import Terms, score
from atoll.federation.placement.shapes import Bools
from atoll.federation.placement.speeds import REFERENCE_MODEL
from atoll.federation.placement.spread import spread
from atoll.federation.placement.table import ClusterTable

# Scores that differ by less are equal: estimates are not better than that, and a float's last bits are no reason.
TIE_DIGITS = 3
# More verdicts than a person reads; a record of a thousand clusters would be a quarter of a megabyte, in every Run.
_MAX_VERDICTS = 64
_NO_CLAIMS: Against = {}


@dataclass(frozen=True)
class Choice:
    """What the numbers say: the terms of every cluster, and the selected position (None: no cluster is feasible)."""

    terms: Terms
    selected: int | None
    in_the_way: Mapping[int, InTheWay] = field(default_factory=dict)


def decide(
    demand: Demand,
    table: ClusterTable,
    *,
    decided_at: datetime,
    against: Against = _NO_CLAIMS,
) -> Decision:
    """Select the cluster where the job would finish first, and record why. Equal input gives an equal decision."""
    return recorded(examine(demand, table, against), decided_at=decided_at)


@dataclass(frozen=True)
class Examined:
    """All clusters with what was found about them: of it the records of many jobs that are alike are made."""

    case: Case
    choice: Choice
    failed: Bools
    _verdicts: dict[int, Verdict] = field(default_factory=dict)
    _diagnoses: dict[float | None, tuple[Suggestion, ...]] = field(default_factory=dict)

    def verdict(self, position: int) -> Verdict:
        """Say what was found about one cluster."""
        known = self._verdicts.get(position)
        if known is None:
            known = self._verdicts[position] = _verdict(self.case, self.choice, self.failed, position)
        return known

    def diagnosis(self, selected: int | None) -> tuple[Suggestion, ...]:
        """Suggest what would let the job end sooner than where it is; of clusters that are as good, the same."""
        total = None if selected is None else float(self.choice.terms.total[selected])
        known = self._diagnoses.get(total)
        if known is None:
            known = self._diagnoses[total] = diagnose(self.case, self.failed, self.choice.terms, selected)
        return known


def examine(demand: Demand, table: ClusterTable, against: Against = _NO_CLAIMS) -> Examined:
    """Find everything out about every cluster."""
    case = Case(demand, table)
    return Examined(case, choose(case, against), obstacles(case))


def recorded(examined: Examined, *, decided_at: datetime, selected: int | None = None) -> Decision:
    """Record a decision.

    `selected` is the position that was chosen already, when many jobs that are alike were decided about together.
    """
    case, choice, failed = examined.case, examined.choice, examined.failed
    if selected is not None:
        choice = replace(choice, selected=selected)
    shown, rest = _by_interest(choice, failed)
    return Decision(
        demand=case.demand,
        decided_at=decided_at,
        selected=None if choice.selected is None else case.table.views[choice.selected].name,
        verdicts=tuple(map(examined.verdict, shown)),
        diagnosis=examined.diagnosis(choice.selected),
        omitted=_count_reasons(failed[:, rest]),
    )


def choose(case: Case, against: Against = _NO_CLAIMS) -> Choice:
    """Find the feasible cluster with the lowest total; of equal ones, one that has room now, and they are spread."""
    terms, in_the_way = beside_claims(case, score(case), against)
    totals = np.where(feasible(case), terms.total, np.inf).round(TIE_DIGITS)
    if not len(totals) or np.isinf(totals.min()):
        return Choice(terms, None, in_the_way)
    tied = np.flatnonzero(totals == totals.min())
    at_once = tied[terms.wait[tied] == 0]
    tied = at_once if len(at_once) else tied
    return Choice(terms, int(tied[spread(case.demand.job, case.table.seeds[tied])]), in_the_way)


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
    words = [*(check.reason for check in CHECKS), "Feasible"]
    first = np.where(failed.any(axis=0), failed.argmax(axis=0), len(words) - 1)
    counts = np.bincount(first, minlength=len(words)).tolist()
    return Counter({word: count for word, count in zip(words, counts, strict=True) if count})


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
        in_the_way=choice.in_the_way.get(position),
    )


def _terms(terms: Terms, position: int) -> ClusterTerms:
    columns = (terms.wait, terms.staging, terms.run, terms.money, terms.money_seconds, terms.idle, terms.total)
    return ClusterTerms(*(float(column[position]) for column in columns))


def _staging(case: Case, position: int) -> tuple[StagedInput, ...]:
    return tuple(
        _staged(case, needed, stage, position)
        for needed, stage in zip(case.demand.inputs, case.staging, strict=True)
        if stage.source[position] >= 0
    )


def _staged(case: Case, needed: InputDemand, stage: Staging, position: int) -> StagedInput:
    source, table = needed.replicas[stage.source[position]], case.table
    name, links = table.views[position].name, table.links
    measured = links.traffic.rate((source, name), links.now)
    return StagedInput(
        dataset=needed.key,
        bytes=int(stage.bytes[position]),
        source=source,
        seconds=float(stage.seconds[position]),
        rate=StagingRate(
            table.rate(source, name),
            "declared" if measured is None else "measured",
            measured.measured_at if measured is not None else None,
            links.traffic.sharing(source, name),
        ),
    )


def _notes(case: Case, position: int) -> tuple[str, ...]:
    """Say what was assumed."""
    demand = case.demand
    notes = []
    if demand.learned is not None:
        notes.append(_learned(demand, demand.learned))
    elif demand.duration_source != "expectedDuration":
        how = "spec.timeLimit" if demand.duration_source == "timeLimit" else f"{demand.duration_seconds:g} s"
        notes.append(f"spec.expectedDuration is not given: {how} is taken for it")
    if demand.gpus:
        products = {shape.gpu_model for shape in case.table.views[position].shapes if demand.pod.suits(shape)}
        names = {name for name in (*products, demand.duration_gpu) if name and demand.speed_of(name) is None}
        notes += [f"no published speed of {name} is known: 1.0 is taken for it" for name in sorted(names)]
        notes += [f"learned from its runs: {name} is {speed:g} times as fast as {REFERENCE_MODEL} for this work"
                  for name, speed in demand.speeds if name in products]  # fmt: skip
    return tuple(notes)


def _learned(demand: Demand, run_time: RunTime) -> str:
    """Say what the ended runs of such work tell, and whether it counts."""
    low, high = format_duration(run_time.low_seconds), format_duration(run_time.high_seconds)
    runs = (
        f"{run_time.runs} runs of this image, {low} to {high} in {REFERENCE_MODEL} time"
        if demand.gpus
        else (f"{run_time.runs} runs of this image, {low} to {high}")
    )
    counts = demand.duration_source == "learned"
    return f"the run time is learned from {runs}" if counts else f"spec.expectedDuration counts, beside {runs}"
