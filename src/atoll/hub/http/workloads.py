"""What runs in a cluster now, as policies see it, over HTTP.

    GET …/clusters/NAME/workloads     its namespaces and distinct sets of labels (ClusterWorkloads)

Owns the route. It tells of all namespaces: who may ask, access decides.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atoll.federation.resources import API_GROUP, API_VERSION, Cluster
from atoll.federation.resources.labelsets import ClusterWorkloads
from atoll.hub.client import Client
from atoll.hub.members import Observed
from atoll.hub.workloads import Workloads
from atoll.kubeapi.errors import NotFound
from atoll.kubeapi.http.answers import value_answer
from atoll.kubeapi.http.negotiation import Form


class WorkloadRoutes:
    """Answers what runs."""

    def __init__(self, client: Client, observed: Observed) -> None:
        self._client, self._workloads = client, Workloads(observed)

    def routes(self) -> list[Route]:
        """Give the routes, to go before the API's own."""
        path = f"/apis/{API_GROUP}/{API_VERSION}/clusters/{{name}}/workloads"
        return [Route(path, self.workloads, methods=["GET"])]

    async def workloads(self, request: Request) -> Response:
        """Tell what runs in a cluster; nothing, and no `seenAt`, where its agent has told nothing."""
        name = request.path_params["name"]
        if await self._client.get(Cluster, None, name) is None:
            raise NotFound.of(API_GROUP, "clusters", name)
        found = self._workloads.of(name) or ClusterWorkloads()
        return value_answer(found.wire(), Form())
