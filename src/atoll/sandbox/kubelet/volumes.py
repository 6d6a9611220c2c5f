"""A pod's volumes as folders on this machine.

Owns emptyDir, configMap and secret folders under the pod's folder, and finding a claim's folder through its volume;
must not provision (the volume controller does) or mount (the launcher does).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atoll.kubeapi.errors import NotFound
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import CLAIM, CONFIG_MAP, SECRET, VOLUME
from atoll.sandbox.kubelet.environment import ConfigurationError, expand, plain
from atoll.sandbox.kubelet.paths import Mount, MountRefused, checked_target, within

FOLDER_ATTRIBUTE = "folder"
"""Key of a PersistentVolume's csi.volumeAttributes that holds its folder on this machine."""

_SUPPORTED = "persistentVolumeClaim, emptyDir, configMap and secret"


class NotYet(Exception):
    """A volume cannot be had now and may be later."""


class Volumes:
    """Makes the folders of one cluster's pods."""

    def __init__(self, store: Store) -> None:
        """Read claims, volumes, config maps and secrets from `store`."""
        self._store = store

    async def prepare(self, pod: Object, folder: Path) -> dict[str, tuple[Path, bool]]:
        """Return the folder of each volume of a pod, and whether it is read-only for all its containers.

        Raises NotYet if a volume may come later, MountRefused if it never will.
        """
        prepared = {}
        for volume in pod["spec"].get("volumes", ()):
            place = folder / "volumes" / volume["name"]
            prepared[volume["name"]] = await self._one(volume, pod["metadata"]["namespace"], place)
        return prepared

    async def refresh(self, pod: Object, folder: Path) -> None:
        """Bring what config maps and secrets hold by now into the folders that are there; what is gone stays."""
        for volume in pod["spec"].get("volumes", ()):
            place = folder / "volumes" / volume["name"]
            if is_projected(volume) and place.is_dir():
                with contextlib.suppress(NotYet):
                    await self._write_keys(volume, pod["metadata"]["namespace"], place)

    async def _one(self, volume: Mapping[str, Any], namespace: str, place: Path) -> tuple[Path, bool]:
        if "persistentVolumeClaim" in volume:
            source = volume["persistentVolumeClaim"]
            return await self._claimed(namespace, source["claimName"]), bool(source.get("readOnly"))
        if is_projected(volume):
            await self._write_keys(volume, namespace, place)
            return place, True
        kinds = [name for name in volume if name != "name"]
        if kinds not in ([], ["emptyDir"]):
            raise MountRefused(f"volume {volume['name']!r} is a {kinds[0]}: the sandbox has only {_SUPPORTED}")
        place.mkdir(parents=True, exist_ok=True)
        return place, False

    async def _claimed(self, namespace: str, name: str) -> Path:
        try:
            claim = await self._store.get(CLAIM, namespace, name)
            volume_name = claim["spec"].get("volumeName")
            if not volume_name or claim["status"]["phase"] != "Bound":
                raise NotYet(f'persistentvolumeclaim "{name}" is not bound yet')
            volume = await self._store.get(VOLUME, None, volume_name)
        except NotFound as error:
            raise NotYet(error.message) from None
        folder = (volume["spec"].get("csi") or {}).get("volumeAttributes", {}).get(FOLDER_ATTRIBUTE)
        if folder is None:
            raise MountRefused(f'persistentvolume "{volume_name}" was not made by the sandbox: it has no folder')
        return Path(folder)

    async def _write_keys(self, volume: Mapping[str, Any], namespace: str, place: Path) -> None:
        is_config_map = "configMap" in volume
        rt, source = (CONFIG_MAP, volume["configMap"]) if is_config_map else (SECRET, volume["secret"])
        name = str(source.get("name" if is_config_map else "secretName", ""))
        place.mkdir(parents=True, exist_ok=True)
        try:
            values = plain(await self._store.get(rt, namespace, name))
        except NotFound as error:
            if source.get("optional"):
                return
            raise NotYet(error.message) from None
        for key, path, mode in _files(source, values):
            if key not in values:
                raise NotYet(f'{rt.singular} "{name}" references non-existent config key: {key}')
            target = within(place, str(Path(path).parent)) / Path(path).name
            _replace(target, values[key], mode)


def is_projected(volume: Mapping[str, Any]) -> bool:
    """Tell whether a volume holds keys of an object, which may change while the pod runs."""
    return "configMap" in volume or "secret" in volume


def _replace(target: Path, content: bytes, mode: int) -> None:
    """Write a file whole, since who runs may be reading it; one that is right already stays."""
    if target.exists() and target.read_bytes() == content:
        return
    part = target.with_name(f"..{target.name}.part")
    part.write_bytes(content)
    part.chmod(mode)
    part.replace(target)


def _files(source: Mapping[str, Any], values: Mapping[str, bytes]) -> list[tuple[str, str, int]]:
    mode = source.get("defaultMode", 0o644)
    if source.get("items"):
        return [(item["key"], item["path"], item.get("mode", mode)) for item in source["items"]]
    return [(key, key, mode) for key in values]


def mounts_of(
    container: Mapping[str, Any], volumes: Mapping[str, tuple[Path, bool]], env: Mapping[str, str]
) -> Sequence[Mount]:
    """Return a container's mounts. Raises MountRefused."""
    mounts = []
    for mount in container.get("volumeMounts", ()):
        if mount["name"] not in volumes:
            raise MountRefused(f"volumeMount {mount['name']!r} of {container['name']!r} names no volume of the pod")
        folder, is_read_only = volumes[mount["name"]]
        sub_path = mount.get("subPath") or expand(mount.get("subPathExpr", ""), env)
        if not folder.exists():
            raise ConfigurationError(f"the folder of volume {mount['name']!r} is gone")
        place = _place(folder, sub_path)
        target = checked_target(mount["mountPath"])
        mounts.append(Mount(place, target, is_read_only or bool(mount.get("readOnly"))))
    return mounts


def _place(folder: Path, sub_path: str) -> Path:
    try:
        return within(folder, sub_path) if sub_path else folder
    except OSError as error:
        raise MountRefused(f'subPath "{sub_path}" cannot be made: {error.strerror}') from error
