"""What a plan means for each pending job, and in what two plans differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.federation.placement import Decision
from atoll.hub.scheduler.cycle import plan_cycle
from atoll.hub.scheduler.outcome import CyclePlan
from atoll.hub.scheduler.snapshot import Snapshot

# Estimates closer together than this say nothing about which is sooner.
_WORTH_SAYING_SECONDS = 1.0


@dataclass(frozen=True)
class Fate:
    """What the next cycle does with a job. Seconds and money are unknown where no cluster is selected."""

    starts: bool
    cluster: str | None
    reason: str
    message: str
    wait_seconds: float | None = None
    total_seconds: float | None = None
    money: float | None = None

    def record(self) -> dict[str, Any]:
        """Give its JSON form; what is unknown is null."""
        return {
            "starts": self.starts,
            "cluster": self.cluster,
            "reason": self.reason,
            "message": self.message,
            "waitSeconds": self.wait_seconds,
            "totalSeconds": self.total_seconds,
            "money": self.money,
        }

    def is_like(self, other: "Fate") -> bool:
        """Tell whether both mean the same for the job."""
        if (self.starts, self.cluster, self.reason) != (other.starts, other.cluster, other.reason):
            return False
        if self.total_seconds is None or other.total_seconds is None:
            return self.total_seconds is other.total_seconds
        return abs(self.total_seconds - other.total_seconds) < _WORTH_SAYING_SECONDS


def stopped(plan: CyclePlan, job: str | None = None) -> frozenset[str]:
    """Name the runs that are told to leave for jobs that wait, or for one of them."""
    evictions = [each for each in plan.evictions if job in (None, each.job)]
    return frozenset(victim.run.key for each in evictions for victim in each.victims)


def fates(snapshot: Snapshot) -> dict[str, Fate]:
    """Decide about every pending job of a snapshot, as a cycle would that began now."""
    return fates_of(plan_cycle(snapshot))


def fates_of(plan: CyclePlan) -> dict[str, Fate]:
    """Read what a plan means for each job."""
    found = {each.job.key: _fate("", "", each.decision) for each in plan.placements}
    return found | {each.job.key: _fate(each.reason, each.message, each.decision) for each in plan.waiting}


def _fate(reason: str, message: str, decision: Decision | None) -> Fate:
    terms = decision.terms if decision is not None else None
    if decision is None or terms is None:
        return Fate(False, None, reason, message)
    return Fate(
        starts=not reason,
        cluster=decision.selected,
        reason=reason or "Placed",
        message=message,
        wait_seconds=terms.wait_seconds,
        total_seconds=terms.done_seconds,
        money=terms.money,
    )


def differences(before: Mapping[str, Fate], after: Mapping[str, Fate]) -> list[dict[str, Any]]:
    """List the jobs that both plans know and that mean to fare otherwise, by name."""
    return [
        {"job": name, "before": before[name].record(), "after": after[name].record()}
        for name in sorted(before.keys() & after.keys())
        if not before[name].is_like(after[name])
    ]
