"""From a container's spec to its process: configuration, GPUs, mounts, the command.

Owns the order of these steps; must not decide about restarts or the pod's status.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from atoll.kubeapi.errors import NotFound
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import CONFIG_MAP, SECRET
from atoll.sandbox.kubelet.account import Surroundings
from atoll.sandbox.kubelet.devices import visible
from atoll.sandbox.kubelet.environment import (
    ConfigurationError,
    Sources,
    command,
    environment,
    expand,
    plain,
    references,
)
from atoll.sandbox.kubelet.logs import ContainerLog
from atoll.sandbox.kubelet.paths import Mount
from atoll.sandbox.kubelet.process import Launch, Launcher, Process
from atoll.sandbox.kubelet.volumes import mounts_of


class CannotStart(Exception):
    """The container's command cannot be run, now or later: it counts as ended with exit code 128."""


@dataclass(frozen=True)
class Place:
    """What a pod has on this machine: its folder, the folders of its volumes, and each container's GPUs."""

    folder: Path
    volumes: Mapping[str, tuple[Path, bool]]
    devices: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Started:
    """A container that runs."""

    process: Process
    log: ContainerLog
    launch: Launch
    """How it was started, which is how commands beside it are."""


class Starter:
    """Starts containers of one cluster's pods."""

    def __init__(
        self,
        store: Store,
        launcher: Launcher,
        clock: Callable[[], datetime],
        *,
        surroundings: Surroundings = Surroundings(),  # noqa: B008 - a frozen value
    ) -> None:
        """Read ConfigMaps and Secrets from `store`, start processes by `launcher`."""
        self._store = store
        self.launcher = launcher
        self._clock = clock
        self._surroundings = surroundings
        self.why_held: Callable[[Object], str] = lambda _pod: ""
        """Says why containers of a pod may not start now, empty if they may: the place of a fault on purpose."""
        self.shared_mounts: tuple[Mount, ...] = ()
        """What every container of the cluster has."""

    async def start(self, pod: Object, container: Mapping[str, Any], place: Place, *, restarts: int) -> Started:
        """Start one container. Raises ConfigurationError (retry), MountRefused or CannotStart (give up)."""
        if held := self.why_held(pod):
            raise ConfigurationError(held)
        sources = await self._sources(pod, container)
        base = {"HOSTNAME": pod["metadata"]["name"], **self._surroundings.environment()}
        env = environment(container, pod, sources, base=base)
        env.update(visible(place.devices.get(container["name"], ())))
        mounts = (
            *mounts_of(container, place.volumes, env),
            *self._surroundings.account_mount(pod, place.folder),
            *self.shared_mounts,
        )
        argv = command(container, env)
        folder = place.folder / container["name"]
        folder.mkdir(parents=True, exist_ok=True)
        log_path(place.folder, container["name"], restarts - 2).unlink(missing_ok=True)  # the newest two are kept
        launch = Launch(argv, env, folder, expand(container.get("workingDir", ""), env), mounts)
        check_program(launch, self.launcher.search_path, container["name"])
        log = ContainerLog(log_path(place.folder, container["name"], restarts), self._clock)
        try:
            return Started(await self.launcher.start(launch, log), log, launch)
        except OSError as error:
            log.close()
            raise CannotStart(f"the launcher cannot be started: {error}") from error

    async def _sources(self, pod: Object, container: Mapping[str, Any]) -> Sources:
        found: dict[str, dict[str, dict[str, str]]] = {"configMap": {}, "secret": {}}
        for kind, name in set(references(container)):
            rt = CONFIG_MAP if kind == "configMap" else SECRET
            try:
                obj = await self._store.get(rt, pod["metadata"]["namespace"], name)
            except NotFound:
                continue  # whether it may be missing stands at each reference
            found[kind][name] = {key: value.decode(errors="replace") for key, value in plain(obj).items()}
        return Sources(found["configMap"], found["secret"])


def check_program(launch: Launch, search_path: str, container: str) -> None:
    """Say early and clearly what a runtime says about a program that is not there. Raises CannotStart."""
    program, mounts = launch.argv[0], launch.mounts
    if "/" not in program:
        search = launch.env.get("PATH", search_path)
        if shutil.which(program, path=search) is None and not _is_mounted(search, mounts):
            raise CannotStart(f'exec: "{program}": executable file not found in $PATH')
    elif program.startswith("/") and not _is_mounted(program, mounts) and not os.access(program, os.X_OK):
        why = "permission denied" if Path(program).exists() else "no such file or directory"
        raise CannotStart(f'exec: "{program}": {why} (container {container!r})')


def _is_mounted(paths: str, mounts: Sequence[Mount]) -> bool:
    return any(
        path == mount.target or path.startswith(f"{mount.target}/") for path in paths.split(":") for mount in mounts
    )


def log_path(folder: Path, container: str, restarts: int) -> Path:
    """Return where the log of one run of a container is."""
    return folder / container / f"{restarts}.log"
