"""`GET /api/v1/namespaces/{namespace}/pods/{name}/log` of a simulated cluster.

Owns the route and its query; the logs are the kubelet's.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from atoll.kubeapi.errors import BadRequest
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import POD
from atoll.sandbox.kubelet.kubelet import Kubelet
from atoll.sandbox.kubelet.logs import LogQuery, read_file
from atoll.sandbox.kubelet.starting import log_path


class PodLogs:
    """The log subresource of pods."""

    def __init__(self, store: Store, kubelet: Kubelet) -> None:
        """Serve the logs that `kubelet` keeps."""
        self._store = store
        self._kubelet = kubelet

    def route(self) -> Route:
        """Return the route to put before the API's own."""
        return Route("/api/v1/namespaces/{namespace}/pods/{name}/log", self._get, methods=["GET"])

    async def _get(self, request: Request) -> Response:
        pod = await self._store.get(POD, request.path_params["namespace"], request.path_params["name"])
        container = container_named(pod, request.query_params.get("container", ""))
        query = _query(request, datetime.now().astimezone())
        if _flag(request, "previous"):
            return self._previous(pod, container, query)
        log = self._kubelet.log_of(pod, container)
        if log is None:
            return self._without_log(pod, container)
        return StreamingResponse(log.read(query), media_type="text/plain")

    def _previous(self, pod: Object, container: str, query: LogQuery) -> Response:
        restarts = int(container_status(pod, container).get("restartCount", 0))
        path = log_path(self._kubelet.folder_of(pod), container, restarts - 1)
        if restarts == 0 or not path.exists():
            raise BadRequest(
                f'previous terminated container "{container}" in pod "{pod["metadata"]["name"]}" not found'
            )
        return PlainTextResponse(b"".join(read_file(path, query)))

    def _without_log(self, pod: Object, container: str) -> Response:
        state = container_status(pod, container).get("state", {})
        if "terminated" in state:
            return PlainTextResponse("")
        reason = state.get("waiting", {}).get("reason", "PodPending")
        name = pod["metadata"]["name"]
        raise BadRequest(f'container "{container}" in pod "{name}" is waiting to start: {reason}')


def container_status(pod: Object, container: str) -> Object:
    """Return what a pod's status says of a container, empty if nothing."""
    listed = (*pod["status"].get("containerStatuses", ()), *pod["status"].get("initContainerStatuses", ()))
    return next((status for status in listed if status["name"] == container), {})


def container_named(pod: Object, asked: str) -> str:
    """Return the container that is meant; one that is asked for by no name must be the only one. Raises BadRequest."""
    names = [each["name"] for each in (*pod["spec"].get("containers", ()), *pod["spec"].get("initContainers", ()))]
    if asked:
        if asked not in names:
            raise BadRequest(f"container {asked} is not valid for pod {pod['metadata']['name']}")
        return asked
    if len(pod["spec"]["containers"]) > 1:
        listed = " ".join(each["name"] for each in pod["spec"]["containers"])
        name = pod["metadata"]["name"]
        raise BadRequest(f"a container name must be specified for pod {name}, choose one of: [{listed}]")
    return str(names[0])


def _query(request: Request, now: datetime) -> LogQuery:
    seconds, since_time = _number(request, "sinceSeconds"), request.query_params.get("sinceTime")
    since = now - timedelta(seconds=seconds) if seconds is not None else None
    if since_time:
        try:
            since = datetime.fromisoformat(since_time)
        except ValueError:
            raise BadRequest(f"sinceTime: Invalid value: {since_time!r}: must be an RFC 3339 time") from None
    return LogQuery(
        follow=_flag(request, "follow"),
        tail_lines=_number(request, "tailLines"),
        limit_bytes=_number(request, "limitBytes"),
        timestamps=_flag(request, "timestamps"),
        since=since,
    )


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "") in ("true", "1")


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise BadRequest(f"{name}: Invalid value: {text!r}: must be a whole number, 0 or more")
    return int(text)
