"""What the accounts of the rendered manifests may not do: tried on an API server that holds RBAC."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from atoll.kubeapi.http import create_app
from atoll.kubeapi.http.access import Access
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from atoll.sandbox.access import Accounts, Rbac
from atoll.sandbox.kinds.catalog import registry
from deploy.world import rendered

PLACE = "overlays/k3s-lab"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
WORK = "/api/v1/namespaces/work"
# What somebody would try who has the agent's token, beyond its work.
REFUSED = {
    "read everybody's Secrets": ("GET", "/api/v1/secrets"),
    "read one by its name": ("GET", f"{WORK}/secrets/database"),
    "read the mesh's CA with its key": ("GET", "/api/v1/namespaces/kube-system/secrets/cilium-ca"),
    "read its own enrolment": ("GET", "/api/v1/namespaces/atoll-system/secrets/atoll-agent-enrolment"),
    "read configuration": ("GET", f"{WORK}/configmaps"),
    "give itself more rights": ("PATCH", f"{RBAC}/clusterroles/atoll-agent"),
    "bind itself to another role": ("POST", f"{RBAC}/clusterrolebindings"),
    "bind itself in one namespace": ("POST", f"{RBAC}/namespaces/kube-system/rolebindings"),
    "run a command in a pod": ("POST", f"{WORK}/pods/web/exec"),
    "delete a namespace": ("DELETE", "/api/v1/namespaces/work"),
    "make a node look otherwise": ("PATCH", "/api/v1/nodes/n1"),
    "delete somebody's volume": ("DELETE", f"{WORK}/persistentvolumeclaims/data"),
    "delete somebody's Deployment": ("DELETE", "/apis/apps/v1/namespaces/work/deployments/web"),
    "change somebody's Deployment": ("PATCH", "/apis/apps/v1/namespaces/work/deployments/web"),
    "put something on every node": ("POST", "/apis/apps/v1/namespaces/work/statefulsets"),
    "open a Service": ("POST", f"{WORK}/services"),
    "make kinds": ("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
}
# That the answers above are RBAC's: what its work is made of, spelled the same way.
ALLOWED = {
    "look at pods": ("GET", "/api/v1/pods"),
    "make a Job": ("POST", "/apis/batch/v1/namespaces/work/jobs"),
    "make a namespace": ("POST", "/api/v1/namespaces"),
    "read the credentials of a data service": ("GET", f"{WORK}/secrets/atoll-data-credentials"),
    "delete the volume with datasets": ("DELETE", f"{WORK}/persistentvolumeclaims/atoll-datasets"),
    "read how the mesh is set up": ("GET", "/api/v1/namespaces/kube-system/configmaps/cilium-config"),
}


AGENT, GATEWAY = ("atoll-system", "atoll-agent"), ("atoll-gateway", "atoll-gateway")


@dataclass(frozen=True)
class Server:
    """An API server with the overlay's roles."""

    accounts: Accounts
    client: httpx.AsyncClient

    async def answer(self, account: tuple[str, str], asked: tuple[str, str]) -> int:
        """The status that one account gets."""
        method, path = asked
        headers = {"Authorization": f"Bearer {self.accounts.token(*account)}", "Content-Type": _CONTENT[method]}
        return (await self.client.request(method, path, headers=headers, content=b"{}")).status_code


_CONTENT = dict.fromkeys(("GET", "POST", "DELETE"), "application/json") | {"PATCH": "application/merge-patch+json"}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    store, accounts = Store(registry(), MemoryStorage()), Accounts()
    await store.start()
    types = {rt.kind: rt for rt in store.registry.all()}
    for manifest in rendered(PLACE):
        if "Role" in manifest["kind"]:
            await store.create(types[manifest["kind"]], manifest, namespace=manifest["metadata"].get("namespace"))
    app = create_app(store, store.registry, version={}, access=Access(accounts, Rbac(store)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cluster") as client:
        yield Server(accounts, client)
    await store.close()


@pytest.mark.parametrize("attempt", REFUSED)
async def test_an_agent_may_not(server: Server, attempt: str) -> None:
    assert await server.answer(AGENT, REFUSED[attempt]) == 403


async def test_an_agent_may_do_its_work(server: Server) -> None:
    """Whatever else the answer is: there is little in this cluster."""
    answers = {attempt: await server.answer(AGENT, asked) for attempt, asked in ALLOWED.items()}
    assert [attempt for attempt, status in answers.items() if status in (401, 403)] == []


async def test_a_gateway_may_do_nothing_at_all(server: Server) -> None:
    answers = {await server.answer(GATEWAY, asked) for asked in (REFUSED | ALLOWED).values()}
    assert answers == {403}
