"""What extended resources and DRA devices are, as tables: from labels, resources, slices and claims to what is told."""

from typing import Any

import pytest

from atoll.edge.member.inventory.devices import describe_devices
from atoll.edge.member.inventory.dra import device_pools, project_claim, project_class, project_slice
from atoll.edge.member.inventory.summary import build_inventory
from atoll.federation.resources.inventory import DevicePool
from member.nodes import GIB, facts, offering, pod, with_condition, with_spec
from member.world import Json, node

NVIDIA = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB", "nvidia.com/gpu.memory": "40960"}
SHARING = {"nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.sharing-strategy": "time-slicing"}
SLICED = {"nvidia.com/gpu.product": "A100-SXM4-40GB-MIG-1g.5gb", "nvidia.com/gpu.memory": "4864"}
MIXED = NVIDIA | {
    "nvidia.com/mig.strategy": "mixed",
    "nvidia.com/mig-3g.20gb.memory": "20096",
    "nvidia.com/mig-3g.20gb.product": "NVIDIA-A100-SXM4-40GB-MIG-3g.20gb",
}
AMD = {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM", "amd.com/gpu.vram": "192G"}
BETA_AMD = {f"beta.{key}": value for key, value in AMD.items()}
INTEL = {
    "gpu.intel.com/product": "Max_1100",
    "gpu.intel.com/memory.max": str(96 * GIB),
    "gpu.intel.com/gpu-numbers": "0.1",
}
# resource, labels → kind, vendor, model, GiB of memory, pods per device
DEVICES: dict[str, tuple[str, dict[str, str], tuple[str, str, str, float, int]]] = {
    "a whole NVIDIA GPU": ("nvidia.com/gpu", NVIDIA, ("Gpu", "nvidia.com", "NVIDIA-A100-SXM4-40GB", 40, 1)),
    "an NVIDIA GPU that nobody labelled": ("nvidia.com/gpu", {}, ("Gpu", "nvidia.com", "", 0, 1)),
    "time-slicing that renames the resource": (
        "nvidia.com/gpu.shared",
        NVIDIA | SHARING,
        ("GpuShare", "nvidia.com", "NVIDIA-A100-SXM4-40GB", 40, 4),
    ),
    "time-slicing that renames the product": (
        "nvidia.com/gpu",
        {**NVIDIA, **SHARING, "nvidia.com/gpu.product": "Tesla-T4-SHARED"},
        ("GpuShare", "nvidia.com", "Tesla-T4-SHARED", 40, 4),
    ),
    "MIG, single strategy": (
        "nvidia.com/gpu",
        SLICED,
        ("GpuSlice", "nvidia.com", "A100-SXM4-40GB-MIG-1g.5gb", 4.75, 1),
    ),
    "MIG, mixed strategy": (
        "nvidia.com/mig-3g.20gb",
        MIXED,
        ("GpuSlice", "nvidia.com", "NVIDIA-A100-SXM4-40GB-MIG-3g.20gb", 19.625, 1),
    ),
    "MIG whose profile nobody labelled": (
        "nvidia.com/mig-1g.5gb",
        NVIDIA,
        ("GpuSlice", "nvidia.com", "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", 5, 1),
    ),
    "a MIG slice that is shared": (
        "nvidia.com/mig-3g.20gb.shared",
        MIXED,
        ("GpuShare", "nvidia.com", "NVIDIA-A100-SXM4-40GB-MIG-3g.20gb", 19.625, 1),
    ),
    "an AMD GPU": ("amd.com/gpu", AMD, ("Gpu", "amd.com", "AMD_Instinct_MI300X_OAM", 192, 1)),
    "an AMD GPU with the labeller's older labels": (
        "amd.com/gpu",
        BETA_AMD,
        ("Gpu", "amd.com", "AMD_Instinct_MI300X_OAM", 192, 1),
    ),
    "a partition of an AMD GPU": ("amd.com/cpx_nps4", {}, ("GpuSlice", "amd.com", "", 0, 1)),
    "one of two Intel GPUs": ("gpu.intel.com/xe", INTEL, ("Gpu", "gpu.intel.com", "Max_1100", 48, 1)),
    "Intel's monitoring, which is no GPU": (
        "gpu.intel.com/i915_monitoring",
        INTEL,
        ("Other", "gpu.intel.com", "", 0, 1),
    ),
    "RDMA of the shared device plugin": ("rdma/hca_shared_devices_a", {}, ("Rdma", "rdma", "", 0, 1)),
    "RDMA of AWS": ("vpc.amazonaws.com/efa", {}, ("Rdma", "vpc.amazonaws.com", "", 0, 1)),
    "somebody's accelerator": ("google.com/tpu", {}, ("Other", "google.com", "", 0, 1)),
    "labels of nonsense": (
        "nvidia.com/gpu",
        {"nvidia.com/gpu.memory": "lots", "nvidia.com/gpu.replicas": "²"},
        ("Gpu", "nvidia.com", "", 0, 1),
    ),
}


@pytest.mark.parametrize("what", DEVICES)
def test_a_device_is_what_its_name_and_the_labels_say(what: str) -> None:
    """Vendor, model, memory and sharing, for each vendor's own way of saying it."""
    resource, labels, (kind, vendor, model, gib, replicas) = DEVICES[what]
    (device,) = describe_devices([resource], labels)
    assert (device.kind, device.vendor, device.model) == (kind, vendor, model)
    assert (device.memory_bytes / GIB, device.replicas) == (gib, replicas)


def test_what_kubernetes_itself_counts_is_no_device() -> None:
    """Native resources, huge pages and volumes that can be attached are not told as devices."""
    native = ("cpu", "memory", "pods", "hugepages-2Mi", "attachable-volumes-csi-x", "x.kubernetes.io/y")
    assert describe_devices(native, {}) == ()


def test_devices_are_counted_by_sort_and_free_where_a_node_takes_work() -> None:
    """Pods take from what is free; a tainted node's are free for who tolerates it, a cordoned node's are not."""
    nodes = (
        offering("a", {"nvidia.com/mig-3g.20gb": "4", "rdma/hca": "100"}, MIXED),
        with_spec(offering("b", {"nvidia.com/mig-3g.20gb": "4"}, MIXED), unschedulable=True),
        with_spec(offering("c", {"amd.com/gpu": "8"}, AMD), taints=[{"key": "x", "effect": "NoSchedule"}]),
    )
    taker = pod("a")
    taker["spec"]["containers"][0]["resources"]["limits"] = {"nvidia.com/mig-3g.20gb": "1"}
    devices = build_inventory(facts(*nodes, pods=(taker,))).devices
    assert [(device.resource, device.count, device.free) for device in devices] == [
        ("amd.com/gpu", 8, 8),
        ("nvidia.com/mig-3g.20gb", 8, 3),
        ("rdma/hca", 100, 100),
    ]


def gpu(name: str, **attributes: str) -> Json:
    """A device of a driver as resource.k8s.io/v1 has it."""
    said = {"type": "gpu", "productName": "NVIDIA H100 80GB HBM3", **attributes}
    return {
        "name": name,
        "attributes": {key: {"string": value} for key, value in said.items()} | {"index": {"int": 0}},
        "capacity": {"memory": {"value": "80Gi"}},
    }


def slice_of(node_name: str, *devices: Json, generation: int = 1) -> Json:
    pool = {"name": node_name or "fabric", "generation": generation, "resourceSliceCount": 1}
    where = {"nodeName": node_name} if node_name else {"allNodes": True}
    return {"spec": {"driver": "gpu.nvidia.com", "pool": pool, "devices": list(devices), **where}}


def claim(*names: str, pool: str = "a", **more: Any) -> Json:
    results = [{"driver": "gpu.nvidia.com", "pool": pool, "device": name, "request": "r", **more} for name in names]
    return {"status": {"allocation": {"devices": {"results": results}}}}


def pools(slices: list[Json], claims: list[Json], *nodes: Json) -> tuple[DevicePool, ...]:
    seen = facts(*nodes)
    return device_pools(map(project_slice, slices), map(project_claim, claims), nodes=seen.nodes, form=seen.form)


def test_devices_of_a_driver_are_free_unless_a_claim_has_them() -> None:
    """By sort, with how many nodes have how many free; who only looks on (admin access) takes nothing."""
    slices = [slice_of("a", gpu("gpu-0"), gpu("gpu-1")), slice_of("b", gpu("gpu-0"), gpu("gpu-1"))]
    claims = [claim("gpu-0"), claim("gpu-1", adminAccess=True), {"spec": {}}]
    (pool,) = pools(slices, claims, node("a"), node("b"))
    assert (pool.device.kind, pool.device.model) == ("Gpu", "NVIDIA H100 80GB HBM3")
    assert pool.device.memory_bytes == 80 * GIB
    assert (pool.devices, pool.free, pool.nodes, pool.free_by_node) == (4, 3, 2, {"1": 1, "2": 1})


def test_v1beta1_is_read_as_well() -> None:
    """There a device's attributes stand under `basic`."""
    device = gpu("gpu-0", type="mig", profile="1g.10gb")
    old = {"name": device.pop("name"), "basic": device}
    (pool,) = pools([slice_of("a", old)], [], node("a"))
    assert (pool.device.kind, pool.device.model) == ("GpuSlice", "NVIDIA H100 80GB HBM3-MIG-1g.10gb")


UNUSABLE: dict[str, tuple[list[Json], Json, tuple[int, int]]] = {
    "replaced by a newer generation": (
        [slice_of("a", gpu("gpu-0"), gpu("gpu-1")), slice_of("a", gpu("gpu-0"), generation=2)],
        node("a"),
        (1, 1),
    ),
    "on a node that is cordoned": ([slice_of("a", gpu("gpu-0"))], with_spec(node("a"), unschedulable=True), (1, 0)),
    "on a node that is not ready": (
        [slice_of("a", gpu("gpu-0"))],
        with_condition(node("a"), "Ready", "False"),
        (1, 0),
    ),
    "on a node that is gone": ([slice_of("gone", gpu("gpu-0"))], node("a"), (1, 0)),
    "of no node, for all to use": ([slice_of("", gpu("gpu-0"))], node("a"), (1, 1)),
    "tainted by its driver": (
        [slice_of("a", gpu("gpu-0"), gpu("gpu-1") | {"taints": [{"key": "broken", "effect": "NoSchedule"}]})],
        node("a"),
        (1, 1),
    ),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_devices_that_cannot_be_had_are_not_free(what: str) -> None:
    """Whatever the reason."""
    slices, item, expected = UNUSABLE[what]
    (pool,) = pools(slices, [], item)
    assert (pool.devices, pool.free) == expected


def test_devices_of_both_ways_stand_in_the_summary() -> None:
    """Extended resources and DRA side by side, each saying whence."""
    seen = facts(offering("a", {"nvidia.com/gpu": "2"}, NVIDIA), slices={"s": project_slice(slice_of("a", gpu("g")))})
    told = [(device.source, device.resource, device.count) for device in build_inventory(seen).devices]
    assert told == [("Dra", "gpu.nvidia.com", 1), ("DevicePlugin", "nvidia.com/gpu", 2)]


def test_a_device_class_says_which_extended_resource_it_stands_for() -> None:
    """Where it stands for one (KEP-5004)."""
    named = {"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "example.com/gpu"}}
    found = [project_class(obj) for obj in (named, {"metadata": {"name": "plain"}})]
    assert [(item.name, item.extended_resource) for item in found] == [("gpu", "example.com/gpu"), ("plain", "")]
