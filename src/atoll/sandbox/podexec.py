"""`/api/v1/namespaces/{namespace}/pods/{name}/exec` of a simulated cluster.

Owns what is asked for and what may not be; the commands are the kubelet's, the WebSocket is kubeapi's.
"""

from __future__ import annotations

from starlette.datastructures import QueryParams
from starlette.routing import BaseRoute

from atoll.kubeapi.errors import BadRequest
from atoll.kubeapi.http.connecting import Session, connect_routes
from atoll.kubeapi.http.target import Target, truth
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import POD
from atoll.sandbox.kubelet.exec import Wanted
from atoll.sandbox.kubelet.exec_session import ExecSession
from atoll.sandbox.kubelet.kubelet import ENDED, STAND_IN, Kubelet
from atoll.sandbox.kubelet.stand_ins import Place, StandInSession
from atoll.sandbox.podlog import container_named, container_status


class PodExec:
    """The exec subresource of pods: kubeapi's Connector."""

    def __init__(self, store: Store, kubelet: Kubelet) -> None:
        """Run commands where `kubelet` runs containers; its stand-ins answer where it runs none."""
        self._store = store
        self._kubelet = kubelet

    def routes(self) -> list[BaseRoute]:
        """Return the routes to put before the API's own."""
        return connect_routes(POD, "exec", self)

    async def connect(self, target: Target, query: QueryParams) -> Session:
        """Find the container in which a command can be run. Raises NotFound or BadRequest."""
        wanted = _wanted(query)
        pod = await self._store.get(POD, target.namespace, target.name)
        container = container_named(pod, query.get("container", ""))
        phase = pod["status"]["phase"]
        if phase in ENDED:
            raise BadRequest(f"cannot exec into a container in a completed pod; current phase is {phase}")
        if STAND_IN in (pod["metadata"].get("annotations") or {}):
            return StandInSession(self._kubelet.stand_ins, Place(pod, container), wanted.command)
        commands = self._kubelet.commands_of(pod, container)
        if commands is None:
            state = next(iter(container_status(pod, container).get("state", {"pending": {}})))
            raise BadRequest(f'container "{container}" in pod "{target.name}" is not running: it is {state}')
        return ExecSession(commands, wanted)


def _wanted(query: QueryParams) -> Wanted:
    """Read PodExecOptions (core/v1). Raises BadRequest."""
    command = tuple(query.getlist("command"))
    if not command or not command[0]:
        raise BadRequest("command: Required value: name the command to be run")
    has_stdin, has_terminal = (bool(truth(query.get(name))) for name in ("stdin", "tty"))
    if not (has_stdin or any(truth(query.get(name)) for name in ("stdout", "stderr"))):
        raise BadRequest("one of stdin, stdout and stderr must be true")
    return Wanted(command, has_stdin=has_stdin, has_terminal=has_terminal)
