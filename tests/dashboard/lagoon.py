"""A small federation in memory that the dashboard is looked at with: labs, datasets, copies, policies, audit records.

No controller runs, so nothing changes but what a test changes, and everything that pages show is stated here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from atoll.federation.resources import KINDS, Resource
from atoll.hub.access.audit_records import AuditQuery, Record
from atoll.hub.client import Client
from atoll.hub.dashboard.app import Dashboard
from atoll.hub.dashboard.serving import Visitors
from atoll.hub.http.audit import AuditRecords
from atoll.hub.http.server import listen, serving, url_of
from atoll.kubeapi.http import create_app
from atoll.kubeapi.http.access import Access
from dashboard.lagoon_datasets import datasets
from dashboard.lagoon_labs import Stated, labs
from dashboard.lagoon_policies import orders, policysets
from hub.store_world import client_of_store
from hub.support import manifest

_OPEN = Access()
_MODELS = {kind.model.__name__: kind.model for kind in KINDS}


@dataclass
class Lagoon:
    """The federation: its URL, a client of its objects, and when it was made."""

    url: str
    client: Client
    now: datetime


class _Records:
    """Audit records in memory."""

    def __init__(self, records: list[Record]) -> None:
        self._records = records

    async def read(self, query: AuditQuery) -> AsyncIterator[list[Record]]:
        """Give the newest that are wanted."""
        found = [dict(record) for record in self._records if query.wants(record)]
        return _once(found[-query.limit :] if query.limit else found)


async def _once(records: list[Record]) -> AsyncIterator[list[Record]]:
    yield records


def utc_now() -> datetime:
    """Give the time."""
    return datetime.now(UTC)


@contextlib.asynccontextmanager
async def lagoon(*, access: Access = _OPEN, is_empty: bool = False) -> AsyncIterator[Lagoon]:
    """Serve the federation; `is_empty` leaves out everything but the namespace."""
    now, records = utc_now(), [] if is_empty else _audit(utc_now())
    async with client_of_store() as client:
        if not is_empty:
            await fill(client, now)
        audit = AuditRecords(
            _Records(records), is_admin=lambda user: user.name in ("admin", "system:anonymous"), clock=utc_now
        )
        version = {"major": "1", "minor": "36", "gitVersion": "v1.36.0+atoll", "platform": "atoll"}
        store = client.store
        api = create_app(store, store.registry, version=version, access=access, extra_routes=audit.routes())
        ordered = {} if is_empty else orders()
        board = Dashboard.before(
            api,
            client,
            Visitors(access),
            clock=utc_now,
            orders=lambda cluster, policyset: ordered.get((cluster, policyset)),
        )
        listener = listen("127.0.0.1", 0)
        url = url_of(listener, scheme="http")
        async with serving(board.app, listener):
            work = asyncio.create_task(board.run())
            yield Lagoon(url, client, now)
            work.cancel()
            await asyncio.wait({work})


async def fill(client: Client, now: datetime) -> None:
    """Make all objects, with their status."""
    namespaces = client.store.registry.by_kind("", "Namespace")
    for name in ("chemistry", "seismology", "imaging", "ocean"):
        await client.store.create(namespaces, manifest("Namespace", name))
    for kind, name, namespace, spec, status in _objects(now):
        await client.create(made(kind, name, namespace, spec, status))


def made(kind: str, name: str, namespace: str | None, spec: Any, status: Any, **metadata: Any) -> Resource:
    """Make one object of a kind."""
    labels = spec.pop("_labels", {})
    about = {"name": name, "namespace": namespace, "labels": labels, **metadata}
    return _MODELS[kind].model_validate({"metadata": about, "spec": spec, "status": status})


_CLUSTERS: Mapping[str, tuple[str, str, str]] = {
    "onprem": ("eu-central", "eu", "Ready"),
    "hpc": ("eu-central", "eu", "Ready"),
    "archive": ("eu-central", "eu", "Degraded"),
    "lab-a": ("eu-north", "eu", "Ready"),
    "lab-b": ("eu-north", "eu", "Ready"),
    "field": ("eu-north", "eu", "Unreachable"),
    "cloud": ("us-east", "us", "Ready"),
    "cloud-gpu": ("us-east", "us", "Ready"),
    "burst": ("us-west", "us", "Asleep"),
}


def _objects(now: datetime) -> list[Stated]:
    def ago(**span: float) -> str:
        return (now - timedelta(**span)).isoformat()

    found: list[Any] = []
    for index, (name, (region, residency, phase)) in enumerate(_CLUSTERS.items()):
        inventory = {"cni": "cilium", "cniVersion": "1.19.2", "nodes": 3, "nodesReady": 3}
        spec = {
            "residency": [residency],
            "mesh": {"id": index + 1},
            "_labels": {"region": region, "ring": str(index // 3)},
        }
        status = {"phase": phase, "inventory": inventory, "lastProvenAt": ago(seconds=4)}
        found.append(("Cluster", name, None, spec, status))
    return [*found, *labs(ago), *datasets(ago), *policysets(ago)]


def _audit(now: datetime) -> list[Record]:
    verbs = (
        ("patch", "clusters", "hpc", ""),
        ("create", "jobs", "picks-7", "seismology"),
        ("delete", "datasets", "old", "imaging"),
    )
    found = []
    for index in range(160):
        verb, resource, name, namespace = verbs[index % 3]
        failed = index % 23 == 0
        at = (now - timedelta(seconds=(160 - index) * 20)).isoformat(timespec="microseconds").replace("+00:00", "Z")
        record = {
            "id": f"a{index}",
            "at": at,
            "user": ("ada", "grace", "ci")[index % 5 % 3],
            "verb": verb,
            "group": "atoll.dev",
            "resource": resource,
            "name": name,
            "namespace": namespace,
            "result": "Failed" if failed else "Succeeded",
            "code": 403 if failed else 200,
            "durationMs": 4.2,
            "source": "10.1.2.3",
            "userAgent": "atoll/0.1",
            "credential": "token/ada-laptop",
        }
        if failed:
            record |= {"reason": "Forbidden", "message": f'{resource} "{name}" is forbidden: granted is only Viewer'}
        found.append(record)
    return found
