"""The two servers that other people's clients are tried on: a hub and a simulated cluster, each a process of its own.

Both are found as users find them: through a kubeconfig file. What the clients handle there is in things.py.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from atoll.sandbox.settings import SandboxSettings
from atoll.sandbox.spec import LAB_K3S
from hub.processes import HubProcess
from sandbox.differential.telescopes import DEFINITION
from sandbox.worlds import Kubectl, running_sandbox

HUB, CLUSTER = "hub", "cluster"
MEMBER = "onprem"


@dataclass(frozen=True)
class Target:
    """A running server, and the kubeconfig through which clients find it."""

    name: str
    kubeconfig: Path

    def kubectl(self, namespace: str = "default") -> Kubectl:
        return Kubectl(self.kubeconfig, namespace)


@contextlib.contextmanager
def hub_target(nats_url: str, folder: Path) -> Iterator[Target]:
    """Run a hub whose one cluster does all jobs at once."""
    hub = HubProcess(nats_url, folder, (MEMBER,))
    hub.start()
    try:
        target = Target(HUB, folder / "kubeconfig")
        write_kubeconfig(target.kubeconfig, hub.url)
        cluster = {"metadata": {"name": MEMBER}, "spec": {}}
        queue = {"metadata": {"name": "lab"}, "spec": {}}
        kinds = {"Cluster": cluster, "Queue": queue}
        target.kubectl().apply(*({"apiVersion": "atoll.dev/v1alpha1", "kind": k, **v} for k, v in kinds.items()))
        target.kubectl()("wait", "clusters.atoll.dev", MEMBER, "--for=jsonpath={.status.phase}=Ready")
        yield target
    finally:
        hub.stop()


@contextlib.contextmanager
def cluster_target(folder: Path) -> Iterator[Target]:
    """Run a simulated cluster that has a custom resource too."""
    with running_sandbox(SandboxSettings(folder, clusters=(LAB_K3S,))) as sandbox:
        target = Target(CLUSTER, Path(sandbox.state.cluster("lab-k3s").kubeconfig))
        kubectl = target.kubectl()
        kubectl.apply(DEFINITION)
        kubectl("wait", "crd/telescopes.sky.dev", "--for=condition=Established", "--timeout=30s")
        yield target


def write_kubeconfig(path: Path, url: str, **user: Any) -> None:
    """Write how one user reaches a server."""
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "default"}}],
    }
    path.write_text(yaml.safe_dump(content))
