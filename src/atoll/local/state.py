"""What runs in a home, as its supervisor wrote it down. Values only."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from atoll.federation.resources.base import Model

Phase = Literal["Starting", "Ready", "Stopping", "Failed"]


class ProcessState(Model):
    """One supervised process."""

    name: str
    pid: int | None = None
    restarts: int = 0
    log: str


class ClusterAccess(Model):
    """How to reach one simulated cluster on this machine."""

    name: str
    url: str
    kubeconfig: str = ""
    storage: str = Field(default="", description="Folder that holds the cluster's volumes.")


class State(Model):
    """The whole of it. `steps` are the start-up's finished and current steps, newest last."""

    kind: Literal["hub", "sandbox"]
    phase: Phase = "Starting"
    message: str = ""
    pid: int
    started_at: datetime
    steps: tuple[str, ...] = ()
    hub_url: str = ""
    hub_kubeconfig: str = Field(default="", description="How kubectl reaches the hub as its administrator.")
    nats_url: str = ""
    mqtt_url: str = ""
    processes: tuple[ProcessState, ...] = ()
    clusters: tuple[ClusterAccess, ...] = ()

    @property
    def start_command(self) -> str:
        """What a person types to start it."""
        return "atoll sandbox up" if self.kind == "sandbox" else "atoll up"

    @property
    def stop_command(self) -> str:
        """What a person types to stop it."""
        return "atoll sandbox down" if self.kind == "sandbox" else "atoll down"
