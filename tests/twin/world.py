"""A whole federation in one process on virtual time: two hubs, NATS, clusters with their agents, and who submits work.

Owns the composition of one history and its course: begin, work, faults, heal, settle. What must have held is judged in
invariants.py, by what the world notes here: what truly ran, what was stored, what the hub acknowledged.
"""

import asyncio
import gc
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import orjson

from twin import shims
from twin.api_server import Response, called
from twin.faults import Breaker
from twin.git import REPOSITORY, SET, Repository, bundles, names_at, port_of
from twin.jetstream import Stored
from twin.machine import Machine, VirtualClock, VirtualLoop
from twin.member import Member
from twin.nats_client import TwinClient
from twin.nats_server import Server
from twin.network import Network
from twin.policies import FOREIGN
from twin.programs import Program, agent_program, hub_program, install
from twin.story import BEGIN, CLUSTERS, HUBS, Story, Work

API = "/apis/atoll.dev/v1alpha1"
_ANSWER_SECONDS = 8.0
# How long all may take to be as it should once nothing goes wrong any more: backoffs, a fence and a whole attempt.
SETTLE_SECONDS = 400.0
_ENDED = ("Succeeded", "Failed", "Cancelled")


@dataclass
class Journal:
    """Everything that NATS stored, in order, and a digest of it by which two histories are told apart."""

    entries: list[tuple[str, Stored]] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)

    def note(self, stream: str, stored: Stored) -> None:
        self.entries.append((stream, stored))
        self.digest.update(repr((stored.sequence, stored.subject, stored.payload, stored.stored_at)).encode())


class World:
    """One history."""

    def __init__(self, story: Story, folder: Path) -> None:
        self.story, self.folder = story, folder
        self.clock = VirtualClock()
        self.chance = Random(f"world {story.seed}")
        self.loop = VirtualLoop(self.clock, self.chance)
        self.journal = Journal()
        self.acknowledged: dict[str, float] = {}
        self.is_settled = False
        self.repository = Repository()

    def live(self) -> "World":
        """Let it happen."""
        bundles()  # in real time, once
        shims.begin(self.clock, self.story.seed)
        asyncio.set_event_loop(self.loop)
        gc.disable()  # generators that it finds in cycles are closed by tasks: when depends on all that ran before
        try:
            install(self.clock, self.repository)
            self.loop.run_until_complete(self._course())
        finally:
            try:
                self.loop.end([process for program in self.programs for process in program.lives])
            finally:
                asyncio.set_event_loop(None)
                shims.end()
                gc.enable()
        return self

    def _machine(self, name: str) -> Machine:
        return Machine(name, self.story.rates.get(name, 1.0), self.story.skews.get(name, 0.0))

    async def _course(self) -> None:
        await self._begin()
        breaker = Breaker(self)
        tasks = [asyncio.create_task(self._submit(work)) for work in self.story.work]
        tasks += [asyncio.create_task(self._commit(at)) for at in self.story.commits]
        tasks += [asyncio.create_task(breaker.let_happen(fault)) for fault in self.story.faults]
        await asyncio.gather(*tasks)
        await self._settle()

    async def _begin(self) -> None:
        self.programs: list[Program] = []
        self.network = Network(self.loop, self.chance)
        self.server = Server(self.loop, self.chance, self.journal.note)
        TwinClient.network, TwinClient.server = self.network, self.server
        self.members = {
            name: Member(self._machine(name), number, self.clock, self.chance)
            for number, name in enumerate(CLUSTERS, 1)
        }
        for member in self.members.values():
            await member.process.start(member.seed())
            member.process.start(member.run())
        self.programs = [hub_program(name, self._machine(name), self.folder, self.clock) for name in HUBS]
        self.programs += [
            agent_program(member, self._machine(f"agent {name}"), self.folder, self.chance)
            for name, member in self.members.items()
        ]
        for program in self.programs:
            program.start()
        self.by_name = {program.name: program for program in self.programs}
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

    async def _settle(self) -> None:
        """Wait until all is as it should be, but not for ever."""
        end = self.clock.now + SETTLE_SECONDS
        while self.clock.now < end and not self.is_settled:
            await asyncio.sleep(2)
            self.is_settled = self._is_done()
        await asyncio.sleep(5)  # what is done wrongly at the end is done now

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
