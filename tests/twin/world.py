"""A whole federation in one process on virtual time: two hubs, NATS, clusters with their agents, and who submits work.

Owns the composition of such a history: what it begins with, work, and when it is settled. What must have held is judged
in invariants.py, by what the world notes here: what truly ran, what was stored, what the hub acknowledged.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import orjson

from twin.api_server import Response, called
from twin.faults import FederationBreaker
from twin.git import REPOSITORY, SET, Repository, bundles, names_at, port_of
from twin.history import History
from twin.member import Member
from twin.policies import FOREIGN
from twin.programs import agent_program, hub_program, install
from twin.story import BEGIN, CLUSTERS, HUBS, Story, Work

API = "/apis/atoll.dev/v1alpha1"
_ANSWER_SECONDS = 8.0
_ENDED = ("Succeeded", "Failed", "Cancelled")


class World(History):
    """One history of a federation."""

    def __init__(self, story: Story, folder: Path) -> None:
        super().__init__(story, folder)
        self.acknowledged: dict[str, float] = {}
        self.repository = Repository()

    def _prepare(self) -> None:
        bundles()
        install(self.repository)

    def _happenings(self) -> list[Coroutine[Any, Any, None]]:
        breaker = FederationBreaker(self)
        return [
            *(self._submit(work) for work in self.story.work),
            *(self._commit(at) for at in self.story.commits),
            *(breaker.let_happen(fault) for fault in self.story.faults),
        ]

    async def _begin(self) -> None:
        self.open_nats()
        self.members = {
            name: Member(self.machine(name), number, self.clock, self.chance) for number, name in enumerate(CLUSTERS, 1)
        }
        for member in self.members.values():
            await member.process.start(member.seed())
            member.process.start(member.run())
        hubs = [hub_program(name, self.machine(name), self.folder, self.clock) for name in HUBS]
        agents = [
            agent_program(member, self.machine(f"agent {name}"), self.folder, self.chance)
            for name, member in self.members.items()
        ]
        self.run([*hubs, *agents])
        await asyncio.sleep(2)
        for name in CLUSTERS:
            await self._create(f"{API}/clusters", {"kind": "Cluster", "metadata": {"name": name}, "spec": {}})
        await self._create(f"{API}/queues", {"kind": "Queue", "metadata": {"name": "lab"}, "spec": {}})
        source = {"repository": REPOSITORY, "interval": "5s"}
        await self._create(
            f"{API}/policysets", {"kind": "PolicySet", "metadata": {"name": SET}, "spec": {"source": source}}
        )
        assert self.clock.now < BEGIN, "the federation stands before work and faults begin"

    async def _submit(self, work: Work) -> None:
        await asyncio.sleep(work.at - self.clock.now)
        await self._create(f"{API}/namespaces/default/jobs", manifest(work))
        self.acknowledged[work.name] = self.clock.now

    async def _commit(self, at: float) -> None:
        await asyncio.sleep(at - self.clock.now)
        self.repository.head += 1

    async def _create(self, path: str, body: dict[str, Any]) -> None:
        """Ask the hubs by turns until one has said that it is there."""
        while True:
            hub = self.chance.choice(HUBS)
            try:
                status, answer = await self.ask(hub, "POST", path, {"apiVersion": "atoll.dev/v1alpha1", **body})
            except (OSError, TimeoutError):
                status, answer = 503, b""
            if status in (201, 409):
                return
            assert status >= 429, f"the hub refuses {body['kind']}: {answer!r}"
            await asyncio.sleep(0.5)

    async def ask(self, hub: str, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
        """Send one request to a hub; it may die over it.

        Raises:
            OSError: it is not there. TimeoutError: it does not answer.
        """
        program = self.by_name[hub]
        if program.hub is None or not program.process.is_alive:
            raise ConnectionRefusedError
        response, gone = Response(), asyncio.Event()
        headers = {"content-type": "application/json", "host": "twin"}
        request = (method, path, "", headers, orjson.dumps(body) if body is not None else b"")
        program.process.start(called(program.hub.app, request, response, gone))
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return (await response.began()), await response.read()
        finally:
            gone.set()

    def _is_done(self) -> bool:
        phases = [job.get("status", {}).get("phase") for job in self.stored("jobs").values()]
        is_quiet = all(one.ended is not None for member in self.members.values() for one in member.kubelet.executions)
        are_policies_held = all(self.holds_policies(member) for member in self.members.values())
        return (
            are_policies_held
            and is_quiet
            and len(phases) == len(self.story.work)
            and all(phase in _ENDED for phase in phases)
        )

    def holds_policies(self, member: Member) -> bool:
        """Tell whether a cluster holds exactly what the branch says, beside what is others'."""
        head = self.repository.head
        own = {name: port for name, port in member.policies.held.items() if name not in FOREIGN}
        return own == dict.fromkeys(names_at(head), port_of(head))

    def stored(self, plural: str) -> dict[str, dict[str, Any]]:
        """Give the hub's objects of a kind as they stand in NATS, by their names."""
        stream, prefix = self.server.streams.streams["STATE"], f"state.atoll_dev.{plural}."
        found = {}
        for subject, sequences in stream.by_subject.items():
            newest = stream.messages[sequences[-1]]
            if subject.startswith(prefix) and "Atoll-Deleted" not in newest.headers:
                found[subject.rpartition(".")[2].replace("_", ".")] = orjson.loads(newest.payload)
        return found


def manifest(work: Work) -> dict[str, Any]:
    """Give the Job that somebody submits."""
    container = {"name": "main", "image": "busybox", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
    notes = {"twin/work-seconds": f"{work.seconds:g}", "twin/grace-used": f"{work.grace_used:g}"}
    pods = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": work.grace_seconds,
        "containers": [container],
    }
    workload = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {"template": {"metadata": {"annotations": notes}, "spec": pods}},
    }
    return {
        "kind": "Job",
        "metadata": {"name": work.name, "namespace": "default"},
        "spec": {"queue": "lab", "lossPolicy": work.loss_policy, "workload": workload},
    }
