"""The kinds of `atoll.dev/v1alpha1`: one file each, the catalog that lists them, and their validation.

Owns what may stand in a manifest. It imports pydantic only and does no I/O.
"""

from atoll.federation.resources.base import (
    API_GROUP,
    API_VERSION,
    GROUP_VERSION,
    Condition,
    LabelSelector,
    Model,
    ObjectMeta,
    OwnerReference,
    Resource,
    resolve,
)
from atoll.federation.resources.catalog import BY_NAME, KINDS, Kind, PrintColumn, find
from atoll.federation.resources.cluster import Cluster, ClusterSpec, ClusterStatus, Inventory, NodeShape
from atoll.federation.resources.dataset import (
    DATASET_CLAIM,
    Dataset,
    DatasetSpec,
    DatasetStatus,
    Ledger,
    Replica,
    SourceLedger,
)
from atoll.federation.resources.gateway import Gateway, GatewaySpec, GatewayStatus, StreamLedger
from atoll.federation.resources.job import FINISHED_JOB_PHASES, GpuDemand, Job, JobSpec, JobStatus
from atoll.federation.resources.mesh import MeshCertificate, MeshFacts, MeshLink, MeshService
from atoll.federation.resources.policyset import ClusterPolicyStatus, PolicySet, PolicySetSpec, PolicySetStatus
from atoll.federation.resources.queue import Queue, QueueSpec, QueueStatus
from atoll.federation.resources.reservation import Reservation, ReservationSpec, ReservationStatus
from atoll.federation.resources.rolebinding import Role, RoleBinding, RoleBindingSpec, RoleSubject
from atoll.federation.resources.run import FINISHED_RUN_PHASES, Run, RunInput, RunSpec, RunStatus, Usage, run_prefix
from atoll.federation.resources.stream import Stream, StreamSpec, StreamStatus
from atoll.federation.resources.transfer import Transfer, TransferSpec, TransferStatus, transfer_name
from atoll.federation.resources.trigger import Trigger, TriggerSpec, TriggerStatus

__all__ = [
    "API_GROUP", "API_VERSION", "BY_NAME", "DATASET_CLAIM", "FINISHED_JOB_PHASES", "FINISHED_RUN_PHASES",
    "GROUP_VERSION", "KINDS", "Cluster", "ClusterPolicyStatus", "ClusterSpec", "ClusterStatus", "Condition",
    "Dataset", "DatasetSpec", "DatasetStatus", "Gateway", "GatewaySpec", "GatewayStatus", "GpuDemand", "Inventory",
    "Job", "JobSpec", "JobStatus", "Kind", "LabelSelector", "Ledger", "MeshCertificate", "MeshFacts", "MeshLink",
    "MeshService", "Model", "NodeShape", "ObjectMeta", "OwnerReference", "PolicySet", "PolicySetSpec",
    "PolicySetStatus", "PrintColumn", "Queue", "QueueSpec", "QueueStatus", "Replica", "Reservation",
    "ReservationSpec", "ReservationStatus", "Resource", "Role",
    "RoleBinding", "RoleBindingSpec", "RoleSubject", "Run", "RunInput", "RunSpec", "RunStatus", "SourceLedger",
    "Stream", "StreamLedger", "StreamSpec", "StreamStatus", "Transfer", "TransferSpec", "TransferStatus", "Trigger",
    "TriggerSpec", "TriggerStatus", "Usage", "find", "resolve", "run_prefix",
    "transfer_name",
]  # fmt: skip
