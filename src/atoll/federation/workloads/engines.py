"""Kinds of engines with operators of their own: Ray, Spark, Flink, Argo Workflows, Volcano.

Sources: kuberay ray-operator/apis/ray/v1, spark-operator api/v1beta2, flink-kubernetes-operator api spec and status,
argo-workflows pkg/apis/workflow/v1alpha1, volcano apis batch/v1alpha1.
"""

from atoll.federation.workloads.adapter import (
    Adapter,
    Amounts,
    Group,
    Number,
    PodParts,
    Suspend,
    When,
    condition,
    pod_template,
)


def _is(*values: str) -> frozenset[str]:
    return frozenset(values)


def _ray_groups(cluster: str) -> tuple[Group, ...]:
    workers = f"{cluster}.workerGroupSpecs[*]"
    replicas = Number(
        "replicas", default=0, no_less="minReplicas",
        up_to="maxReplicas", if_set=f"/{cluster}.enableInTreeAutoscaling",
    )  # fmt: skip
    return (
        Group("head", f"{cluster}.headGroupSpec", takes_gpus=False, is_required=True),
        Group("*", workers, count=(replicas, Number("numOfHosts", least=1))),
    )


RAY_CLUSTER = Adapter(
    "ray.io/v1", "RayCluster", "rayclusters",
    groups=_ray_groups("spec"),
    is_gang=True,
    is_service=True,
    suspend=Suspend("spec.suspend"),
    status=(
        When("Failed", "status.state", _is("failed"), message="status.reason"),
        When("Suspended", "status.state", _is("suspended")),
        When("Running", "status.state", _is("ready")),
        condition("Running", "RayClusterProvisioned"),
    ),
)  # fmt: skip

RAY_JOB = Adapter(
    "ray.io/v1", "RayJob", "rayjobs",
    groups=(
        *_ray_groups("spec.rayClusterSpec"),
        Group("submitter", "spec", pod_template("submitterPodTemplate"), takes_gpus=False),
    ),
    is_gang=True,
    suspend=Suspend("spec.suspend"),
    status=(
        When("Failed", "status.jobDeploymentStatus", _is("Failed", "ValidationFailed"), "status.reason",
             "status.message"),
        When("Failed", "status.jobStatus", _is("FAILED", "STOPPED"), "status.reason", "status.message"),
        When("Succeeded", "status.jobStatus", _is("SUCCEEDED")),
        When("Suspended", "status.jobDeploymentStatus", _is("Suspended", "Suspending")),
        When("Running", "status.jobStatus", _is("RUNNING")),
    ),
    started=("status.startTime",),
    finished=("status.endTime",),
    time_limit="spec.activeDeadlineSeconds",
    # The Ray cluster goes with its job, or it would hold what nobody is charged for any more.
    fixed={"spec.backoffLimit": 0, "spec.shutdownAfterJobFinishes": True},
)  # fmt: skip


_SPARK_POD = PodParts(
    containers=("",),
    labels="labels",
    annotations="annotations",
    volumes="/spec.volumes",
    affinity="affinity",
    node_selector="nodeSelector",
    scheduler_name="schedulerName",
    grace="terminationGracePeriodSeconds",
    amounts=Amounts(
        cpu=("coreRequest", "cores"),
        memory=("memory",),
        overhead="memoryOverhead",
        overhead_factor_at="/spec.memoryOverheadFactor",
        # spark.kubernetes.memoryOverheadFactor of Python and R, which is more than a JVM's 0.1, and the least overhead
        # (Spark, "Running on Kubernetes").
        overhead_factor=0.4,
        overhead_least="384m",
        gpus="gpu.quantity",
        gpu_name="gpu.name",
    ),
)

SPARK_APPLICATION = Adapter(
    "sparkoperator.k8s.io/v1beta2", "SparkApplication", "sparkapplications",
    groups=(
        Group("driver", "spec.driver", _SPARK_POD, takes_gpus=False, is_required=True),
        Group(
            "executor", "spec.executor", _SPARK_POD,
            count=(
                Number(
                    "instances",
                    up_to="/spec.dynamicAllocation.maxExecutors", if_set="/spec.dynamicAllocation.enabled",
                ),
            ),
            is_required=True,
        ),
    ),
    is_gang=True,
    suspend=Suspend("spec.suspend"),
    status=(
        When("Succeeded", "status.applicationState.state", _is("COMPLETED")),
        When("Failed", "status.applicationState.state", _is("FAILED", "SUBMISSION_FAILED"),
             message="status.applicationState.errorMessage"),
        When("Suspended", "status.applicationState.state", _is("SUSPENDING", "SUSPENDED")),
        When("Running", "status.applicationState.state", _is("RUNNING", "SUCCEEDING", "FAILING")),
    ),
    started=("status.lastSubmissionAttemptTime",),
    finished=("status.terminationTime",),
    fixed={"spec.restartPolicy.type": "Never"},
    volcano={"spec.batchScheduler": "volcano", "spec.batchSchedulerOptions.queue": "{queue}"},
    yunikorn={"spec.batchScheduler": "yunikorn", "spec.batchSchedulerOptions.queue": "{queue}"},
)  # fmt: skip

# The container in pod templates that the operator takes for Flink's own. What all pods share is written into the
# template of both roles, since the operator merges a role's lists into it entry by entry.
_MAIN = "podTemplate.spec.containers[name=flink-main-container]"
_FLINK_POD = PodParts(
    containers=(),
    patch=f"/spec.{_MAIN}",
    labels="/spec.podTemplate.metadata.labels",
    annotations="/spec.podTemplate.metadata.annotations",
    volumes="/spec.podTemplate.spec.volumes",
    affinity="podTemplate.spec.affinity",
    affinity_else="/spec.podTemplate.spec.affinity",
    node_selector="podTemplate.spec.nodeSelector",
    scheduler_name="/spec.podTemplate.spec.schedulerName",
    grace="/spec.podTemplate.spec.terminationGracePeriodSeconds",
    amounts=Amounts(
        cpu=("resource.cpu", "resources.requests.cpu"),
        memory=("resource.memory", "resources.requests.memory"),
        gpus=f'{_MAIN}.resources.limits["nvidia.com/gpu"]',
    ),
)

FLINK_DEPLOYMENT = Adapter(
    "flink.apache.org/v1beta1", "FlinkDeployment", "flinkdeployments",
    groups=(
        Group(
            "jobmanager", "spec.jobManager", _FLINK_POD,
            count=(Number("replicas"),),
            takes_gpus=False,
            is_required=True,
        ),
        Group(
            "taskmanager", "spec.taskManager", _FLINK_POD,
            count=(
                Number(
                    "/spec.job.parallelism",
                    per='/spec.flinkConfiguration["taskmanager.numberOfTaskSlots"]', no_less="replicas",
                ),
            ),
            is_required=True,
        ),
    ),
    is_gang=True,
    is_service=True,
    status=(
        When("Succeeded", "status.jobStatus.state", _is("FINISHED")),
        When("Failed", "status.jobStatus.state", _is("FAILED", "CANCELED"), message="status.error"),
        When("Failed", "status.lifecycleState", _is("FAILED"), message="status.error"),
        When("Running", "status.jobStatus.state", _is("RUNNING")),
        # A session cluster has no job.
        When("Running", "status.jobManagerDeploymentStatus", _is("READY")),
    ),
    kueue="pods",
)  # fmt: skip

_STEPS = "spec.templates[*]"

WORKFLOW = Adapter(
    "argoproj.io/v1alpha1", "Workflow", "workflows",
    groups=(
        Group(
            "*", _STEPS,
            PodParts(
                containers=("container", "script", "containerSet.containers[*]", "sidecars[*]"),
                init_containers="initContainers[*]",
                labels="/spec.podMetadata.labels",
                annotations="/spec.podMetadata.annotations",
                volumes="/spec.volumes",
                affinity="affinity",
                affinity_else="/spec.affinity",
                node_selector="nodeSelector",
                scheduler_name="/spec.schedulerName",
            ),
        ),
    ),
    in_turns=Number("spec.parallelism", least=1),
    suspend=Suspend("spec.suspend"),
    status=(
        When("Succeeded", "status.phase", _is("Succeeded")),
        When("Failed", "status.phase", _is("Failed", "Error"), message="status.message"),
        When("Running", "status.phase", _is("Running"), message="status.message"),
    ),
    started=("status.startedAt",),
    finished=("status.finishedAt",),
    time_limit="spec.activeDeadlineSeconds",
    kueue="pods",
)  # fmt: skip

VOLCANO_JOB = Adapter(
    "batch.volcano.sh/v1alpha1", "Job", "jobs",
    groups=(Group("*", "spec.tasks[*]", count=(Number("replicas"),), is_required=True),),
    is_gang=True,
    status=(
        When("Succeeded", "status.state.phase", _is("Completed")),
        When("Failed", "status.state.phase", _is("Failed", "Aborted", "Terminated"), "status.state.reason",
             "status.state.message"),
        When("Running", "status.state.phase", _is("Running", "Restarting", "Completing")),
    ),
    finished=("status.state.lastTransitionTime",),
    fixed={"spec.tasks[*].template.spec.restartPolicy": "Never"},
    kueue=None,
    volcano={"spec.schedulerName": "volcano", "spec.queue": "{queue}"},
)  # fmt: skip

KINDS = (RAY_JOB, RAY_CLUSTER, SPARK_APPLICATION, FLINK_DEPLOYMENT, WORKFLOW, VOLCANO_JOB)
