"""Kinds of Kubernetes itself and of its working groups: Job, Pod, pod groups, JobSet, LeaderWorkerSet.

Sources: the API references of batch/v1 and v1; jobset api/jobset/v1alpha2; lws api/leaderworkerset/v1.
"""

from atoll.federation.workloads.adapter import Adapter, Group, Number, PodParts, Suspend, When, condition, pod_template

SUSPENDED_GATE = "atoll.dev/suspended"
NO_LIMIT = 2**31 - 1
_POD = pod_template("")
_GATES = [{"name": SUSPENDED_GATE}]
# batch/v1 Job starts no more pods than it has completions left.
_PARALLELISM = Number("parallelism", least=1, no_more="completions")


JOB = Adapter(
    "batch/v1", "Job", "jobs",
    groups=(Group("pods", "spec", count=(_PARALLELISM,), is_required=True),),
    suspend=Suspend("spec.suspend"),
    status=(condition("Succeeded", "Complete"), condition("Failed", "Failed"), condition("Suspended", "Suspended")),
    # Told with `backoffLimitPerIndex` only.
    details={"status.failedIndexes": "failed indexes"},
    started=("status.startTime",),
    finished=("status.completionTime", "status.conditions[type=Failed].lastTransitionTime"),
    # The Job controller labels every pod with its Job's name (batch/v1 JobNameLabel, Kubernetes 1.27).
    pods="batch.kubernetes.io/job-name={name}",
    time_limit="spec.activeDeadlineSeconds",
    fixed={"spec.backoffLimit": 0, "spec.template.spec.restartPolicy": "Never"},
    # Indexes that have limits of their own fail each for itself, as the tasks of an array shall; a limit of them all
    # would end the others (KEP-3850).
    fixed_if={"spec.backoffLimitPerIndex": {"spec.backoffLimit": NO_LIMIT, "spec.backoffLimitPerIndex": 0}},
)  # fmt: skip

POD = Adapter(
    "v1", "Pod", "pods",
    groups=(Group("pod", "", _POD, is_required=True),),
    suspend=Suspend("spec.schedulingGates", on=_GATES, off=[]),
    status=(
        When("Succeeded", "status.phase", frozenset({"Succeeded"})),
        When("Failed", "status.phase", frozenset({"Failed"}), "status.reason", "status.message"),
        When("Running", "status.phase", frozenset({"Running"})),
    ),
    started=("status.startTime",),
    time_limit="spec.activeDeadlineSeconds",
    fixed={"spec.restartPolicy": "Never"},
)  # fmt: skip

# Compiled into its pods, so that it has no object, no status and nothing to suspend of its own.
POD_LIST = Adapter(
    "v1", "PodList", "pods",
    groups=(Group("*", "items[*]", _POD, is_required=True),),
    is_gang=True,
    time_limit="items[*].spec.activeDeadlineSeconds",
    fixed={"items[*].spec.restartPolicy": "Never"},
)  # fmt: skip

_JOBS = "spec.replicatedJobs[*]"

JOB_SET = Adapter(
    "jobset.x-k8s.io/v1alpha2", "JobSet", "jobsets",
    groups=(
        Group(
            "*", _JOBS, pod_template("template.spec.template"),
            count=(
                Number("replicas"),
                Number("template.spec.parallelism", no_more="template.spec.completions"),
            ),
            is_required=True,
        ),
    ),
    is_gang=True,
    suspend=Suspend("spec.suspend"),
    status=(
        condition("Succeeded", "Completed"),
        condition("Failed", "Failed"),
        condition("Suspended", "Suspended"),
    ),
    finished=(
        "status.conditions[type=Completed].lastTransitionTime",
        "status.conditions[type=Failed].lastTransitionTime",
    ),
    time_limit=f"{_JOBS}.template.spec.activeDeadlineSeconds",
    fixed={
        f"{_JOBS}.template.spec.backoffLimit": 0,
        f"{_JOBS}.template.spec.template.spec.restartPolicy": "Never",
        "spec.failurePolicy.maxRestarts": 0,
    },
)  # fmt: skip

_WORKER: PodParts = pod_template("leaderWorkerTemplate.workerTemplate")

LEADER_WORKER_SET = Adapter(
    "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "leaderworkersets",
    groups=(
        Group(
            "leader", "spec", pod_template("leaderWorkerTemplate.leaderTemplate"),
            otherwise=_WORKER,
            count=(Number("replicas"),),
            is_required=True,
        ),
        # `size` counts the leader too.
        Group(
            "worker", "spec", _WORKER,
            count=(Number("replicas"), Number("leaderWorkerTemplate.size", least=1, minus=1)),
            is_required=True,
        ),
    ),
    is_gang=True,
    is_service=True,
    status=(condition("Running", "Available"),),
)  # fmt: skip

KINDS = (JOB, POD, POD_LIST, JOB_SET, LEADER_WORKER_SET)
