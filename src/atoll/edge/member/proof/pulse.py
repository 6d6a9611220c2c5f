"""Proves what the agent holds, again and again: asks nodes in turn, judges all sets, and tells.

Owns when nodes are asked and how long an answer counts. Asked is nobody while no set stands or where no agent can be.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from atoll.edge.member.cilium import SHORTEST_POLL_SECONDS
from atoll.edge.member.objects import ObjectRef
from atoll.edge.member.proof.drops import DropMeter
from atoll.edge.member.proof.ladder import Claim, Live, Memory, NodeLook, Scene, judge
from atoll.edge.member.proof.meaning import Meaning, meaning_of
from atoll.edge.member.proof.observing import Applied, Observed
from atoll.edge.member.proof.reading import Mark
from atoll.edge.member.proof.reports import ProvenReports
from atoll.edge.member.proof.sources import Answers, ProofSource
from atoll.edge.member.proof.standing import Standing, Writes
from atoll.edge.member.proof.summary import is_at_top, lowered, summed_up
from atoll.federation.resources.policyset_proof import PolicyProof, PolicyTraffic
from atoll.policies.manifest import Manifest

# Between looks once everything is proven: what is enforced then is looked after, not waited for.
_RESTING_SECONDS = 30.0
# An object that was just written is seen by its watch, and checked by Cilium's operator, about so soon.
_BREATH_SECONDS = 0.5
# A node whose answer is older proves nothing: three turns in which it could have answered anew, and no less than this.
_TURNS, _SHORTEST_TRUST_SECONDS = 3, 90.0
# A rate over less is that of one burst.
LEAST_MEASURED = timedelta(seconds=10)
BLIND = "the agent was given neither a Cilium socket nor leave to run commands in Cilium's pods"


@dataclass(frozen=True)
class Cluster:
    """How the parts of an agent show its cluster to the proof."""

    scene: Callable[[], Scene]
    standings: Callable[[], Mapping[str, Standing]]
    live: Callable[[ObjectRef], Live | None]
    writes: Writes


class PolicyProofs:
    """Proof of all sets of one cluster."""

    def __init__(
        self, source: ProofSource | None, cluster: Cluster, reports: ProvenReports, *, now: Callable[[], datetime]
    ) -> None:
        """Prove what `cluster` holds; without a source nothing is proven above Valid."""
        self._source, self._cluster, self._reports, self._now = source, cluster, reports, now
        self._looks: dict[str, NodeLook] = {}
        self._problems: tuple[str, ...] = ()
        self._meanings: dict[int, tuple[Manifest, str, Meaning]] = {}
        self._memories: dict[str, Memory] = {}
        self._hubble, self._observed = "", Observed()
        self._drops, self._applied = DropMeter(), Applied()
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Judge anew soon: what is held has changed, or what is said of it."""
        self._news.set()

    async def run(self) -> None:
        """Prove until cancelled."""
        try:
            await self._run()
        finally:
            if self._source is not None:
                await self._source.close()

    async def _run(self) -> None:
        asked_at, is_done, loop = float("-inf"), False, asyncio.get_running_loop()
        while True:
            standings = self._cluster.standings()
            scene = self._cluster.scene()
            source = self._source if standings and scene.engine == "cilium" else None
            pause = self._pause_seconds(scene, is_done=is_done)
            if source is not None and loop.time() - asked_at >= SHORTEST_POLL_SECONDS:
                asked_at = loop.time()
                self._take(await source.ask())
            is_done = await self._prove(standings, scene)
            await self._rest(pause if is_done else SHORTEST_POLL_SECONDS)

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_BREATH_SECONDS)
        self._news.clear()

    def _take(self, answers: Answers) -> None:
        self._looks.update(answers.looks)
        self._problems, self._hubble = answers.problems, answers.hubble
        self._observed.take(verdict for look in answers.looks.values() for verdict in look.verdicts)
        for node, look in answers.looks.items():
            if look.drops is not None:
                self._drops.take(node, look.drops, self._now())

    def _pause_seconds(self, scene: Scene, *, is_done: bool) -> float:
        """Rest once all is proven, unless there are so many nodes that each would be asked too seldom."""
        is_small = self._source is None or len(scene.nodes) <= self._source.nodes_per_look
        return _RESTING_SECONDS if is_done and is_small else SHORTEST_POLL_SECONDS

    def _trust(self, scene: Scene) -> timedelta:
        """Give how long an answer counts: every node has its turn several times in it."""
        per_look = self._source.nodes_per_look if self._source is not None else 1
        turn = math.ceil(len(scene.nodes) / per_look) * SHORTEST_POLL_SECONDS
        return timedelta(seconds=max(_SHORTEST_TRUST_SECONDS, _TURNS * turn))

    async def _prove(self, standings: Mapping[str, Standing], scene: Scene) -> bool:
        """Judge and tell all sets; tell whether nothing is left to be proven."""
        now = self._now()
        scene = replace(scene, oldest=now - self._trust(scene))
        self._looks = {node: look for node, look in self._looks.items() if node in scene.nodes}
        manifests = {id(policy) for standing in standings.values() for policy in standing.policies}
        self._meanings = {key: known for key, known in self._meanings.items() if key in manifests}
        self._memories = {key: self._memories[key] for key in standings.keys() & self._memories.keys()}
        self._drops.keep(scene.nodes)
        proofs, marks = [], set[Mark]()
        for key, standing in standings.items():
            claims = [self._claim(policy, scene) for policy in standing.policies]
            marks |= {claim.mark for claim in claims}
            proof = await self._proof(key, standing, claims, scene)
            proofs.append(proof)
            self._reports.prove(key, standing.commit, proof, now, traffic=self._traffic(key, standing, scene))
        self._observed.keep(marks)
        return is_at_top(proofs)

    def _traffic(self, key: str, standing: Standing, scene: Scene) -> PolicyTraffic | None:
        """Compare what is dropped with what was before the commit; None where no node tells."""
        now = self._now()
        applied_at = self._applied.since(key, standing, now)
        traffic = self._drops.compare(applied_at, now, window=self._trust(scene), least=LEAST_MEASURED)
        return traffic if traffic.nodes else None

    async def _proof(self, key: str, standing: Standing, claims: Sequence[Claim], scene: Scene) -> PolicyProof:
        memory, now = self._memories.setdefault(key, {}), self._now()
        # Thousands of policies on hundreds of nodes take seconds, in which the agent has other things to hear.
        judgements = await asyncio.to_thread(judge, claims, dict(self._looks), scene, memory)
        before = self._reports.proven_at(key, standing.commit)
        proof = summed_up(claims, judgements, nodes=len(scene.nodes), before=before, now=now)
        if scene.engine == "cilium":
            proof = proof.model_copy(update={"hubble": self._hubble if self._source is not None else BLIND})
        if standing.why_not:
            return lowered(proof.model_copy(update={"proven_at": before}), standing.why_not)
        if proof.rung == "Valid" and scene.engine == "cilium":
            return proof.model_copy(update={"reason": self._reason(proof)})
        return proof

    def _reason(self, proof: PolicyProof) -> str:
        """Add to why a set is not realized why nodes could not be asked."""
        why = (BLIND,) if self._source is None else self._problems
        return "; ".join((proof.reason, *why[:1]))

    def _claim(self, policy: Manifest, scene: Scene) -> Claim:
        known = self._meanings.get(id(policy))
        if known is None or known[1] != scene.cluster:
            # The manifest is kept beside its meaning, so that its id() stays its own.
            known = self._meanings[id(policy)] = (policy, scene.cluster, meaning_of(policy, scene.cluster))
        ref, writes = ObjectRef.of(policy.body), self._cluster.writes
        live = self._cluster.live(ref)
        if live is not None and not writes.is_checked(ref, live.checked_at):
            live = Live(live.uid)
        claim = Claim(policy, known[2], live, writes.since(ref))
        return replace(claim, observed_at=self._observed.at(claim))
