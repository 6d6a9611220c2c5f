"""What a commit does to what runs now: the plan in PolicySet.status, and policy tests on the labels that run.

Owns when each is worked out: in a thread, once per commit and state of the clusters, since thousands of policies take
seconds. A plan never holds a rollout up; the tests are asked before a wave gets a commit.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from atoll.federation.resources.labelsets import ClusterWorkloads
from atoll.federation.resources.policyset_plan import ClusterPlan, PlannedFlow, PolicyPlan
from atoll.hub.workloads import revision_of
from atoll.policies.bundle import Bundle
from atoll.policies.compile import Compiled, Target
from atoll.policies.rules import Unsupported
from atoll.policies.trials.fleet import Fleet
from atoll.policies.trials.live import Block, Changes
from atoll.policies.trials.live_trial import LiveFailure, run_live
from atoll.policies.trials.parties import namespaces_of
from atoll.policies.trials.plan import Plan, plan_compiled
from atoll.policies.trials.wording import side, words

log = structlog.get_logger(__name__)

_SHOWN_FLOWS = 20
# Some seconds of a core, which other parts of the hub share.
_MOST_WORK = 5_000_000
# What runs changes all the time; the answer to a stated flow does so seldom.
_TEST_AGAIN = timedelta(seconds=30)
# How soon the controller asks for a plan that is being made.
LOOK_SECONDS = 1.0
# Compiles a commit of a set for a cluster, in whichever thread; what orders were made of is not compiled again.
Compiler = Callable[[str, Bundle, Target], Compiled]
_NOTHING = Compiled((), ())


@dataclass(frozen=True)
class Sight:
    """The clusters of a set by their names in the mesh: as the compiler sees them, and what runs there."""

    targets: Mapping[str, Target]
    workloads: Mapping[str, ClusterWorkloads]


@dataclass(frozen=True)
class _Tested:
    """The outcome for a commit and a state of what runs."""

    commit: str
    running: object
    at: datetime
    failures: tuple[LiveFailure, ...]


class PolicyPreview:
    """Plans and live tests of all policy sets."""

    def __init__(self, clock: Callable[[], datetime], compiler: Compiler) -> None:
        self._clock, self._compiler = clock, compiler
        self._making: dict[str, tuple[str, asyncio.Task[PolicyPlan]]] = {}
        self._tested: dict[str, _Tested] = {}

    def forget(self, name: str) -> None:
        """Drop what is known of a set."""
        self._tested.pop(name, None)
        self._abandon(name)

    def _abandon(self, name: str) -> None:
        _, task = self._making.pop(name, ("", None))
        if task is not None:
            task.cancel()

    def is_making(self, name: str, commit: str = "") -> bool:
        """Say whether a plan of a set is being made or is there to be taken: of a commit, or of any."""
        making = self._making.get(name)
        return making is not None and commit in ("", making[0])

    def begin(self, name: str, new: Bundle, old: Bundle | None, sight: Sight) -> None:
        """Begin to make the plan of a commit of a set; one of another commit is given up.

        Args:
            name: the set.
            new: the commit.
            old: the one that it is compared with; None: with no policies at all.
            sight: the clusters of the set.
        """
        self._abandon(name)
        work = asyncio.to_thread(self._planned, name, new, old, sight)
        self._making[name] = (new.commit, asyncio.create_task(work, name=f"policy-plan-{name}"))

    def _planned(self, name: str, new: Bundle, old: Bundle | None, sight: Sight) -> PolicyPlan:
        now = self._clock()
        before, after = self._compiled(name, old, sight.targets), self._compiled(name, new, sight.targets)
        compiled = {cluster: (before[cluster], after[cluster]) for cluster in sight.targets}
        return planned(compiled, sight, commit=new.commit, against=old.commit if old is not None else "", now=now)

    def _compiled(self, name: str, bundle: Bundle | None, targets: Mapping[str, Target]) -> Mapping[str, Compiled]:
        if bundle is None:
            return dict.fromkeys(targets, _NOTHING)
        return {cluster: self._compiler(name, bundle, target) for cluster, target in targets.items()}

    def made(self, name: str) -> PolicyPlan | None:
        """Take a plan once it is made; None until then."""
        commit, task = self._making.get(name, ("", None))
        if task is None or not task.done():
            return None
        del self._making[name]
        if (error := task.exception()) is not None:
            # Nothing else may wait for a plan, whatever is wrong with it.
            log.error("a plan of policies could not be made", policyset=name, commit=commit, exc_info=error)
            return PolicyPlan(commit=commit, message=f"the plan could not be made: {type(error).__name__}")
        return task.result()

    async def failures(self, name: str, new: Bundle, good: Bundle | None, sight: Sight) -> tuple[LiveFailure, ...]:
        """Run a commit's policy tests on what runs; give those that fail, and do not fail with what was complete.

        Args:
            name: the set.
            new: the commit.
            good: what was complete last; None if nothing was.
            sight: the clusters of the set.
        """
        if not sight.workloads:
            return ()
        known, now, running = self._tested.get(name), self._clock(), revision_of(sight.workloads)
        is_same = known is not None and known.commit == new.commit
        if known is not None and is_same and (known.running == running or now - known.at < _TEST_AGAIN):
            return known.failures
        failures = await asyncio.to_thread(self._failing, name, new, good, sight)
        self._tested[name] = _Tested(new.commit, running, now, failures)
        return failures

    def _failing(self, name: str, new: Bundle, good: Bundle | None, sight: Sight) -> tuple[LiveFailure, ...]:
        targets = {cluster: sight.targets[cluster] for cluster in sight.workloads}

        def failing(bundle: Bundle) -> Sequence[LiveFailure]:
            return run_live(new.scenarios, _fleet(self._compiled(name, bundle, targets), sight), sight.workloads)

        try:
            found = failing(new)
            old = failing(good) if found and good is not None else ()
        except Unsupported as error:
            log.info("policy tests could not be run on what runs", commit=new.commit, reason=str(error))
            return ()
        return tuple(failure for failure in found if failure not in old)


def _fleet(compiled: Mapping[str, Compiled], sight: Sight) -> Fleet:
    homes = {name: sight.targets[name] for name in compiled}
    return Fleet((), homes, namespaces_of(sight.workloads), compiled=compiled)


def planned(
    compiled: Mapping[str, tuple[Compiled, Compiled]], sight: Sight, *, commit: str, against: str, now: datetime
) -> PolicyPlan:
    """Make the plan of a commit, from what each cluster holds and what it would hold. Pure."""
    message = ""
    try:
        plan = plan_compiled(compiled, sight.targets, sight.workloads, most_work=_MOST_WORK)
        if plan.live is not None and plan.live.is_given_up:
            message = "too much changes to be compared beside the hub's work: 'atoll policy plan --policyset' does it"
    except Unsupported as error:
        message = f"connections cannot be compared: {error}"
        plan = plan_compiled(compiled, sight.targets, None)
    blocks = plan.live.blocks if plan.live is not None else ()
    return PolicyPlan(
        commit=commit,
        against=against,
        made_at=now,
        clusters=tuple(_cluster(name, plan, sight) for name in sorted(_concerned(plan))),
        flows=tuple(_flow(block) for block in blocks[:_SHOWN_FLOWS]),
        omitted_flows=max(0, len(blocks) - _SHOWN_FLOWS),
        message=message,
    )


def _concerned(plan: Plan) -> set[str]:
    homes = {
        group.cluster
        for block in (plan.live.blocks if plan.live is not None else ())
        for group in (*block.sources, *block.destinations)
    }
    return {change.cluster for change in plan.clusters} | homes - {""}


def _cluster(name: str, plan: Plan, sight: Sight) -> ClusterPlan:
    change = next((one for one in plan.clusters if one.cluster == name), None)
    opens, closes = _counts(plan.live, name)
    running = sight.workloads.get(name)
    return ClusterPlan(
        cluster=name,
        added=len(change.added) if change is not None else 0,
        changed=len(change.changed) if change is not None else 0,
        removed=len(change.removed) if change is not None else 0,
        opens=opens,
        closes=closes,
        label_sets=len(running.sets) if running is not None else None,
    )


def _counts(live: Changes | None, cluster: str) -> tuple[int, int]:
    mine: Sequence[Block] = [block for block in (live.blocks if live is not None else ()) if block.concerns(cluster)]
    opens = sum(block.pairs for block in mine if block.opens)
    return opens, sum(block.pairs for block in mine) - opens


def _flow(block: Block) -> PlannedFlow:
    return PlannedFlow(
        source=side(block.sources),
        destination=side(block.destinations),
        before=words(block.before),
        after=words(block.after),
        opens=block.opens,
        pods=block.pods,
    )
