"""The reports that come by themselves: heartbeat and inventory. It must not decide what they are used for."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version as package_version

from atoll.edge.member.beside import POLICY_KINDS
from atoll.edge.member.desired import RUNS, Orders
from atoll.edge.member.inventory.kinds import served
from atoll.edge.member.inventory.parts import NODES, PARTS, Part
from atoll.edge.member.inventory.view import LOOK_AGAIN_SECONDS, ClusterView
from atoll.edge.member.kube import Kube
from atoll.edge.member.lease import HEARTBEAT
from atoll.edge.member.objects import Kind
from atoll.edge.member.reporter import Reporter
from atoll.federation.bus.messages import Heartbeat, InventoryReport, Message
from atoll.federation.errors import AtollError
from atoll.federation.workloads import known_kinds

_PROBE_SECONDS = 5.0
_ADAPTED = frozenset(Kind(*kind) for kind in known_kinds())
# A change that comes alone is on its way at once; of a burst, each part is told once in its interval.
_SETTLE_SECONDS = 0.1
# Summing up takes at most a fifth of one core, however large the cluster and however fast it changes.
_REST_FACTOR = 4.0


class Pulse:
    """Reports the cluster itself."""

    def __init__(
        self, kube: Kube, view: ClusterView, *, orders: Orders, reporter: Reporter, now: Callable[[], datetime]
    ) -> None:
        self._kube, self._view, self._orders, self._reporter, self._now = kube, view, orders, reporter, now
        self._started_at = now()
        self._agent_version = package_version("atoll")

    async def heartbeats(self, every_seconds: float) -> None:
        """Tell that the agent lives and whether its API server does, until cancelled."""
        while True:
            problem = await self._probe()
            message = "; ".join(filter(None, (problem or self._view.problem, _retained(self._orders.store.retained))))
            heartbeat = Heartbeat(
                agent_version=self._agent_version,
                started_at=self._started_at,
                api_reachable=not problem,
                message=message,
                at=self._now(),
            )
            self._reporter.refresh(HEARTBEAT, heartbeat)
            await asyncio.sleep(every_seconds)

    async def _probe(self) -> str:
        """Ask the API server for its version; give what is wrong, empty if nothing."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                self._view.learn(version=await self._kube.version())
        except TimeoutError:
            return f"the API server did not answer within {_PROBE_SECONDS:g} s"
        except AtollError as error:
            return str(error)
        return ""

    async def kinds(self) -> None:
        """Learn now and then which kinds are served, until cancelled: CRDs come and go."""
        while True:
            with contextlib.suppress(AtollError):  # the heartbeat tells that the API server is away
                kinds, policies = await self._kube.creatable_kinds(), await self._policy_kinds()
                self._view.learn(served=served(kinds, first=_ADAPTED, policies=policies))
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _policy_kinds(self) -> tuple[str, ...]:
        """Name the kinds of network policies that are served in a version that the compiler writes."""
        return tuple(sorted({kind.kind for kind in POLICY_KINDS if await self._kube.serves(kind)}))

    async def inventories(self) -> None:
        """Report each part of the inventory whenever it has changed, until cancelled."""
        await self._view.wait_until_complete()
        self._orders.on_change(RUNS, lambda _key: self._view.touch(NODES))
        async with asyncio.TaskGroup() as group:
            for part in PARTS:
                group.create_task(self._tell(part))

    async def _tell(self, part: Part) -> None:
        """Report one part, at most once in its interval; the reporter drops what says nothing new."""
        changed = self._view.changed(part)
        while True:
            changed.clear()
            began = time.thread_time()
            for key, message in part.build(self._view.facts(runs=self._orders.keys(RUNS)), self._now()).items():
                self._reporter.report(key, self._of_this_life(message))
            spent = time.thread_time() - began
            await asyncio.sleep(max(part.interval_seconds - _SETTLE_SECONDS, _REST_FACTOR * spent))
            await changed.wait()
            await asyncio.sleep(_SETTLE_SECONDS)

    def _of_this_life(self, message: Message) -> Message:
        """Say of an inventory which life of the agent it is from: times cannot, since clocks are set back."""
        if not isinstance(message, InventoryReport):
            return message
        return message.model_copy(update={"agent_started_at": self._started_at})


def _retained(keys: tuple[str, ...]) -> str:
    if not keys:
        return ""
    return f"{len(keys)} orders are kept that the hub's store has lost, such as {keys[0]}: order or delete them again"
