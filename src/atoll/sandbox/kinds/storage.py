"""Volumes: PersistentVolumeClaim, PersistentVolume, StorageClass, CSIDriver, CSIStorageCapacity.

Owns their schemas, defaults and columns; binding and provisioning are the volume controller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from atoll.federation.capacity import parse_quantity
from atoll.kubeapi.errors import Cause
from atoll.kubeapi.resource import Column, Object
from atoll.sandbox.kinds.native import Names, native
from atoll.sandbox.kinds.shape import (
    ANY,
    BOOLEAN,
    CONDITIONS,
    INTEGER,
    LABELS,
    OBJECT_REFERENCE,
    QUANTITY,
    RESOURCES,
    SELECTOR,
    STRING,
    STRINGS,
    array,
    struct,
)

CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"

_SHORT_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _modes(obj: Mapping[str, Any], _: datetime) -> str:
    modes = obj.get("spec", {}).get("accessModes", ())
    return ",".join(_SHORT_MODES.get(mode, mode) for mode in modes)


def _default_claim(obj: Object) -> None:
    obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    obj.setdefault("status", {}).setdefault("phase", "Pending")
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata and CLAIM_PROTECTION not in metadata.setdefault("finalizers", []):
        metadata["finalizers"].append(CLAIM_PROTECTION)


def _claim_rule(new: Object, old: Object | None) -> Iterable[Cause]:
    spec = new["spec"]
    if not spec.get("accessModes"):
        yield Cause("spec.accessModes", "Required value: at least 1 access mode is required", "FieldValueRequired")
    for index, mode in enumerate(spec.get("accessModes", ())):
        if mode not in _SHORT_MODES:
            yield Cause(f"spec.accessModes[{index}]", f'Unsupported value: "{mode}"', "FieldValueNotSupported")
    if "storage" not in spec.get("resources", {}).get("requests", {}):
        yield Cause("spec.resources[storage]", "Required value", "FieldValueRequired")
    if old is not None:
        yield from _shrunk(spec, old)
        for name in ("accessModes", "storageClassName", "volumeName"):
            before = old.get("spec", {}).get(name)
            if before is not None and spec.get(name) != before:
                yield Cause(f"spec.{name}", "Forbidden: is immutable after creation", "FieldValueForbidden")


def _shrunk(spec: Object, old: Object) -> Iterable[Cause]:
    """A bound volume does not shrink (kube-apiserver, ValidatePersistentVolumeClaimUpdate)."""
    wanted = spec.get("resources", {}).get("requests", {}).get("storage")
    granted = old.get("status", {}).get("capacity", {}).get("storage")
    if wanted is not None and granted is not None and parse_quantity(wanted) < parse_quantity(granted):
        message = "Forbidden: field can not be less than status.capacity"
        yield Cause("spec.resources.requests.storage", message, "FieldValueForbidden")


CLAIM = native(
    Names("v1", "PersistentVolumeClaim", "persistentvolumeclaims", short=("pvc",)),
    {
        "spec": struct(
            {
                "accessModes": STRINGS,
                "resources": struct({"requests": RESOURCES, "limits": RESOURCES}),
                "storageClassName": STRING,
                "selector": SELECTOR,
                "volumeName": STRING,
                "volumeMode": STRING,
                "volumeAttributesClassName": STRING,
                "dataSource": ANY,
                "dataSourceRef": ANY,
            }
        ),
        "status": struct({"phase": STRING, "accessModes": STRINGS, "capacity": RESOURCES, "conditions": CONDITIONS}),
    },
    default=_default_claim,
    rule=_claim_rule,
    columns=(
        Column("Status", "string", ".status.phase"),
        Column("Volume", "string", ".spec.volumeName"),
        Column("Capacity", "string", ".status.capacity.storage"),
        Column("Access Modes", "string", value=_modes),
        Column("StorageClass", "string", ".spec.storageClassName"),
    ),
)


def _claim_of(volume: Mapping[str, Any], _: datetime) -> str:
    claim = volume.get("spec", {}).get("claimRef", {})
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


VOLUME = native(
    Names("v1", "PersistentVolume", "persistentvolumes", short=("pv",)),
    {
        "spec": struct(
            {
                "accessModes": STRINGS,
                "capacity": RESOURCES,
                "claimRef": OBJECT_REFERENCE,
                "csi": ANY,
                "hostPath": ANY,
                "local": ANY,
                "nfs": ANY,
                "nodeAffinity": ANY,
                "mountOptions": STRINGS,
                "persistentVolumeReclaimPolicy": STRING,
                "storageClassName": STRING,
                "volumeMode": STRING,
            }
        ),
        "status": struct({"phase": STRING, "reason": STRING, "message": STRING, "lastPhaseTransitionTime": STRING}),
    },
    namespaced=False,
    columns=(
        Column("Capacity", "string", ".spec.capacity.storage"),
        Column("Access Modes", "string", value=_modes),
        Column("Reclaim Policy", "string", ".spec.persistentVolumeReclaimPolicy"),
        Column("Status", "string", ".status.phase"),
        Column("Claim", "string", value=_claim_of),
        Column("StorageClass", "string", ".spec.storageClassName"),
    ),
)


def _default_class(obj: Object) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


STORAGE_CLASS = native(
    Names("storage.k8s.io/v1", "StorageClass", "storageclasses", short=("sc",)),
    {
        "provisioner": STRING,
        "parameters": LABELS,
        "reclaimPolicy": STRING,
        "volumeBindingMode": STRING,
        "allowVolumeExpansion": BOOLEAN,
        "mountOptions": STRINGS,
        "allowedTopologies": array(ANY),
    },
    namespaced=False,
    default=_default_class,
    columns=(
        Column("Provisioner", "string", ".provisioner"),
        Column("ReclaimPolicy", "string", ".reclaimPolicy"),
        Column("VolumeBindingMode", "string", ".volumeBindingMode"),
    ),
)

CSI_DRIVER = native(
    Names("storage.k8s.io/v1", "CSIDriver", "csidrivers"),
    {
        "spec": struct(
            {
                "attachRequired": BOOLEAN,
                "fsGroupPolicy": STRING,
                "podInfoOnMount": BOOLEAN,
                "requiresRepublish": BOOLEAN,
                "seLinuxMount": BOOLEAN,
                "storageCapacity": BOOLEAN,
                "tokenRequests": array(ANY),
                "volumeLifecycleModes": STRINGS,
                "nodeAllocatableUpdatePeriodSeconds": INTEGER,
            }
        )
    },
    namespaced=False,
    columns=(Column("StorageCapacity", "boolean", ".spec.storageCapacity"),),
)

CSI_CAPACITY = native(
    Names("storage.k8s.io/v1", "CSIStorageCapacity", "csistoragecapacities"),
    {
        "storageClassName": STRING,
        "capacity": QUANTITY,
        "maximumVolumeSize": QUANTITY,
        "nodeTopology": SELECTOR,
    },
    columns=(Column("StorageClass", "string", ".storageClassName"), Column("Capacity", "string", ".capacity")),
)
