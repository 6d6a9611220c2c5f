"""One simulated cluster, put together: API server, controllers, kubelet, storage, Cilium agent.

Owns the composition and its order of start and end; the parts know nothing of each other but the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from starlette.applications import Starlette

from atoll.kubeapi.custom_resources import CustomResources
from atoll.kubeapi.gc import GarbageCollector
from atoll.kubeapi.http import create_app
from atoll.kubeapi.http.access import Access
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from atoll.sandbox.access import Accounts, Rbac
from atoll.sandbox.cilium.operator import PolicyChecks
from atoll.sandbox.controllers import runtime
from atoll.sandbox.controllers.capacity import Capacity
from atoll.sandbox.controllers.deployment import DeploymentController
from atoll.sandbox.controllers.job import JobController
from atoll.sandbox.controllers.namespaces import NamespaceController
from atoll.sandbox.controllers.nodes import Heartbeats
from atoll.sandbox.controllers.operator import Operator
from atoll.sandbox.controllers.scheduler import Scheduler
from atoll.sandbox.controllers.stateful import StatefulSetController
from atoll.sandbox.controllers.volumes import VolumeController
from atoll.sandbox.events import Recorder, expire
from atoll.sandbox.kinds.catalog import EXTENSIONS, registry
from atoll.sandbox.kinds.operated import adapters_of, operated
from atoll.sandbox.kubelet.account import Surroundings
from atoll.sandbox.kubelet.kubelet import Kubelet
from atoll.sandbox.kubelet.names import Names
from atoll.sandbox.kubelet.pod import Machinery
from atoll.sandbox.kubelet.process import Launcher
from atoll.sandbox.kubelet.starting import Starter
from atoll.sandbox.kubelet.volumes import Volumes
from atoll.sandbox.podexec import PodExec
from atoll.sandbox.podlog import PodLogs
from atoll.sandbox.podmetrics import PodMetrics
from atoll.sandbox.seeding import seed
from atoll.sandbox.spec import ClusterSpec

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class SimulatedCluster:
    """A running cluster. `app` is its API for everybody on this machine, `secure_app` for who shows an account."""

    spec: ClusterSpec
    store: Store
    kubelet: Kubelet
    capacity: Capacity
    heartbeats: Heartbeats
    starter: Starter
    operated: tuple[ResourceType, ...]
    app: Starlette
    secure_app: Starlette


@contextlib.asynccontextmanager
async def simulated(
    spec: ClusterSpec,
    folder: Path,
    *,
    clock: Clock,
    isolation: str,
    reason: str,
    surroundings: Surroundings = Surroundings(),  # noqa: B008 - a frozen value
) -> AsyncIterator[SimulatedCluster]:
    """Run a cluster while the context is open; its storage stays in `folder` afterwards, its processes do not.

    Args:
        isolation, reason: how containers see their mounts, from probe_isolation().
        surroundings: what pods are given to reach their API server and the world; whose tokens are known is ours.
    """
    served = tuple(operated(adapter) for adapter in adapters_of(spec.kinds))
    store = Store(registry(served), MemoryStorage(), clock=clock, require_namespaces=True)
    launcher, accounts = Launcher(isolation), Accounts()
    pods = folder / "pods"
    shutil.rmtree(pods, ignore_errors=True)  # left behind by a sandbox that was killed
    capacity = Capacity(_made(folder / "storage"), spec.storage.capacity_bytes)
    starter = Starter(store, launcher, clock, surroundings=replace(surroundings, token=accounts.token))
    machinery = Machinery(store, Recorder(store, "kubelet", clock), Volumes(store), starter, clock)
    kubelet = Kubelet(machinery, _made(pods))
    heartbeats = Heartbeats(store, clock, silent=[node.name for node in spec.nodes if node.is_offline])
    names = Names(store, folder / "hosts") if spec.pod_network else None
    starter.shared_mounts = (names.mount,) if names is not None else ()
    await store.start()
    try:
        await seed(store, spec, clock, isolation=f"{isolation}: {reason}" if reason else isolation)
        apps = _apps(spec, store, kubelet, access=Access(accounts, Rbac(store)), clock=clock)
        cluster = SimulatedCluster(spec, store, kubelet, capacity, heartbeats, starter, served, *apps)
        async with _running(cluster, clock, names):
            yield cluster
    finally:
        launcher.close()
        await store.close()
        await asyncio.to_thread(shutil.rmtree, pods, ignore_errors=True)


def _apps(
    spec: ClusterSpec, store: Store, kubelet: Kubelet, *, access: Access, clock: Clock
) -> tuple[Starlette, Starlette]:
    """Make the API for everybody on this machine, and the one for who shows an account."""
    version = {"major": "1", "minor": spec.version.split(".")[1], "gitVersion": spec.version, "platform": "sandbox"}
    metrics = PodMetrics(store, kubelet, clock)
    routes = [PodLogs(store, kubelet).route(), *PodExec(store, kubelet).routes(), *metrics.routes()]
    plain = create_app(store, store.registry, version=version, extra_routes=routes)
    return plain, create_app(store, store.registry, version=version, extra_routes=routes, access=access)


@contextlib.asynccontextmanager
async def _running(cluster: SimulatedCluster, clock: Clock, names: Names | None) -> AsyncIterator[None]:
    store, name = cluster.store, cluster.spec.name
    controllers = (
        NamespaceController(store).controller(),
        VolumeController(store, cluster.capacity, clock).controller(),
        Scheduler(store, clock).controller(),
        JobController(store, clock).controller(),
        DeploymentController(store, clock).controller(),
        StatefulSetController(store).controller(),
        *PolicyChecks(store, clock).controllers(),
    )
    adapters = adapters_of(cluster.spec.kinds)
    operators = [
        Operator(store, rt, adapter, clock).controller() for rt, adapter in zip(cluster.operated, adapters, strict=True)
    ]
    loops = [runtime.run(controller, store) for controller in (*controllers, *operators)]
    loops += [cluster.kubelet.run(), cluster.heartbeats.run(), GarbageCollector(store).run(), expire(store, clock)]
    loops.append(cluster.capacity.report(store, cluster.spec.storage.class_name))
    loops += [names.run()] if names is not None else []
    loops.append(CustomResources(store, stand_ins=(*EXTENSIONS, *cluster.operated)).run())
    async with asyncio.TaskGroup() as group:  # a loop that fails takes the whole cluster down, loudly
        tasks = [group.create_task(loop, name=f"{name}-loop") for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
