"""What the extended resources of a node are (vendor, model, memory, sharing), by their names and its labels. Pure.

Sources: NVIDIA/k8s-device-plugin docs/gpu-feature-discovery, ROCm/k8s-device-plugin cmd/k8s-node-labeller,
intel/intel-device-plugins-for-kubernetes cmd/gpu_plugin and gpu_nfdhook.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from atoll.federation.capacity import GPU_PRODUCT_LABEL, GPU_RESOURCE, parse_bytes
from atoll.federation.errors import InvalidInput
from atoll.federation.resources.inventory import DeviceKind, DeviceModel

GPU_MEMORY_LABEL = "nvidia.com/gpu.memory"  # in MiB
_LABEL_PREFIXES = ("nvidia.com/", "amd.com/", "beta.amd.com/", "gpu.intel.com/")
_MIG_RESOURCE = re.compile(r"nvidia\.com/mig-(?P<profile>\d+g\.(?P<gigabytes>\d+)gb.*?)(?:\.shared)?")
_AMD_PARTITION = re.compile(r"amd\.com/[a-z]+_nps\d+")  # such as cpx_nps4: compute and memory partitioning
# The other resources of gpu.intel.com (monitoring, millicores, tiles) are no devices to compute on.
_INTEL_GPUS = frozenset({"gpu.intel.com/i915", "gpu.intel.com/xe"})
_SHARED = ".shared"
_MIB, _GIB = 2**20, 2**30


def is_device(resource: str) -> bool:
    """Tell an extended resource from those that Kubernetes defines (KEP: names in its own domain are native)."""
    domain, slash, _ = resource.partition("/")
    return bool(slash) and domain != "kubernetes.io" and not domain.endswith(".kubernetes.io")


def describe_devices(resources: Iterable[str], labels: Mapping[str, str]) -> tuple[DeviceModel, ...]:
    """Say what each extended resource of a node is, in the order of their names."""
    telling = frozenset((key, value) for key, value in labels.items() if key.startswith(_LABEL_PREFIXES))
    return _describe(tuple(sorted(filter(is_device, resources))), telling)


@lru_cache(maxsize=1024)
def _describe(resources: tuple[str, ...], telling: frozenset[tuple[str, str]]) -> tuple[DeviceModel, ...]:
    """Describe once what equal nodes have."""
    labels = dict(telling)
    return tuple(_describe_one(resource, labels) for resource in resources)


def _describe_one(resource: str, labels: Mapping[str, str]) -> DeviceModel:
    if resource in (GPU_RESOURCE, GPU_RESOURCE + _SHARED):
        return _nvidia_gpu(resource, labels)
    if match := _MIG_RESOURCE.fullmatch(resource):
        return _mig_slice(resource, match, labels)
    if resource == "amd.com/gpu" or _AMD_PARTITION.fullmatch(resource):
        return _amd_gpu(resource, labels)
    if resource in _INTEL_GPUS:
        return _intel_gpu(resource, labels)
    domain, _, name = resource.partition("/")
    is_rdma = domain == "rdma" or "rdma" in name or resource == "vpc.amazonaws.com/efa"
    return DeviceModel(resource=resource, kind="Rdma" if is_rdma else "Other", vendor=domain)


def _nvidia_gpu(resource: str, labels: Mapping[str, str]) -> DeviceModel:
    """Under MIG's single strategy the resource is slices; under sharing without renaming it is turns on a GPU."""
    product = labels.get(GPU_PRODUCT_LABEL, "")
    replicas = _whole(labels.get("nvidia.com/gpu.replicas", ""))
    is_shared = resource.endswith(_SHARED) or product.endswith("-SHARED") or replicas > 1
    kind: DeviceKind = "GpuShare" if is_shared else "GpuSlice" if "-MIG-" in product else "Gpu"
    return DeviceModel(
        resource=resource,
        kind=kind,
        vendor="nvidia.com",
        model=product,
        memory_bytes=_whole(labels.get(GPU_MEMORY_LABEL, "")) * _MIB,
        replicas=max(1, replicas),
    )


def _mig_slice(resource: str, match: re.Match[str], labels: Mapping[str, str]) -> DeviceModel:
    """Under MIG's mixed strategy each profile is a resource, with labels of its own."""
    prefix = f"nvidia.com/mig-{match['profile']}"
    memory = _whole(labels.get(f"{prefix}.memory", "")) * _MIB or int(match["gigabytes"]) * _GIB
    replicas = max(1, _whole(labels.get(f"{prefix}.replicas", "")))
    is_shared = resource.endswith(_SHARED) or replicas > 1
    return DeviceModel(
        resource=resource,
        kind="GpuShare" if is_shared else "GpuSlice",
        vendor="nvidia.com",
        model=labels.get(f"{prefix}.product") or f"{labels.get(GPU_PRODUCT_LABEL, '')}-MIG-{match['profile']}",
        memory_bytes=memory,
        replicas=replicas,
    )


def _amd_gpu(resource: str, labels: Mapping[str, str]) -> DeviceModel:
    def label(name: str) -> str:
        return labels.get(f"amd.com/gpu.{name}") or labels.get(f"beta.amd.com/gpu.{name}", "")

    return DeviceModel(
        resource=resource,
        kind="Gpu" if resource == "amd.com/gpu" else "GpuSlice",
        vendor="amd.com",
        model=label("product-name") or label("family"),
        memory_bytes=_bytes(label("vram") + "i") if label("vram").endswith(("G", "M")) else 0,  # 64G means 64 GiB
    )


def _intel_gpu(resource: str, labels: Mapping[str, str]) -> DeviceModel:
    """The label memory.max is the sum over the node's GPUs, each of which stands in gpu-numbers."""
    gpus = len(labels.get("gpu.intel.com/gpu-numbers", "0").split("."))
    return DeviceModel(
        resource=resource,
        kind="Gpu",
        vendor="gpu.intel.com",
        model=labels.get("gpu.intel.com/product") or labels.get("gpu.intel.com/family", ""),
        memory_bytes=_whole(labels.get("gpu.intel.com/memory.max", "")) // gpus,
    )


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0


def _bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except InvalidInput:
        return 0
