"""What is known of a run at one moment, and what is to be written: the values between runs.py and run_plan.py."""

from dataclasses import dataclass, field

from atoll.federation.bus.data_messages import CommitOrder, DatasetReport
from atoll.federation.bus.messages import RunOrder, RunReport
from atoll.federation.resources import Cluster, Dataset, Job, Run, RunInput, RunStatus, Transfer
from atoll.federation.resources.run import RunPhase
from atoll.federation.workloads import DEFAULT_LEVEL, Level
from atoll.hub.controllers.loss_rules import LossRules


@dataclass(frozen=True)
class Input:
    """One input of a run, its dataset, and the copy to the run's cluster if one was started.

    `unheard` names the clusters that have it and from which nothing can be copied now.
    """

    given: RunInput
    dataset: Dataset | None
    transfer: Transfer | None
    unheard: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Output:
    """One output of a run.

    `order` is the commit that stands for this dataset in the run's cluster, `is_busy` tells that it is another run's
    and not done, `newest_version` is the highest version that anybody has or was ordered to make.
    """

    dataset: str
    order: CommitOrder | None
    is_busy: bool
    report: DatasetReport | None
    newest_version: int


@dataclass(frozen=True)
class RunScope:
    """All that is known of one run at one moment.

    `newest_phase` is that of the job's newest run; `silence_seconds` is for how long nothing was heard of its cluster,
    None where that means nothing; `pod_security` is what pods may have in the job's namespace.
    """

    run: Run
    job: Job
    cluster: Cluster | None
    newest_epoch: int
    order: RunOrder | None
    report: RunReport | None
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    newest_phase: RunPhase = "Running"
    silence_seconds: float | None = None
    rules: LossRules = field(default_factory=LossRules)
    pod_security: Level = DEFAULT_LEVEL


@dataclass(frozen=True)
class RunPlan:
    """What to write. `order` None leaves the order as it is; `done` names outputs whose commit order is over."""

    status: RunStatus
    order: RunOrder | None = None
    transfers: tuple[Transfer, ...] = ()
    discard: tuple[Transfer, ...] = ()
    commits: tuple[CommitOrder, ...] = ()
    done: tuple[str, ...] = ()
    again_seconds: float | None = None
