"""The overlay for simulated clusters, applied: its pods run as processes, and become a hub that a cluster joins."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from atoll.installation.hub import Addresses
from atoll.local import hub_credentials
from atoll.sandbox.settings import SandboxSettings
from deploy.world import DEPLOY, HubPod, apply, one_node, ready_addresses, wait_until
from sandbox.worlds import Json, Sandbox, running_sandbox

CLUSTER = "centre"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(SandboxSettings(tmp_path_factory.mktemp("deploy"), clusters=(one_node(CLUSTER),))) as running:
        if running.state.isolation != "mounts":
            pytest.skip("needs mount namespaces: programs look for their files at fixed paths")
        yield running


def agent_overlay(folder: Path, credentials: Path, token: str) -> Path:
    """What an operator writes for a cluster of theirs: names, and the Secret of the first start."""
    folder.mkdir()
    (folder / "bases").symlink_to(DEPLOY / "bases")
    described = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["bases/agent"],
        "configMapGenerator": [
            {
                "name": "atoll-agent",
                "namespace": "atoll-system",
                "literals": [f"CLUSTER={CLUSTER}", "HUB=https://atoll-hub.atoll.svc:8700"],
            }
        ],
        "secretGenerator": [
            {
                "name": "atoll-agent-enrolment",
                "namespace": "atoll-system",
                "files": ["token", "ca.crt"],
                "options": {"disableNameSuffixHash": True},
            }
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(described))
    (folder / "token").write_text(token)
    (folder / "ca.crt").write_bytes((credentials / "ca.crt").read_bytes())
    return folder


@pytest.mark.timeout(300)  # seven processes begin; each wait has an end of its own
def test_hub_and_nats_come_up_and_a_cluster_joins_them(cluster: Sandbox, tmp_path: Path) -> None:
    """Three servers of NATS find each other by TLS, both hubs answer, and an agent of the base is heard by them."""
    server, kubectl, credentials = cluster.state.cluster(CLUSTER).server, cluster.kubectl(CLUSTER), tmp_path / "keys"
    hub_credentials.ensure(credentials, Addresses(), port=8700, now=datetime.now(UTC))
    apply(kubectl, DEPLOY / "overlays" / "simulated")
    apply(kubectl, credentials)  # pods wait for their Secrets

    def ready_hubs() -> list[HubPod]:
        hubs = [HubPod(credentials, each) for each in ready_addresses(server, "atoll-hub")]
        return [each for each in hubs if each.get("/readyz").text == "ok"]

    wait_until(lambda: len(ready_hubs()) == 2, what="two hubs that are ready")
    assert len(ready_addresses(server, "atoll-nats")) == 3

    first, second = ready_hubs()
    admin = first.kubectl()
    admin.apply({"apiVersion": "atoll.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": CLUSTER}, "spec": {}})
    invitation = json.dumps({"kind": "cluster", "name": CLUSTER})
    token = json.loads(admin.run("create", "--raw", "/access/enrolments", "-f", "-", stdin=invitation).stdout)["token"]
    apply(kubectl, agent_overlay(tmp_path / "agent", credentials, token))
    path = f"/apis/atoll.dev/v1alpha1/clusters/{CLUSTER}"
    wait_until(lambda: status(second, path).get("phase") == "Ready", what="a Ready cluster")
    assert CLUSTER in second.kubectl()("get", "clusters.atoll.dev")


def status(hub: HubPod, path: str) -> Json:
    return hub.get(path).json().get("status", {})
