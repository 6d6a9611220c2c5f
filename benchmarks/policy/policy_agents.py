"""Agents that hold policies, in one process: the real agent's policy part, on clusters that are kept in memory.

    python -m benchmarks.policy.policy_agents HUB_URL HUB_CA FOLDER

Reads commands and says what happens, as JSON by lines; `at` is of the monotonic clock that all processes share:

    {"join": NAME, "token": TOKEN}
    → {"event": "applied", "name": NAME, "object": NAME, "at": SECONDS} for objects named `new-…`
    → {"event": "holds", "name": NAME, "objects": N, "at": SECONDS} for each report that all of an order is held
"""

from __future__ import annotations

import asyncio
import gc
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from benchmarks.fleet.light_agents import LightAgent, commands, say
from benchmarks.policy.memory_cluster import MemoryCluster

from atoll.edge.enrolment import EnrolmentSettings
from atoll.edge.member.desired import POLICYSETS
from atoll.edge.member.objects import Kind, ObjectRef
from atoll.edge.member.policies import WHOLE_SET_SECONDS, PolicyController
from atoll.edge.member.policy_objects import PolicyObjects
from atoll.edge.member.policy_pass import heal_key
from atoll.edge.member.records import DriftsRecord, PolicyRecord, Records
from atoll.edge.member.shelf import Shelf
from atoll.edge.member.work import Worker
from atoll.federation.bus.messages import Message, PolicyReport

NEW = "new-"


class _Reports:
    """The agent's reports, which also tells when a set is held whole."""

    def __init__(self, agent: PolicyAgent) -> None:
        self._agent = agent

    def report(self, key: str, message: Message) -> None:
        self._agent.reporter.report(key, message)
        if isinstance(message, PolicyReport) and message.phase == "Applied":
            say("holds", name=self._agent.name, objects=message.objects, commit=message.commit)

    def forget(self, key: str) -> None:
        self._agent.reporter.forget(key)


class PolicyAgent(LightAgent):
    """One agent with a cluster in memory."""

    def __init__(self, name: str, folder: Path, settings: EnrolmentSettings) -> None:
        """Hold nothing yet."""
        super().__init__(name, folder, settings)
        self.name = name
        cluster: Any = MemoryCluster(self._note)
        self._objects = PolicyObjects(cluster)
        self._controller = PolicyController(
            self._objects,
            self.orders,
            records=Records(Shelf(folder / "policysets"), PolicyRecord),
            drifts=Records(Shelf(folder / "drifts"), DriftsRecord),
            reports=_Reports(self),
            now=lambda: datetime.now(UTC),
        )

    def _note(self, ref: ObjectRef) -> None:
        if ref.name.startswith(NEW):
            say("applied", name=self.name, object=ref.name)

    async def hold(self) -> None:
        """Hold what is ordered, for ever, as the real agent does (edge/member/wiring/policies.py)."""
        worker = Worker("policies", self._controller.reconcile)
        heals = Worker("policy heals", self._controller.heal)
        self.orders.on_change(POLICYSETS, worker.add)
        self._controller.on_handover(worker.add)

        def on_object(kind: Kind, key: str) -> None:
            if owner := self._controller.owner_of(kind, key):
                heals.add(heal_key(kind, key))
                worker.add(owner, within_seconds=WHOLE_SET_SECONDS)

        self._objects.on_change(on_object)
        async with asyncio.TaskGroup() as group:
            for part in (worker.run(), heals.run(), self._objects.run()):
                group.create_task(part)


async def obey(hub_url: str, hub_ca: Path, folder: Path) -> None:
    """Do what standard input says, until it ends."""
    gc.set_threshold(50_000, 20, 50)  # as the agent's own process
    say("ready")
    async with asyncio.TaskGroup() as group:
        async for command in commands():
            home = folder / command["join"]
            home.mkdir(parents=True)
            (home / "token").write_text(command["token"])
            settings = EnrolmentSettings("", hub_url, hub_ca, home / "token")
            agent = PolicyAgent(command["join"], home, settings)
            group.create_task(agent.run())
            group.create_task(agent.hold())
        raise SystemExit  # ends the agents, too


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(obey(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
