"""The inventory as tables: from nodes, pods and storage objects as an API server gives them to what the hub hears."""

import pytest

from atoll.edge.member.inventory.distribution import distribution_of
from atoll.edge.member.inventory.facts import ClusterFacts
from atoll.edge.member.inventory.storage import project_capacity, project_storage_class
from atoll.edge.member.inventory.summary import build_inventory
from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.messages import InventoryReport
from member.harness import HubSide, on_any_cluster, running_agent
from member.nodes import A100, GIB, facts, offering, pod, with_condition, with_spec
from member.world import Cluster, Json, node


def test_equal_nodes_make_one_shape_and_pods_take_from_it() -> None:
    """Two empty GPU nodes are one shape of two; a third with a running pod is its own; ended pods take nothing."""
    nodes = [node(name, gpus=4, labels=A100) for name in ("a", "b", "c")]
    pods = (pod("c", gpus=1), pod("c", gpus=2, phase="Succeeded"), pod("", gpus=3, phase="Pending"))
    inventory = build_inventory(facts(*nodes, pods=pods))
    assert [(shape.nodes, shape.free_gpus, shape.free_millicores) for shape in inventory.shapes] == [
        (1, 3, 7000),
        (2, 4, 8000),
    ]
    assert {shape.gpu_model for shape in inventory.shapes} == {"NVIDIA-A100-SXM4-40GB"}
    assert [(gpu.model, gpu.memory_bytes, gpu.count) for gpu in inventory.gpus] == [
        ("NVIDIA-A100-SXM4-40GB", 40 * GIB, 12)
    ]
    assert [gpu.count for gpu in inventory.free_gpus] == [11]
    assert (inventory.nodes, inventory.nodes_ready, inventory.millicores) == (3, 3, 24_000)
    assert inventory.memory_bytes == 3 * 32 * GIB


TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
GPU_TAINT = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}
SOFT_TAINT = {"key": "x", "effect": "PreferNoSchedule"}
UNINITIALIZED = {"key": "node.cloudprovider.kubernetes.io/uninitialized", "effect": "NoSchedule"}
OFFERS: dict[str, tuple[Json, int]] = {
    "a plain node": (node(), 1),
    "a cordoned node": (with_spec(node(), unschedulable=True), 0),
    "a control-plane node": (with_spec(node(), taints=[TAINT]), 0),
    "a GPU node's own taint": (with_spec(node(gpus=1), taints=[GPU_TAINT]), 1),
    "a soft taint": (with_spec(node(), taints=[SOFT_TAINT]), 1),
    "a node that is full of pods": (offering("n1", {"pods": "0"}), 0),
    "a node that the cloud provider has not initialised": (with_spec(node(), taints=[UNINITIALIZED]), 0),
    "a node that is not ready": (with_condition(node(), "Ready", "Unknown", "NodeStatusUnknown"), 0),
}


@pytest.mark.parametrize("what", OFFERS)
def test_only_nodes_that_take_ordinary_pods_offer_anything(what: str) -> None:
    """What an ordinary pod could not use now is no free capacity, though it counts as a node."""
    item, offered = OFFERS[what]
    inventory = build_inventory(facts(item))
    assert (inventory.nodes, len(inventory.shapes)) == (1, offered)


def test_runs_whose_pods_are_on_nodes_are_named() -> None:
    """The hub must not count their share twice; pods that wait, have ended or are foreign do not matter."""
    places = (("a", "r1"), ("", "r2"), ("a", "x"))
    jobs = [pod(where, **{"batch.kubernetes.io/job-name": name}) for where, name in places]
    ended = pod("a", phase="Succeeded", **{"batch.kubernetes.io/job-name": "r3"})
    runs = frozenset({"ns/r1", "ns/r2", "ns/r3"})
    assert build_inventory(facts(node("a"), pods=(*jobs, ended), runs=runs)).counted_runs == ("ns/r1",)


def test_a_model_that_is_all_in_use_is_listed_with_zero() -> None:
    """The hub can tell "no such GPU" from "none free"."""
    inventory = build_inventory(facts(node("a", gpus=1, labels=A100), pods=(pod("a", gpus=1),)))
    assert [gpu.count for gpu in inventory.gpus] == [1]
    assert [gpu.count for gpu in inventory.free_gpus] == [0]


def distributed(version: str = "v1.33.1", *, os_image: str = "Linux", **parts: Json) -> Json:
    metadata = {"name": "n", "labels": parts.get("labels", {}), "annotations": parts.get("annotations", {})}
    return {
        "metadata": metadata,
        "spec": parts.get("spec", {}),
        "status": {"nodeInfo": {"kubeletVersion": version, "osImage": os_image}},
    }


DISTRIBUTIONS: dict[str, Json] = {
    "K3s": distributed("v1.33.1+k3s1"),
    "RKE2": distributed("v1.33.1+rke2r1"),
    "KubeEdge": distributed("v1.29.5-kubeedge-v1.19.0", labels={"node-role.kubernetes.io/edge": ""}),
    "EKS": distributed("v1.33.1-eks-5e0fdde"),
    "GKE": distributed("v1.33.1-gke.1200"),
    "AKS": distributed(labels={"kubernetes.azure.com/cluster": "x"}),
    "OpenShift": distributed(labels={"node.openshift.io/os_id": "rhcos", "node-role.kubernetes.io/edge": ""}),
    "MicroK8s": distributed("v1.33.1", labels={"microk8s.io/cluster": "true"}),
    "k0s": distributed("v1.33.1+k0s"),
    "Talos": distributed(os_image="Talos (v1.11.1)", annotations={"kubeadm.alpha.kubernetes.io/cri-socket": "x"}),
    "minikube": distributed(labels={"minikube.k8s.io/name": "m"}),
    "kind": distributed(spec={"providerID": "kind://docker/kind/kind-control-plane"}),
    "kubeadm": distributed(annotations={"kubeadm.alpha.kubernetes.io/cri-socket": "unix:///run/containerd.sock"}),
    "": distributed(),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_distribution_is_what_the_nodes_say(name: str) -> None:
    """Each distribution is told by the marks that it leaves on its nodes; no mark, no claim."""
    assert distribution_of(DISTRIBUTIONS[name]) == name


def test_one_edge_node_makes_a_kubeedge_cluster() -> None:
    """Its cloud side may be any other distribution."""
    edge = {**DISTRIBUTIONS["KubeEdge"], "metadata": {**DISTRIBUTIONS["KubeEdge"]["metadata"], "name": "edge"}}
    assert build_inventory(facts(DISTRIBUTIONS["K3s"], edge)).distribution == "KubeEdge"


def networked(reason: str) -> ClusterFacts:
    return facts(with_condition(node(), "NetworkUnavailable", "False", reason))


def cilium_pod(image: str) -> Json:
    item = pod("n1", **{"k8s-app": "cilium"})
    item["spec"]["containers"][0]["image"] = image
    return item


CNIS: dict[str, tuple[ClusterFacts, tuple[str, str]]] = {
    "none that is known": (facts(node()), ("", "")),
    "flannel by its condition": (
        networked("FlannelIsUp"),
        ("flannel", ""),
    ),
    "calico by its condition": (
        networked("CalicoIsUp"),
        ("calico", ""),
    ),
    "cilium by its condition": (
        networked("CiliumIsUp"),
        ("cilium", ""),
    ),
    "cilium by its pods, amid an upgrade": (
        facts(
            node(),
            pods=(cilium_pod("quay.io/cilium/cilium:v1.18.10@sha256:ab"), cilium_pod("localhost:5000/cilium:v1.18.9")),
        ),
        ("cilium", "1.18.9"),
    ),
    "cilium by its agent": (facts(node(), cilium_version="1.18.2"), ("cilium", "1.18.2")),
}


@pytest.mark.parametrize("what", CNIS)
def test_the_network_plugin_is_named(what: str) -> None:
    """By the node condition that it sets, or by Cilium's presence with the oldest version that runs."""
    given, expected = CNIS[what]
    inventory = build_inventory(given)
    assert (inventory.cni, inventory.cni_version) == expected


def test_storage_classes_carry_the_largest_volume_that_can_still_be_made() -> None:
    """Free is the best segment's capacity within the volume limit; a driver that says nothing stays unknown."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    classes = [
        {"metadata": {"name": "fast", "annotations": annotations}, "provisioner": "csi.example"},
        {"metadata": {"name": "mute"}, "provisioner": "nfs.example"},
    ]
    capacities = [
        {"storageClassName": "fast", "capacity": "10Gi"},
        {"storageClassName": "fast", "capacity": "80Gi", "maximumVolumeSize": "50Gi"},
        {"storageClassName": "fast", "capacity": "nonsense"},
    ]
    inventory = build_inventory(
        ClusterFacts(
            nodes={},
            storage_classes={item["metadata"]["name"]: project_storage_class(item) for item in classes},
            capacities={str(number): project_capacity(item) for number, item in enumerate(capacities)},
        )
    )
    assert [(item.name, item.is_default, item.free_bytes) for item in inventory.storage_classes] == [
        ("fast", True, 50 * GIB),
        ("mute", False, None),
    ]


@on_any_cluster
async def test_a_change_of_the_cluster_is_reported_within_a_second_or_two(
    cluster: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """A node that joins and a pod that takes its GPU show in the next report, with version and distribution."""
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}})
    async with running_agent(settings):
        await hub.reported("inventory", InventoryReport, lambda report: report.inventory.nodes == 0)
        await cluster.join(node("n1", gpus=2, labels=A100))
        joined = await hub.reported(
            "inventory", InventoryReport, lambda report: report.inventory.nodes_ready == 1, within_seconds=30
        )
        assert joined.inventory.distribution == "K3s"
        assert joined.inventory.shapes[0].free_gpus == 2
        await cluster.create({"apiVersion": "v1", "kind": "Pod", **pod("n1", gpus=1)})
        await hub.reported(
            "inventory", InventoryReport, lambda report: report.inventory.shapes[0].free_gpus == 1, within_seconds=30
        )
        versioned = await hub.reported("inventory", InventoryReport, lambda report: report.inventory.version)
        assert versioned.inventory.version.startswith("v1.")
        await cluster.delete("Pod", "p", namespace="ns")
        await hub.reported(
            "inventory", InventoryReport, lambda report: report.inventory.shapes[0].free_gpus == 2, within_seconds=30
        )
