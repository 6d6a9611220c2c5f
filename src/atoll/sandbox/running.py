"""A sandbox that runs, as one thing to control: its clusters, its faults, and what it says of itself in files.

Owns keeping `clusters.json` and the settings for the next start in step with the clusters that come and go.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from atoll.federation.errors import Conflict
from atoll.local.home import write_atomically
from atoll.sandbox.cilium.links import Links
from atoll.sandbox.faults.book import FaultBook
from atoll.sandbox.hosting import Host, Site
from atoll.sandbox.settings import SETTINGS_FILE, SandboxSettings
from atoll.sandbox.spec import ClusterSpec
from atoll.sandbox.state import SandboxState, write_state


@dataclass
class Sandbox:
    """A sandbox that runs: its clusters come and go, what it is told at its next start is kept up with them."""

    settings: SandboxSettings
    host: Host
    faults: FaultBook
    links: Links
    admin_socket: Path
    isolation: str

    async def start_cluster(self, spec: ClusterSpec, *, is_meshed: bool) -> Site:
        """Start one more cluster. Raises Conflict, InvalidInput, Unavailable."""
        _check_new(spec, self.settings)
        site = await self.host.start(spec, is_meshed=is_meshed)
        self.settings = with_cluster(self.settings, spec, is_meshed=is_meshed)
        self.write()
        return site

    async def stop_cluster(self, name: str) -> None:
        """End a cluster, and the faults that stand at it. Raises NotFound."""
        await self.host.stop(name)
        await self.faults.forget(name)
        self.settings = without_cluster(self.settings, name)
        self.write()

    def write(self) -> None:
        """Say where everything is, and what to start again if this process dies."""
        home = self.settings.home.absolute()
        states = tuple(site.state for site in self.host.sites.values())
        write_atomically(home / SETTINGS_FILE, self.settings.to_json())
        write_state(home, SandboxState(os.getpid(), str(self.admin_socket), self.isolation, states))


def with_cluster(settings: SandboxSettings, spec: ClusterSpec, *, is_meshed: bool) -> SandboxSettings:
    """Add a cluster to what a sandbox is told at its next start."""
    alone = settings.alone if is_meshed else settings.alone | {spec.name}
    return replace(settings, clusters=(*settings.clusters, spec), alone=alone)


def without_cluster(settings: SandboxSettings, name: str) -> SandboxSettings:
    """Take a cluster out of what a sandbox is told at its next start."""
    clusters = tuple(spec for spec in settings.clusters if spec.name != name)
    return replace(settings, clusters=clusters, alone=settings.alone - {name})


def _check_new(spec: ClusterSpec, settings: SandboxSettings) -> None:
    for other in settings.clusters:
        if other.name == spec.name:
            raise Conflict(f"cluster {spec.name} runs already")
        if other.mesh_id == spec.mesh_id:
            raise Conflict(f"mesh id {spec.mesh_id} is {other.name}'s: take another one")
