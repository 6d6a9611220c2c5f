"""`describe cluster`: what a person reads of a cluster, and how old it is said to be."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.cli.describing_cluster import describe_cluster
from atoll.federation.resources import Cluster

GIB = 2**30
PROVEN = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
INVENTORY = {
    "version": "v1.33.6+k3s1", "distribution": "K3s", "form": "Edge", "nodes": 5, "nodesReady": 2,
    "nodeStates": {"Offline": 3, "Ready": 2}, "cni": "cilium", "cniVersion": "1.19.4", "staleKinds": ["Event"],
    "omittedNodes": 7,
    "shapes": [{
        "nodes": 2, "freeMillicores": 1500, "allocatableMillicores": 4000, "freeMemoryBytes": int(30.75 * GIB),
        "allocatableMemoryBytes": 64 * GIB, "freeGpus": 1, "allocatableGpus": 2, "gpuModel": "NVIDIA-T4",
    }],
    "devices": [{"resource": "nvidia.com/gpu", "kind": "Gpu", "model": "NVIDIA-T4", "memoryBytes": 16 * GIB,
                 "count": 4, "free": 2}],
    "storageClasses": [{"name": "csi", "provisioner": "csi.test", "isDefault": True, "freeBytes": 1500 * GIB},
                       {"name": "nfs", "provisioner": "nfs.test"}],
    "troubledNodes": [{"name": "edge-1", "state": "Offline", "reasons": ["DiskPressure"], "message": "not heard"}],
}  # fmt: skip


def described(capsys: pytest.CaptureFixture[str], **status: Any) -> list[list[str]]:
    """Describe a cluster of this status; give the words of each line."""
    describe_cluster(Cluster.model_validate({"metadata": {"name": "lab"}, "status": status}))
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_ready_cluster_is_described_with_what_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    links = [{"peer": "cloud", "isReady": True}, {"peer": "site", "reason": "no route"}]
    lines = described(
        capsys, phase="Ready", reason="Proven", message="2 of 5 nodes are ready", agentVersion="1.2",
        lastProvenAt=PROVEN, inventory=INVENTORY, links=links,
    )  # fmt: skip
    for line in (
        "Phase: Ready (Proven)",
        "Why: 2 of 5 nodes are ready",
        "Kubernetes: v1.33.6+k3s1, K3s, with edge nodes",
        "Nodes: 2 of 5 ready: 3 Offline, 2 Ready",
        "Stale: Event cannot be followed just now",
        "2 1500m 4 30.8Gi 64Gi 1 2 NVIDIA-T4",
        "and 7 more nodes, of sorts too many to be listed",
        "NVIDIA-T4 nvidia.com/gpu 16Gi 2 4",
        "csi csi.test yes 1.46Ti",
        "nfs nfs.test no -",
        "edge-1 Offline DiskPressure not heard",
        "cloud Ready never -",
        "site Down never no route",
    ):
        assert line.split() in lines
    proven = next(line for line in lines if line[0] == "Proven:")
    assert proven[1] == f"{PROVEN:%Y-%m-%dT%H:%M:%SZ}"
    assert int(proven[2].partition("m")[0].strip("(")) >= 5


def test_what_is_told_of_a_sleeping_cluster_is_said_to_be_of_the_past(capsys: pytest.CaptureFixture[str]) -> None:
    wakes = PROVEN + timedelta(hours=9)
    lines = described(
        capsys, phase="Asleep", reason="Scheduled", message="asleep by its schedule", lastProvenAt=PROVEN,
        wakesAt=wakes, inventory=INVENTORY, links=[{"peer": "cloud", "isReady": True}],
    )  # fmt: skip
    notice = ["What", "follows", "is", "as", "it", "was", "when", "the", "cluster", "was", "last", "heard."]
    assert ["Wakes:", f"{wakes:%Y-%m-%dT%H:%M:%SZ}"] in lines[: lines.index(notice)]
    assert ["cloud", "Stale", "never", "-"] in lines[lines.index(notice) :]


def test_a_cluster_of_which_nothing_is_known_is_described_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    assert described(capsys, phase="Pending", reason="NotJoined", message="nobody was heard") == [
        ["Phase:", "Pending", "(NotJoined)"],
        ["Why:", "nobody", "was", "heard"],
    ]


def test_warnings_of_a_cluster_are_described_with_their_age_on_one_line_each(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = {"owner": "run/lab/a-1", "kind": "Pod", "name": "a-1-x", "reason": "BackOff", "count": 7}
    warnings = [{**told, "message": "restarting\nfailed  container", "lastAt": PROVEN}, {**told, "name": "a-1-y"}]
    lines = described(capsys, phase="Ready", warnings=warnings)
    header = lines.index(["LAST", "COUNT", "OBJECT", "REASON", "MESSAGE"])
    aged, undated = lines[header + 1 :]
    assert int(aged[0].partition("m")[0]) >= 5
    assert aged[1:] == ["7", "Pod/a-1-x", "BackOff", "restarting", "failed", "container"]
    assert undated == ["-", "7", "Pod/a-1-y", "BackOff", "-"]
