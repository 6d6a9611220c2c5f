"""How soon a change by hand is put back with a live watch: from the moment it is sent until a watch shows it undone.

    python -m benchmarks.policy.drift [--policies 1000] [--changes 300] [-o json]

A simulated cluster serves its API in a process of its own; the agent's policy part holds the policies over HTTP, as the
real agent does, and a second client changes and deletes them at random, ten a second. Times are of this machine's wall
clock, CPU seconds those of agent and hand. What stands beside: one look by a controller without a watch, which would
have to list and compare all objects, and on average finds a change half an interval late.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
import yaml
from benchmarks.policy.engine import policies

from atoll.edge.member.desired import POLICYSETS, Orders
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import Kind, Object, ObjectRef
from atoll.edge.member.policies import WHOLE_SET_SECONDS, PolicyController
from atoll.edge.member.policy_objects import PolicyObjects
from atoll.edge.member.policy_pass import heal_key
from atoll.edge.member.records import DriftsRecord, PolicyRecord, Records
from atoll.edge.member.shelf import Shelf
from atoll.edge.member.work import Worker
from atoll.federation.bus.messages import Message, PolicyOrder, PolicyReport
from atoll.policies.drift import find_drift
from atoll.policies.manifest import Manifest
from atoll.policies.stamp import POLICYSET_LABEL, stamp
from atoll.sandbox.cluster import simulated
from atoll.sandbox.serving import listen, serving
from atoll.sandbox.spec import ONPREM_GPU

_SET, _PER_SECOND, _WAIT_SECONDS = "base", 10.0, 60.0


async def serve(folder: Path) -> None:
    """Be the API server until standard input ends; say on which port."""
    clock = lambda: datetime.now(UTC)  # noqa: E731
    async with simulated(ONPREM_GPU, folder, clock=clock, isolation="rewrite", reason="a benchmark") as cluster:
        listener = listen(0)
        async with serving(cluster.app, listener):
            print(listener.getsockname()[1], flush=True)
            await asyncio.to_thread(sys.stdin.read)


@contextlib.asynccontextmanager
async def api_server(folder: Path) -> AsyncIterator[Path]:
    """Run an API server for the time of a block; give a kubeconfig."""
    command = [sys.executable, "-m", "benchmarks.policy.drift", "--serve", str(folder / "cluster")]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdout is not None and process.stdin is not None
    port = int(await process.stdout.readline())
    path = folder / "kubeconfig"
    cluster, user = {"server": f"http://127.0.0.1:{port}"}, {"cluster": "c", "user": "u"}
    content = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": user}],
    }
    path.write_text(yaml.safe_dump(content))
    try:
        yield path
    finally:
        process.stdin.close()
        await process.wait()


@dataclass
class Told:
    """What the agent reports of the set."""

    newest: PolicyReport | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def report(self, _key: str, message: Message) -> None:
        """Take a report."""
        if isinstance(message, PolicyReport):
            self.newest = message
            self.news.set()

    def forget(self, _key: str) -> None:
        """Nothing is withdrawn here."""

    async def until_held(self, count: int) -> None:
        """Wait until so many objects are held."""
        async with asyncio.timeout(_WAIT_SECONDS * 10):
            while self.newest is None or self.newest.objects < count:
                self.news.clear()
                await self.news.wait()


class Watcher:
    """Sees, by a watch of its own, when objects are as they were ordered again."""

    def __init__(self, kube: Kube, wanted: dict[ObjectRef, Manifest]) -> None:
        self._kube, self._wanted = kube, wanted
        self._waiting: dict[ObjectRef, tuple[float, asyncio.Event]] = {}
        self.seconds: list[float] = []

    async def follow(self, kind: Kind) -> None:
        """Follow a kind for ever."""
        listing = await self._kube.list(kind, project=ObjectRef.of)
        position = listing.resource_version
        while True:
            async for event in self._kube.watch(kind, resource_version=position):
                position = str(event.object["metadata"].get("resourceVersion", position))
                if event.type in ("ADDED", "MODIFIED"):
                    self._see(ObjectRef.of(event.object), event.object)

    def _see(self, ref: ObjectRef, obj: Object) -> None:
        since, event = self._waiting.get(ref, (0.0, None))
        if event is not None and not event.is_set() and find_drift(self._wanted[ref], obj) is None:
            self.seconds.append(time.monotonic() - since)
            event.set()

    async def change(self, ref: ObjectRef, *, is_deleted: bool) -> None:
        """Change an object by hand and wait until it is put back."""
        event = asyncio.Event()
        found = await self._kube.get(ref)
        assert found is not None
        if is_deleted:
            self._waiting[ref] = (time.monotonic(), event)
            await self._kube.delete(ref)
        else:
            spec = found["spec"] | {name: [] for name in ("ingress", "egress") if name in found["spec"]}
            self._waiting[ref] = (time.monotonic(), event)
            await self._kube.replace(
                found | {"spec": spec | {"description": "by hand"} if "endpointSelector" in spec else spec}
            )
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await event.wait()
        finally:
            del self._waiting[ref]


async def measure(count: int, changes: int) -> dict[str, Any]:
    """Hold, change, and time."""
    chooser, told = random.Random(1), Told()
    manifests = stamp(policies(count, chooser), _SET, "c" * 40)
    with tempfile.TemporaryDirectory(prefix="atoll-drift-") as name:
        folder = Path(name)
        async with api_server(folder) as kubeconfig, asyncio.TaskGroup() as group:
            kube, hand = await Kube.connect(kubeconfig, None), await Kube.connect(kubeconfig, None)
            orders = ordered(folder, manifests)
            objects = PolicyObjects(kube)
            controller = PolicyController(
                objects,
                orders,
                records=Records(Shelf(folder / "policysets"), PolicyRecord),
                drifts=Records(Shelf(folder / "drifts"), DriftsRecord),
                reports=told,
                now=lambda: datetime.now(UTC),
            )
            worker = Worker("policies", controller.reconcile)
            orders.on_change(POLICYSETS, worker.add)
            heals = Worker("policy heals", controller.heal)

            def on_object(kind: Kind, key: str) -> None:
                if owner := controller.owner_of(kind, key):
                    heals.add(heal_key(kind, key))
                    worker.add(owner, within_seconds=WHOLE_SET_SECONDS)

            objects.on_change(on_object)
            tasks = [group.create_task(each) for each in (worker.run(), heals.run(), objects.run())]
            await told.until_held(count)
            wanted = {ref_of(manifest): manifest for manifest in manifests}
            watcher = Watcher(hand, wanted)
            tasks += [group.create_task(watcher.follow(kind)) for kind in {ref.kind for ref in wanted}]
            await asyncio.sleep(1)
            began = time.process_time()
            await disturb(watcher, list(wanted), changes, chooser)
            spent = time.process_time() - began
            look = await one_look(hand, wanted)
            for task in tasks:
                task.cancel()
            await kube.close()
            await hand.close()
    return result(watcher.seconds, spent / changes, look, told)


def ordered(folder: Path, manifests: Sequence[Manifest]) -> Orders:
    """Give an agent's orders on disk, as it finds them at its start while the hub is away."""
    shelf = Shelf(folder / "orders")
    order = PolicyOrder(name=_SET, commit="c" * 40, manifests=tuple(dict(each.body) for each in manifests))
    shelf.put(f"{POLICYSETS}/{_SET}", order.encode())
    return Orders(shelf, Shelf(folder / "store"))


def ref_of(manifest: Manifest) -> ObjectRef:
    """Name a policy's object."""
    return ObjectRef.of(manifest.body)


async def disturb(watcher: Watcher, refs: list[ObjectRef], changes: int, chooser: random.Random) -> None:
    """Change objects, each once, at a steady pace whether the agent keeps up or not."""
    chosen = chooser.sample(refs, changes)
    async with asyncio.TaskGroup() as group:
        for ref in chosen:
            group.create_task(watcher.change(ref, is_deleted=chooser.random() < 0.3))
            await asyncio.sleep(1 / _PER_SECOND)


async def one_look(kube: Kube, wanted: dict[ObjectRef, Manifest]) -> float:
    """Give the CPU seconds of listing and comparing everything once, which a controller without a watch does."""
    began = time.process_time()
    for kind in {ref.kind for ref in wanted}:
        for obj in (await kube.list(kind, project=lambda obj: obj)).items:
            ref = ObjectRef.of(obj)
            if POLICYSET_LABEL in (obj["metadata"].get("labels") or {}):
                find_drift(wanted[ref], obj)
    return time.process_time() - began


def result(seconds: list[float], cpu: float, look: float, told: Told) -> dict[str, Any]:
    """Sum up."""
    ordered = sorted(seconds)
    at = lambda share: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)  # noqa: E731
    return {
        "changes": len(ordered),
        "healed": told.newest.drift_healed if told.newest is not None else 0,
        "p50_seconds": at(0.50),
        "p99_seconds": at(0.99),
        "longest_seconds": at(1.0),
        "cpu_ms_per_change": round(1000 * cpu, 2),
        "cpu_ms_of_one_look_without_a_watch": round(1000 * look, 2),
        "look_divided_by_change": round(look / cpu, 2),
    }


def main() -> None:
    """Read the command line, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policies", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=300)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    wanted = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    if wanted.serve is not None:
        asyncio.run(serve(wanted.serve))
        return
    found = asyncio.run(measure(wanted.policies, wanted.changes))
    print(
        json.dumps(found) if wanted.output == "json" else "\n".join(f"{key}: {value}" for key, value in found.items())
    )


if __name__ == "__main__":
    main()
