"""A federation that never was: clusters, queues and jobs as a hub would have stored them, in memory.

Owns their making; the same seed makes the same. For the benchmark, the tests of the dashboard, and a look at it.
"""

import random
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from atoll.hub.access.oidc_code import CodeFlow
from atoll.hub.client import Client
from atoll.hub.dashboard.app import Dashboard
from atoll.hub.dashboard.serving import Visitors
from atoll.hub.existing import ExistingObjects
from atoll.hub.kinds import build_registry
from atoll.kubeapi.bucket import stored
from atoll.kubeapi.http import create_app
from atoll.kubeapi.http.access import Access
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store

REGIONS = ("eu-west", "eu-north", "us-east", "us-west", "apac", "field")
MODELS = ("NVIDIA-A100-SXM4-80GB", "NVIDIA-H100-80GB-HBM3", "NVIDIA-L40S")
TEAMS = ("seismology", "optics", "genomics", "climate")
REASONS = ("WaitingForRoom", "QueueLimit", "GpuModel", "DatasetIncomplete", "Residency")
USERS = ("amira", "bo", "chiara", "dmitri", "eun-ji")
_VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}


def iso(at: datetime) -> str:
    """Write an instant as objects hold it."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def obj(kind: str, name: str, spec: Mapping[str, Any], status: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    """Make one object as it would be stored."""
    api = "v1" if kind == "Namespace" else "atoll.dev/v1alpha1"
    known = {"name": name, "uid": str(uuid.UUID(int=hash((kind, name, str(metadata.get("namespace")))) % 2**128))}
    made = {"creationTimestamp": metadata.pop("created", "2026-11-22T00:00:00Z"), "generation": 1}
    return {"apiVersion": api, "kind": kind, "metadata": {**known, **made, **metadata}, "spec": spec, "status": status}


def clusters(count: int, chooser: random.Random, now: datetime) -> Iterator[dict[str, Any]]:
    """Make clusters in regions; some are unwell, some asleep, some without GPUs."""
    names = [f"{REGIONS[number % len(REGIONS)]}-{number // len(REGIONS):03d}" for number in range(count)]
    for number, name in enumerate(names):
        gpus = chooser.choice((0, 2, 4, 8, 8, 16, 32, 64))
        phase = chooser.choices(("Ready", "Degraded", "Unreachable", "Asleep"), (90, 4, 3, 3))[0]
        model, free = chooser.choice(MODELS), chooser.randint(0, gpus)
        proven = now - timedelta(seconds=chooser.uniform(0, 12) if phase in ("Ready", "Degraded") else 4000)
        peers = chooser.sample(names, min(3, count))
        links = [
            {
                "peer": peer,
                "isReady": (ready := chooser.random() < 0.97),
                "isConnected": ready or chooser.random() < 0.5,
                "reason": "" if ready else "EtcdUnreachable",
                "latencySeconds": round(chooser.uniform(0.004, 0.12), 4),
                "lastProvenAt": iso(proven),
            }
            for peer in peers
            if peer != name
        ]
        inventory = {
            "version": "v1.34.2",
            "nodes": max(1, gpus // 8),
            "nodesReady": max(1, gpus // 8),
            "millicores": 64_000 * max(1, gpus // 8),
            "gpus": [{"model": model, "memoryBytes": 85899345920, "count": gpus}] if gpus else [],
            "freeGpus": [{"model": model, "memoryBytes": 85899345920, "count": free}] if gpus else [],
            "cni": "cilium",
        }
        spec = {"mesh": {"id": number % 511 + 1}, "unschedulable": chooser.random() < 0.03}
        status = {"phase": phase, "inventory": inventory, "links": links, "lastProvenAt": iso(proven)}
        if phase in ("Degraded", "Unreachable"):
            status |= {"reason": "NodesNotReady" if phase == "Degraded" else "HeartbeatLost", "message": "see why"}
        yield obj("Cluster", name, spec, status, labels={"region": REGIONS[number % len(REGIONS)]})


def queues(now: datetime) -> Iterator[dict[str, Any]]:
    """Make a tree of queues: a top for each team, and two below it."""
    for number, team in enumerate(TEAMS):
        for suffix, part in (("", 1.0), (".batch", 0.6), (".interactive", 0.4)):
            limit = int((120 + 60 * number) * part)
            used = int(limit * (0.35 + 0.22 * number) * (0.9 if suffix else 1.0))
            guaranteed = limit // 2
            spec: dict[str, Any] = {"weight": number + 1, "quota": {"guaranteed": {"gpus": guaranteed}}}
            spec["quota"]["limit"] = {"gpus": limit}
            if suffix:
                spec["parent"] = team
            status = {
                "usedGpus": min(used, limit),
                "pending": 40 * number,
                "barred": 3 * number,
                "running": used // 2,
                "share": round(0.08 * (number + 1) * part, 3),
                "fairShare": round(0.1 * (number + 1) * part, 3),
                "borrowed": {"gpus": max(0, used - guaranteed)},
                "past": {"at": iso(now), "gpus": used * 0.8, "halfLifeSeconds": 86400.0},
            }
            yield obj("Queue", f"{team}{suffix}", spec, status)


def jobs(count: int, chooser: random.Random, now: datetime, places: list[str]) -> Iterator[dict[str, Any]]:
    """Make jobs of the last day: most have ended, some run, some wait."""
    template = {"spec": {"containers": [{"name": "main", "image": "ghcr.io/lab/work:1", "command": ["work"]}]}}
    workload = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": template}}
    phases = ("Succeeded", "Failed", "Cancelled", "Running", "Placed", "Pending")
    for number in range(count):
        team, created = chooser.choice(TEAMS), now - timedelta(seconds=86_400 * (1 - number / count))
        phase = chooser.choices(phases, (70, 6, 2, 8, 1, 13))[0]
        spec = {"queue": f"{team}.{chooser.choice(('batch', 'interactive'))}", "workload": workload}
        if gpus := chooser.choice((0, 1, 1, 2, 8)):
            spec["gpu"] = {"count": gpus}
        status: dict[str, Any] = {"phase": phase, "queuedAt": iso(created)}
        if phase == "Pending":
            status |= {"reason": chooser.choice(REASONS), "message": "no cluster has room for it now"}
        else:
            started = created + timedelta(seconds=chooser.uniform(1, 60))
            status |= {"cluster": chooser.choice(places), "run": f"j-{number:06d}-1", "attempts": 1}
            status["startedAt"] = iso(started)
            if phase in ("Succeeded", "Failed", "Cancelled"):
                ended = min(now, started + timedelta(seconds=chooser.expovariate(1 / 900)))
                status["finishedAt"] = iso(ended)
        who = {"atoll.dev/submitter": chooser.choice(USERS)}
        yield obj("Job", f"j-{number:06d}", spec, status, namespace=team, annotations=who, created=iso(created))


def federation(cluster_count: int, job_count: int, now: datetime, *, seed: int = 7) -> Iterator[dict[str, Any]]:
    """Make all of it."""
    chooser = random.Random(seed)
    for team in TEAMS:
        yield obj("Namespace", team, {}, {"phase": "Active"})
    made = list(clusters(cluster_count, chooser, now))
    yield from made
    yield from queues(now)
    yield from jobs(job_count, chooser, now, [each["metadata"]["name"] for each in made])


class World:
    """The API and the dashboard over objects in memory, without a controller: what is stored stays as it is."""

    def __init__(self, *, access: Access | None = None) -> None:
        existing = ExistingObjects()
        self.storage = MemoryStorage()
        self.store = existing.store = Store(build_registry(existing), self.storage, require_namespaces=True)
        self.client = Client(self.store)
        self.access = access or Access()

    async def put(self, made: Mapping[str, Any]) -> None:
        """Store one object as it is, over what is there."""
        group = "" if made["apiVersion"] == "v1" else "atoll.dev"
        rt = self.store.registry.by_kind(group, made["kind"])
        assert rt is not None, made["kind"]
        key = rt.key(made["metadata"].get("namespace"), made["metadata"]["name"])
        entry = self.store.cache.get(rt.prefix, key) if self.store.cache.is_synced else None
        await self.storage.write(key, stored(dict(made)), expected=entry.revision if entry else 0)

    async def start(self, flow: CodeFlow | None = None) -> None:
        """Load the cache, and put the dashboard before the API."""
        await self.store.start()
        api = create_app(self.store, self.store.registry, version=_VERSION, access=self.access)
        self.dashboard = Dashboard.before(
            api,
            self.client,
            Visitors(self.access, flow),
            clock=self.store.clock,
            orders=lambda _cluster, _policies: None,
        )
