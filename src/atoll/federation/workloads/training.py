"""Kubeflow's kinds: the training operator's, Trainer's TrainJob, and Katib's Experiment.

Sources: training-operator pkg/apis/kubeflow.org/v1, mpi-operator pkg/apis/kubeflow/v2beta1, trainer
pkg/apis/trainer/v1alpha1, katib pkg/apis/controller/experiments/v1beta1.
"""

from atoll.federation.workloads.adapter import (
    Adapter,
    Group,
    Nested,
    Number,
    PodParts,
    Suspend,
    condition,
)

_CONDITIONS = (
    condition("Succeeded", "Succeeded"),
    condition("Failed", "Failed"),
    condition("Suspended", "Suspended"),
    condition("Running", "Running"),
)
# What trains; the others (parameter servers, evaluators, launchers) do with CPUs unless they ask for more themselves.
_TRAINS = frozenset({"Master", "Chief", "Worker"})


def _training(kind: str, plural: str, replicas: str, *roles: str, version: str = "kubeflow.org/v1") -> Adapter:
    """Declare a kind of the training operator: all of them are maps from a role to a pod template and a number."""
    return Adapter(
        version, kind, plural,
        groups=tuple(
            Group(
                role.lower(), f"spec.{replicas}.{role}",
                count=(Number("replicas"),),
                takes_gpus=role in _TRAINS,
                is_required=role == roles[-1],
            )
            for role in roles
        ),
        is_gang=True,
        suspend=Suspend("spec.runPolicy.suspend"),
        status=_CONDITIONS,
        started=("status.startTime",),
        finished=("status.completionTime", "status.conditions[type=Failed].lastTransitionTime"),
        time_limit="spec.runPolicy.activeDeadlineSeconds",
        fixed={"spec.runPolicy.backoffLimit": 0, f"spec.{replicas}[*].restartPolicy": "Never"},
        volcano={"spec.runPolicy.schedulingPolicy.queue": "{queue}"},
    )  # fmt: skip


# The last role is the one without which there is nothing to run.
PYTORCH_JOB = _training("PyTorchJob", "pytorchjobs", "pytorchReplicaSpecs", "Worker", "Master")
TF_JOB = _training("TFJob", "tfjobs", "tfReplicaSpecs", "Chief", "Master", "PS", "Evaluator", "Worker")
XGBOOST_JOB = _training("XGBoostJob", "xgboostjobs", "xgbReplicaSpecs", "Worker", "Master")
PADDLE_JOB = _training("PaddleJob", "paddlejobs", "paddleReplicaSpecs", "Master", "Worker")
JAX_JOB = _training("JAXJob", "jaxjobs", "jaxReplicaSpecs", "Worker")
MPI_JOB = _training("MPIJob", "mpijobs", "mpiReplicaSpecs", "Worker", "Launcher")
MPI_JOB_V2 = _training("MPIJob", "mpijobs", "mpiReplicaSpecs", "Worker", "Launcher", version="kubeflow.org/v2beta1")

# A TrainJob's pods are made by the runtime that it names, in the cluster; what Atoll adds is a patch of that runtime.
# `node` is what every runtime calls the job and the container that train (trainer constants.AncestorTrainer).
_PATCH = (
    "runtimePatches[manager=atoll.dev/hub].trainingRuntimeSpec.template.spec"
    ".replicatedJobs[name=node].template.spec.template"
)

TRAIN_JOB = Adapter(
    "trainer.kubeflow.org/v1alpha1", "TrainJob", "trainjobs",
    groups=(
        Group(
            "node", "spec",
            PodParts(
                containers=("trainer",),
                resources="resourcesPerNode",
                labels=f"{_PATCH}.metadata.labels",
                annotations=f"{_PATCH}.metadata.annotations",
                volumes=f"{_PATCH}.spec.volumes",
                patch=f"{_PATCH}.spec.containers[name=node]",
                affinity=f"{_PATCH}.spec.affinity",
                node_selector=f"{_PATCH}.spec.nodeSelector",
                grace=f"{_PATCH}.spec.terminationGracePeriodSeconds",
            ),
            count=(Number("trainer.numNodes", least=1),),
            is_required=True,
        ),
    ),
    is_gang=True,
    suspend=Suspend("spec.suspend"),
    status=(condition("Succeeded", "Complete"), condition("Failed", "Failed"), condition("Suspended", "Suspended")),
    finished=(
        "status.conditions[type=Complete].lastTransitionTime",
        "status.conditions[type=Failed].lastTransitionTime",
    ),
    # It is run as a JobSet of its own name.
    pods="jobset.sigs.k8s.io/jobset-name={name}",
    time_limit="spec.activeDeadlineSeconds",
)  # fmt: skip

EXPERIMENT = Adapter(
    "kubeflow.org/v1beta1", "Experiment", "experiments",
    nested=Nested("spec.trialTemplate.trialSpec", Number("spec.parallelTrialCount", default=3, least=1)),
    status=(condition("Succeeded", "Succeeded"), condition("Failed", "Failed"), condition("Running", "Running")),
    started=("status.startTime",),
    finished=("status.completionTime",),
    fixed={"spec.resumePolicy": "Never"},
    kueue=None,
)  # fmt: skip

KINDS = (
    PYTORCH_JOB, TF_JOB, MPI_JOB, MPI_JOB_V2, XGBOOST_JOB, PADDLE_JOB, JAX_JOB, TRAIN_JOB, EXPERIMENT,
)  # fmt: skip
