"""What the tests of authorization and audit share: the hub's API over a storage, with users named by headers."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
from starlette.requests import Request
from starlette.routing import BaseRoute

from atoll.hub.access.authorizer import RoleAuthorizer
from atoll.hub.access.grant import GRANT_EXTRA, Grant
from atoll.hub.access.grants import Grants
from atoll.hub.access.identity import ADMINS_GROUP
from atoll.hub.access.submitters import QueueSubmitters, SubmitterStamp
from atoll.hub.existing import ExistingObjects
from atoll.hub.kinds import build_registry
from atoll.kubeapi.http import create_app
from atoll.kubeapi.http.access import Access, Auditor, User
from atoll.kubeapi.storage import MemoryStorage, Storage
from atoll.kubeapi.store import Store
from hub.support import manifest

LAB, OTHER = "seismology", "optics"
VERSION = {"major": "1", "minor": "0", "gitVersion": "v1.0.0"}


class Headers:
    """An authenticator that believes what stands in X-User, X-Groups and X-Grant."""

    async def authenticate(self, request: Request) -> User | None:
        name, groups = request.headers.get("x-user"), request.headers.get("x-groups", "")
        grant = request.headers.get("x-grant")
        extra = {GRANT_EXTRA: (grant,)} if grant else {}
        return User(name, tuple(filter(None, groups.split(","))), "", extra) if name else None


def as_user(name: str, *groups: str, grant: Grant | str | None = None) -> dict[str, str]:
    """Give the headers of a request of somebody."""
    headers = {"x-user": name, "x-groups": ",".join(groups)}
    if grant is not None:
        headers["x-grant"] = grant if isinstance(grant, str) else grant.encode()
    return headers


ADMIN = as_user("root", ADMINS_GROUP)


def binding(name: str, role: str, *users: str, groups: Sequence[str] = (), **limits: Any) -> dict[str, Any]:
    """Write a RoleBinding."""
    subjects = [{"kind": "User", "name": user} for user in users] + [{"kind": "Group", "name": one} for one in groups]
    return manifest("RoleBinding", name, {"role": role, "subjects": subjects, **limits})


class Parts:
    """The API and what is behind it."""

    def __init__(self, storage: Storage) -> None:
        existing = ExistingObjects()
        self.store = existing.store = Store(build_registry(existing), storage, require_namespaces=True)
        self.authorizer = RoleAuthorizer(Grants(self.store), QueueSubmitters(self.store))

    @contextlib.asynccontextmanager
    async def serving(
        self, auditor: Auditor | None = None, routes: Sequence[BaseRoute] = ()
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Serve in memory, with the namespaces LAB and OTHER and the queues `lab` and `night`."""
        await self.store.start()
        access = Access(Headers(), self.authorizer, self.authorizer, auditor, stamp=SubmitterStamp())
        app = create_app(self.store, self.store.registry, version=VERSION, access=access, extra_routes=routes)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub") as http:
            yield http
        await self.store.close()

    async def prepare(self) -> None:
        """Make what jobs need, past access and audit."""
        registry = self.store.registry
        for made in (*(manifest("Namespace", name) for name in (LAB, OTHER)), *map(_queue, ("lab", "night"))):
            rt = registry.by_kind("" if made["kind"] == "Namespace" else "atoll.dev", made["kind"])
            assert rt is not None
            await self.store.create(rt, made)


def _queue(name: str) -> dict[str, Any]:
    return manifest("Queue", name)


@contextlib.asynccontextmanager
async def api(auditor: Auditor | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the hub's kinds from memory."""
    parts = Parts(MemoryStorage())
    async with parts.serving(auditor) as http:
        await parts.prepare()
        yield http
