"""What a job uses now, over HTTP: a GET on a job's `top` asks the agent of its cluster. Owns the route."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atoll.federation.bus.capabilities import Capabilities
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.subjects import rpc_subject
from atoll.federation.bus.usage_messages import TopReport, TopRequest
from atoll.federation.errors import AtollError, Internal
from atoll.federation.resources import API_GROUP, API_VERSION, FINISHED_RUN_PHASES, Run
from atoll.hub.client import Client
from atoll.hub.http.placed import check_heard, newest_run
from atoll.kubeapi.errors import BadRequest, Unavailable

_ANSWER_SECONDS = 15.0


class Top:
    """Answers what jobs use."""

    def __init__(self, client: Client, bus: Bus, capabilities: Capabilities) -> None:
        self._client, self._bus, self._capabilities = client, bus, capabilities

    def routes(self) -> list[Route]:
        """Give the route."""
        path = f"/apis/{API_GROUP}/{API_VERSION}/namespaces/{{namespace}}/jobs/{{name}}/top"
        return [Route(path, self.read, methods=["GET"])]

    async def read(self, request: Request) -> Response:
        """Give run and cluster of a job, and a record for each pod."""
        run = await newest_run(self._client, request.path_params["namespace"], request.path_params["name"])
        if run.status.phase in FINISHED_RUN_PHASES:
            raise BadRequest(f"job {run.spec.job!r} has ended ({run.status.phase}): it uses nothing any more")
        await check_heard(self._client, run.spec.cluster, what="it can be asked")
        report = await self._ask(run)
        return JSONResponse({"run": run.metadata.name, "cluster": run.spec.cluster, **report.wire()})

    async def _ask(self, run: Run) -> TopReport:
        cluster = run.spec.cluster
        question = TopRequest(namespace=run.metadata.namespace or "", run=run.metadata.name)
        subject = rpc_subject(cluster, "top", self._capabilities.agent(cluster))
        try:
            async for answer in self._bus.request_many(subject, question.encode(), timeout_seconds=_ANSWER_SECONDS):
                return TopReport.decode(answer)
        except AtollError as error:
            # A bus that carries nothing names the subject, which holds the cluster's token.
            why = str(error) if isinstance(error, Internal) else "it does not answer"
            raise Unavailable(
                f"the agent of cluster {cluster!r} tells nothing of run {run.metadata.name!r}: {why}",
                retry_after_seconds=5,
            ) from error
        return TopReport(message="its agent had nothing to say")
