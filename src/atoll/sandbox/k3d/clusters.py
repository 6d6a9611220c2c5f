"""The k3d clusters of one home: made when they are missing, started when they were stopped, and stopped.

Owns `<home>/k3d`: what each cluster was made with, how it is reached, and which steps are done, so that a start that
was interrupted goes on where it was. It never deletes a cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import yaml

from atoll.federation.errors import Conflict, InvalidInput
from atoll.local import pki
from atoll.local.home import Home, write_atomically
from atoll.sandbox.k3d import plan, tools
from atoll.sandbox.k3d.plan import Command, Files, K3dCluster

_FOLDER, _STATE = "k3d", "k3d.json"
USUAL_CLUSTERS = 2


class Clusters:
    """The clusters of one home."""

    def __init__(self, home: Home, step: Callable[[str], None]) -> None:
        """Do nothing yet; `step` is told what begins."""
        self._home, self._step = home, step
        self.files = Files(home.folder(_FOLDER))

    async def up(self, count: int) -> tuple[K3dCluster, ...]:
        """Have so many clusters run, with Cilium, as one mesh.

        Raises:
            Unavailable: a program is missing, or failed. Conflict: a cluster of another home has the name of one.
        """
        wanted = plan.clusters_of(count)
        await asyncio.to_thread(tools.check)
        known = await asyncio.to_thread(tools.known_clusters)
        _check_owners(wanted, known, set(recorded(self._home)))
        if f"k3d-{plan.REGISTRY}" not in await asyncio.to_thread(tools.known_registries):
            await self._run(plan.create_registry())
        for cluster in wanted:
            await self._have(cluster, is_known=cluster.k3d_name in known, runs=known.get(cluster.k3d_name, False))
        done = self._done()
        for command in plan.connect(wanted, self.files):
            if command.step not in done:
                await self._run(command)
                self._note(command.step)
        return wanted

    async def _have(self, cluster: K3dCluster, *, is_known: bool, runs: bool) -> None:
        if not is_known:
            self._write(cluster)
            self._forget(cluster)
            self._note(cluster.k3d_name)
            await self._run(plan.create(cluster, self.files))
        elif not runs:
            await self._run(plan.start(cluster))
        kubeconfig = await self._run(plan.ask_kubeconfig(cluster))
        write_atomically(self.files.kubeconfig(cluster), kubeconfig.encode(), mode=0o600)
        install = plan.install_cilium(cluster, self.files)
        if install.step not in self._done():
            await self._run(install)
            self._note(install.step)

    async def _run(self, command: Command) -> str:
        self._step(command.step)
        return await asyncio.to_thread(tools.run, command)

    def _write(self, cluster: K3dCluster) -> None:
        files = pki.Files(self.files.folder / "ca.crt", self.files.folder / "ca.key")
        ca = pki.ensure_ca(files, datetime.now(UTC))
        write_atomically(self.files.config(cluster), yaml.safe_dump(plan.config(cluster), sort_keys=False).encode())
        values = yaml.safe_dump(plan.values(cluster, ca), sort_keys=False)
        write_atomically(self.files.values(cluster), values.encode(), mode=0o600)

    def _done(self) -> tuple[str, ...]:
        return recorded(self._home)

    def _note(self, step: str) -> None:
        write_atomically(self._home.root / _STATE, orjson.dumps([*self._done(), step]))

    def _forget(self, cluster: K3dCluster) -> None:
        """Take out the steps of a cluster that is gone: its successor has none of them behind it."""
        kept = [step for step in self._done() if cluster.name not in step.split() and step != cluster.k3d_name]
        write_atomically(self._home.root / _STATE, orjson.dumps(kept))


def recorded(home: Home) -> tuple[str, ...]:
    """Give the names of the clusters that were made for a home, and the steps that are done; nothing if it has none."""
    try:
        found: list[str] = orjson.loads((home.root / _STATE).read_bytes())
    except FileNotFoundError:
        return ()
    return tuple(found)


def is_home_of_k3d(home: Home) -> bool:
    """Tell whether a home has real clusters."""
    return (home.root / _STATE).exists()


def clusters_in(home: Home) -> tuple[K3dCluster, ...]:
    """Give the clusters that were made for a home."""
    names = set(recorded(home))
    return tuple(each for each in plan.clusters_of(plan.MOST_CLUSTERS) if each.k3d_name in names)


def choose_provider(home: Home, asked: str | None, *, is_simulated: bool) -> str:
    """Give the provider of a home: the one that was asked for, or that it had.

    Raises:
        InvalidInput: it had another one: its clusters would be lost.
    """
    had = "k3d" if is_home_of_k3d(home) else "simulated" if is_simulated else None
    if asked is not None and had is not None and asked != had:
        raise InvalidInput(f"--provider {asked}: the clusters in {home.root} are of {had}: choose another --home")
    return asked or had or "simulated"


def stop_all(home: Home) -> tuple[K3dCluster, ...]:
    """Stop the clusters of a home; give those that were made for it. Raises Unavailable."""
    found = clusters_in(home)
    known = tools.known_clusters() if found else {}
    if running := [each for each in found if known.get(each.k3d_name)]:
        tools.run(plan.stop(running))
    return found


def server_of(kubeconfig: Path) -> str:
    """Give where the API of a kubeconfig's one cluster is."""
    content: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    return str(content["clusters"][0]["cluster"]["server"])


def _check_owners(wanted: tuple[K3dCluster, ...], known: dict[str, bool], own: set[str]) -> None:
    strangers = [each.k3d_name for each in wanted if each.k3d_name in known and each.k3d_name not in own]
    if strangers:
        names = " ".join(strangers)
        raise Conflict(
            f"k3d has {names} already, and they are of another home: name that with --home, or remove them with "
            f"'k3d cluster delete {names}'"
        )
