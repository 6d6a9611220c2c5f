"""Settings of the member agent."""

from dataclasses import dataclass
from pathlib import Path

from atoll.edge.enrolment import EnrolmentSettings


@dataclass(frozen=True)
class MemberSettings:
    """What one agent is told at its start.

    Attributes:
        cluster: name of the Cluster that it speaks for.
        enrolment: how it comes to reach the hub's NATS, which may be away for any time.
        kubeconfig: how to reach the API server; None means the pod's service account.
        context: of the kubeconfig; None means its current one.
        state_dir: a folder of this agent alone, on a disk that survives restarts.
        cilium_socket: the Cilium agent's socket; its health API is the `health.sock` beside it.
        cilium_exec: ask Cilium by commands in its pods: all nodes for proof, and for the mesh if there is no socket. It
            takes `create pods/exec`.
        job_exec: let people run commands in the pods of their runs. It takes `create pods/exec` in every namespace.
        observe_only: touch no policy, whatever a set asks for; tell what differs.
        heartbeat_seconds: how often the hub hears from the agent.
    """

    cluster: str
    enrolment: EnrolmentSettings
    state_dir: Path
    kubeconfig: Path | None = None
    context: str | None = None
    cilium_socket: Path | None = None
    cilium_exec: bool = False
    job_exec: bool = False
    observe_only: bool = False
    heartbeat_seconds: float = 10.0
