"""What somebody decides when a cluster joins, and the names under which everything is installed."""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

Manifest = dict[str, Any]
StateKind = Literal["claim", "empty", "host"]

NAMESPACE = "atoll-system"
AGENT = "atoll-agent"
STATE_CLAIM = "atoll-agent-state"
ENROLMENT_SECRET = "atoll-agent-enrolment"  # noqa: S105 - a name
CILIUM_NAMESPACE, CILIUM_ROLE = "kube-system", "atoll-agent-cilium"
# Says which cluster of the federation an agent speaks for; two of them in one cluster would fight.
CLUSTER_ANNOTATION = "atoll.dev/cluster"
ENROLMENT_ANNOTATION = "atoll.dev/enrolment"
LABELS = {
    "app.kubernetes.io/name": AGENT,
    "app.kubernetes.io/part-of": "atoll",
    "app.kubernetes.io/managed-by": "atoll",
}


@dataclass(frozen=True)
class Hub:
    """How an agent reaches the hub for the first time. Without a token nothing can be installed, only shown."""

    url: str
    ca: str = ""
    token: str = ""


@dataclass(frozen=True)
class State:
    """Where an agent keeps its key and its last orders.

    A claim outlives the pod and follows it to another node. `empty` ends with the pod: the agent then needs a new
    token, and while the hub is away it knows of no order. `host` stays on one node, where its user must own the folder.
    """

    kind: StateKind = "claim"
    storage_class: str = ""
    path: str = ""


@dataclass(frozen=True)
class Installation:
    """One agent: the Cluster that it speaks for, its hub, and how it runs."""

    cluster: str
    hub: Hub
    image: str
    state: State = State()
    cilium_exec: bool = False
    job_exec: bool = False
    heartbeat_seconds: float | None = None
    # Of the token that is in the cluster already, if there is no new one.
    enrolment: str = ""

    @property
    def fingerprint(self) -> str:
        """Tell tokens apart without giving them away."""
        token = self.hub.token
        return hashlib.sha256(token.encode()).hexdigest()[:16] if token else self.enrolment


def agent_options(
    installation: Installation, *, credentials: str, state_dir: str, kubeconfig: str = ""
) -> tuple[str, ...]:
    """Give the command line of an agent whose token and CA are files in the folder `credentials`."""
    hub = installation.hub
    ca = ("--hub-ca", f"{credentials}/ca.crt") if hub.ca else ()
    access = ("--kubeconfig", kubeconfig) if kubeconfig else ()
    cilium = ("--cilium-exec",) if installation.cilium_exec else ()
    jobs = ("--job-exec",) if installation.job_exec else ()
    every = installation.heartbeat_seconds
    beat = ("--heartbeat-seconds", f"{every:g}") if every is not None else ()
    token = ("--enrolment-token-file", f"{credentials}/token")
    name, where = ("--cluster", installation.cluster), ("--state-dir", state_dir)
    return ("agent", *name, "--hub", hub.url, *ca, *token, *where, *access, *cilium, *jobs, *beat)
