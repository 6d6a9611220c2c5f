"""The agent of a cluster as something that can be killed and kept down, wherever it runs.

Owns the two ways: a process of the home's supervisor, or a pod of the cluster itself. Another agent is nobody's here.
"""

from __future__ import annotations

import contextlib
import os
import signal

from atoll.federation.errors import NotFound
from atoll.installation.plan import AGENT
from atoll.kubeapi.resource import Object
from atoll.local.home import Home
from atoll.sandbox.cluster import SimulatedCluster
from atoll.sandbox.kinds.catalog import POD

_NAME_LABEL = "app.kubernetes.io/name"
_HELD = "'atoll sandbox fault kill agent' keeps it down"


def agent_process(cluster: str) -> str:
    """Name the supervised process that is the agent of a cluster."""
    return f"agent-{cluster}"


class Agent:
    """The agent of one cluster."""

    def __init__(self, cluster: SimulatedCluster, home: Home | None) -> None:
        """Look for it in the cluster's pods, and among the processes of `home` if that is given."""
        self._cluster, self._home = cluster, home
        self._process = agent_process(cluster.spec.name)

    async def kill(self) -> None:
        """Kill it as `kill -9` does. Raises NotFound if the sandbox runs none."""
        if pid := self._pid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return
        killed = [await self._cluster.kubelet.kill(pod) for pod in await self._pods()]
        if not any(killed):
            name = self._cluster.spec.name
            raise NotFound(f"no agent of {name} runs here: neither a process of the sandbox nor a pod of the cluster")

    def set_held(self, *, is_held: bool) -> None:
        """Keep it down once it has ended, or let it start again."""
        self._cluster.starter.why_held = lambda pod: _HELD if is_held and _is_agent(pod) else ""
        if self._home is None:
            return
        hold = self._home.hold_file(self._process)
        if is_held:
            hold.parent.mkdir(exist_ok=True)
            hold.touch()
        else:
            hold.unlink(missing_ok=True)

    def _pid(self) -> int | None:
        state = self._home.read_state() if self._home is not None else None
        running = {process.name: process.pid for process in state.processes} if state is not None else {}
        return running.get(self._process)

    async def _pods(self) -> list[Object]:
        return [pod for pod in (await self._cluster.store.list(POD)).items if _is_agent(pod)]


def _is_agent(pod: Object) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get(_NAME_LABEL) == AGENT)
