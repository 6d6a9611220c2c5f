"""Tells the hub of the mesh: links and own settings with every look, shared services when they change.

Owns when each is told and how old each link's proof is. It must not decide what the hub makes of it.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from atoll.edge.member.cilium import SHORTEST_POLL_SECONDS
from atoll.edge.member.mesh.merging import Look, links_of
from atoll.edge.member.mesh.services import SharedServices
from atoll.edge.member.mesh.settings import MeshSettings
from atoll.edge.member.mesh.sources import MeshSource
from atoll.federation.bus.messages import MeshReport, Message
from atoll.federation.resources.mesh import MeshFacts

MESH, SERVICES = "mesh", "mesh/services"
# A report in which nothing but dates is new waits so long for each of its links: a mesh of 511 clusters reports 200 kB.
# Longer, and the hub takes links for stale that are well (federation.mesh.STALE_AFTER).
_SECONDS_PER_LINK = 0.1
_DATES = {"links": {"__all__": {"last_proven_at", "seen_at", "latency_seconds"}}, "at": True}
_BLIND = Look({}, problems=("the agent was given neither a Cilium socket nor leave to run commands in Cilium's pods",))


class Reports(Protocol):
    """Where reports go."""

    def report(self, key: str, message: Message) -> None:
        """Take a report, if it says anything new."""

    def refresh(self, key: str, message: Message) -> None:
        """Take a report that is news even if only its time has changed."""


class MeshPulse:
    """The mesh of one cluster."""

    def __init__(
        self,
        source: MeshSource | None,
        settings: MeshSettings,
        services: SharedServices,
        *,
        reports: Reports,
        now: Callable[[], datetime],
    ) -> None:
        """Watch one cluster's mesh; without a source only its settings and services are told."""
        self._source, self._settings, self._services = source, settings, services
        self._reports, self._now = reports, now
        self._proven: dict[str, datetime] = {}
        self._told: MeshReport | None = None

    @property
    def told(self) -> MeshReport | None:
        """What was told last of links and settings; None before the first look."""
        return self._told

    async def run(self, every_seconds: float, on_version: Callable[[str], None]) -> None:
        """Report until cancelled.

        Args:
            every_seconds: between two looks at the links.
            on_version: is told Cilium's version at each look.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self.watch_links(every_seconds, on_version))
            group.create_task(self._services.run(self._tell_services))

    async def watch_links(self, every_seconds: float, on_version: Callable[[str], None]) -> None:
        """Report links and settings until cancelled; as `run`, without the services."""
        while True:
            look = await self._source.look() if self._source is not None else _BLIND
            on_version(look.version)
            facts = await self._settings.facts(look.version)
            if facts is not None or self._source is not None:
                self._tell(self._report(look, facts))
            await asyncio.sleep(max(SHORTEST_POLL_SECONDS, every_seconds))

    def _tell(self, report: MeshReport) -> None:
        """Report what is new at once, and new dates as often as the size of the mesh allows."""
        told = self._told
        patience = timedelta(seconds=_SECONDS_PER_LINK * len(report.links))
        if told is not None and report.at - told.at < patience and _gist(report) == _gist(told):
            return
        self._told = report
        self._reports.refresh(MESH, report)

    def _report(self, look: Look, facts: MeshFacts | None) -> MeshReport:
        """Date each link by when it was last seen ready."""
        at = self._now()
        links = links_of(look, facts.expected_peers if facts is not None else None, at)
        self._proven.update({link.peer: link.last_proven_at for link in links if link.last_proven_at})
        dated = tuple(link.model_copy(update={"last_proven_at": self._proven.get(link.peer)}) for link in links)
        if facts is not None:
            cached = [link.is_cached for link in links if link.is_cached is not None]
            problems = (*facts.problems, *(look.problems if look.statuses else ()))
            facts = facts.model_copy(update={"has_kvstoremesh": any(cached) if cached else None, "problems": problems})
        return MeshReport(links=dated, facts=facts, message=look.message, at=at)

    def _tell_services(self) -> None:
        self._reports.report(SERVICES, self._services.told(self._now()))


def _gist(report: MeshReport) -> object:
    """Give what a report says but for its dates."""
    return report.model_dump(exclude=_DATES)  # type: ignore[arg-type]  # pydantic's own type of it is too narrow
