"""The volume controller: provisions folders for claims, binds them, makes them larger, and deletes them.

Owns PersistentVolumes of the provisioner `dir.sandbox.atoll.dev`; a folder is `<storage root>/<namespace>/<claim>`, so
that people find their data, and a restarted sandbox finds it again. Must not touch volumes of other provisioners.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from pathlib import Path

from atoll.federation.capacity import parse_quantity
from atoll.kubeapi.errors import AlreadyExists, NotFound
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.controllers.capacity import Capacity
from atoll.sandbox.controllers.runtime import Controller, Source, own_key, split
from atoll.sandbox.events import Recorder, Said
from atoll.sandbox.kinds.catalog import CLAIM, POD, STORAGE_CLASS, VOLUME
from atoll.sandbox.kinds.storage import CLAIM_PROTECTION, DEFAULT_CLASS
from atoll.sandbox.kubelet.volumes import FOLDER_ATTRIBUTE

PROVISIONER = "dir.sandbox.atoll.dev"
_RETRY_SECONDS = 5.0
"""How often a claim that does not fit is tried again: space comes back without an event."""


class VolumeController:
    """The claims and volumes of one cluster."""

    def __init__(self, store: Store, capacity: Capacity, clock: Callable[[], datetime]) -> None:
        """Make folders under the root of `capacity`."""
        self._store = store
        self._capacity = capacity
        self._events = Recorder(store, PROVISIONER, clock)

    def controller(self) -> Controller:
        """Return what to run. A claim's key is `namespace/name`; a volume and a pod concern the claims they name."""
        sources = (Source(CLAIM, own_key), Source(VOLUME, _claim_of_volume), Source(POD, _claims_of_pod))
        return Controller("volume", sources, self._reconcile)

    async def _reconcile(self, key: str) -> float | None:
        namespace, name = split(key)
        try:
            claim = await self._store.get(CLAIM, namespace, name)
        except NotFound:
            await self._reclaim(namespace, name)
            return None
        if "deletionTimestamp" in claim["metadata"]:
            await self._release(claim)
        elif claim["status"]["phase"] != "Bound":
            return await self._provision(claim)
        elif _wanted(claim) > _granted(claim):
            return await self._expand(claim)
        return None

    async def _provision(self, claim: Object) -> float | None:
        classes = {each["metadata"]["name"]: each for each in (await self._store.list(STORAGE_CLASS)).items}
        name = claim["spec"].get("storageClassName") or _default_class(classes)
        storage_class = classes.get(name)
        if storage_class is None:
            known = ", ".join(sorted(classes))
            await self._warn(claim, f'storageclass "{name}" not found: the cluster has {known}')
            return _RETRY_SECONDS
        if storage_class["provisioner"] != PROVISIONER:
            return None
        wanted = parse_quantity(claim["spec"]["resources"]["requests"]["storage"])
        free = await asyncio.to_thread(self._capacity.free_bytes)
        if wanted > free:
            await self._warn(claim, f"not enough space: {int(wanted)} bytes requested, {free} free")
            return _RETRY_SECONDS
        volume = self._volume(claim, storage_class)
        folder = Path(volume["spec"]["csi"]["volumeAttributes"][FOLDER_ATTRIBUTE])
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(AlreadyExists):
            await self._store.create(VOLUME, volume)
        await self._bind(claim, volume)
        return None

    def _volume(self, claim: Object, storage_class: Object) -> Object:
        metadata = claim["metadata"]
        folder = self._capacity.root / metadata["namespace"] / metadata["name"]
        reference = {key: metadata[key] for key in ("namespace", "name", "uid")}
        return {
            "metadata": {
                "name": f"pvc-{metadata['uid']}",
                "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
            },
            "spec": {
                "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
                "accessModes": claim["spec"]["accessModes"],
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **reference},
                "persistentVolumeReclaimPolicy": storage_class["reclaimPolicy"],
                "storageClassName": storage_class["metadata"]["name"],
                "volumeMode": "Filesystem",
                "csi": {
                    "driver": PROVISIONER,
                    "volumeHandle": metadata["uid"],
                    "volumeAttributes": {FOLDER_ATTRIBUTE: str(folder)},
                },
            },
        }

    async def _bind(self, claim: Object, volume: Object) -> None:
        metadata, spec = claim["metadata"], volume["spec"]
        await self._set_phase(volume["metadata"]["name"], "Bound")
        bound = {"volumeName": volume["metadata"]["name"], "storageClassName": spec["storageClassName"]}
        body = {"metadata": {"uid": metadata["uid"]}, "spec": bound}
        await self._store.patch(CLAIM, metadata["namespace"], metadata["name"], Patch("merge", body))
        status = {"phase": "Bound", "capacity": spec["capacity"], "accessModes": spec["accessModes"]}
        patch = Patch("merge", {"metadata": {"uid": metadata["uid"]}, "status": status})
        await self._store.patch(CLAIM, metadata["namespace"], metadata["name"], patch, subresource="status")
        said = f"Successfully provisioned volume {volume['metadata']['name']}"
        await self._events.say(claim, Said("ProvisioningSucceeded", said))

    async def _expand(self, claim: Object) -> float | None:
        """Make a bound volume larger if its class allows it and there is room (external-resizer's words)."""
        classes = {each["metadata"]["name"]: each for each in (await self._store.list(STORAGE_CLASS)).items}
        name = claim["spec"].get("storageClassName") or ""
        if not classes.get(name, {}).get("allowVolumeExpansion"):
            await self._warn_resize(claim, f'storageclass "{name}" does not allow volumes to be expanded')
            return None
        added = _wanted(claim) - _granted(claim)
        free = await asyncio.to_thread(self._capacity.free_bytes)
        if added > free:
            await self._warn_resize(claim, f"not enough space: {int(added)} more bytes requested, {free} free")
            return _RETRY_SECONDS
        metadata, size = claim["metadata"], claim["spec"]["resources"]["requests"]["storage"]
        larger = Patch("merge", {"spec": {"capacity": {"storage": size}}})
        await self._store.patch(VOLUME, None, claim["spec"]["volumeName"], larger)
        status = Patch("merge", {"metadata": {"uid": metadata["uid"]}, "status": {"capacity": {"storage": size}}})
        await self._store.patch(CLAIM, metadata["namespace"], metadata["name"], status, subresource="status")
        await self._events.say(claim, Said("FileSystemResizeSuccessful", f"MountVolume.NodeExpandVolume to {size}"))
        return None

    async def _warn_resize(self, claim: Object, message: str) -> None:
        await self._events.say(claim, Said("VolumeResizeFailed", message, "Warning"))

    async def _release(self, claim: Object) -> None:
        """Let a deleted claim go once no pod uses it."""
        metadata = claim["metadata"]
        pods = (await self._store.list(POD, metadata["namespace"])).items
        key = f"{metadata['namespace']}/{metadata['name']}"
        if any(key in _claims_of_pod(pod) for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")):
            return
        kept = [finalizer for finalizer in metadata.get("finalizers", ()) if finalizer != CLAIM_PROTECTION]
        if len(kept) < len(metadata.get("finalizers", ())):
            body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": kept or None}}
            await self._store.patch(CLAIM, metadata["namespace"], metadata["name"], Patch("merge", body))

    async def _reclaim(self, namespace: str, name: str) -> None:
        """Delete the volumes, with their folders, of a claim that is gone; those of policy Retain stay, Released."""
        for volume in (await self._store.list(VOLUME)).items:
            spec = volume["spec"]
            if (
                f"{namespace}/{name}" not in _claim_of_volume(volume)
                or spec.get("csi", {}).get("driver") != PROVISIONER
            ):
                continue
            if spec.get("persistentVolumeReclaimPolicy") == "Delete":
                await asyncio.to_thread(_remove, Path(spec["csi"]["volumeAttributes"][FOLDER_ATTRIBUTE]))
                await self._store.delete(VOLUME, None, volume["metadata"]["name"])
            elif volume["status"]["phase"] != "Released":
                await self._set_phase(volume["metadata"]["name"], "Released")

    async def _set_phase(self, volume: str, phase: str) -> None:
        await self._store.patch(
            VOLUME, None, volume, Patch("merge", {"status": {"phase": phase}}), subresource="status"
        )

    async def _warn(self, claim: Object, message: str) -> None:
        await self._events.say(claim, Said("ProvisioningFailed", message, "Warning"))


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # other claims of the namespace have folders beside it
        folder.parent.rmdir()


def _wanted(claim: Object) -> Fraction:
    return parse_quantity(claim["spec"]["resources"]["requests"]["storage"])


def _granted(claim: Object) -> Fraction:
    return parse_quantity(claim["status"].get("capacity", {}).get("storage", 0))


def _default_class(classes: dict[str, Object]) -> str:
    for name, each in classes.items():
        if (each["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true":
            return name
    return ""


def _claim_of_volume(volume: Object) -> tuple[str, ...]:
    claim = volume["spec"].get("claimRef")
    return (f"{claim['namespace']}/{claim['name']}",) if claim else ()


def _claims_of_pod(pod: Object) -> tuple[str, ...]:
    names = [(volume.get("persistentVolumeClaim") or {}).get("claimName") for volume in pod["spec"].get("volumes", ())]
    return tuple(f"{pod['metadata']['namespace']}/{name}" for name in names if name)
