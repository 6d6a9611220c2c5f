"""Reports of policy sets with proof and what widens them: news is told at once, mere ages of proof seldom.

Owns that a proof is told only of the commit that it is of, and only while the set stands as ordered.
"""

from datetime import datetime, timedelta
from typing import Protocol

from atoll.edge.member.proof.drops import gist_of
from atoll.edge.member.proof.summary import lowered
from atoll.federation.bus.messages import Message, PolicyReport
from atoll.federation.resources.policyset_proof import PolicyProof, PolicyTraffic, RungTimes

# How old the ages that the hub knows may be. Sooner, and a thousand clusters write as often as they look.
_PATIENCE = timedelta(seconds=60)


class Outlet(Protocol):
    """Where reports go."""

    def report(self, key: str, message: Message) -> None:
        """Take a report."""
        ...

    def forget(self, key: str) -> None:
        """Withdraw a report."""
        ...


class ProvenReports:
    """Joins what is held of each set with what is proven of it."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._held: dict[str, PolicyReport] = {}
        self._proofs: dict[str, tuple[str, PolicyProof]] = {}
        self._traffic: dict[str, PolicyTraffic | None] = {}
        self._widened: dict[str, tuple[str, ...]] = {}
        self._told: dict[str, tuple[object, datetime]] = {}

    def report(self, key: str, message: Message) -> None:
        """Take what is held of a set."""
        if isinstance(message, PolicyReport):
            self._held[key] = message
            self._tell(key, message.at, is_urgent=True)
        else:
            self._outlet.report(key, message)

    def forget(self, key: str) -> None:
        """Withdraw what was told of a set."""
        for known in (self._held, self._proofs, self._traffic, self._widened, self._told):
            known.pop(key, None)
        self._outlet.forget(key)

    def prove(
        self, key: str, commit: str, proof: PolicyProof, at: datetime, *, traffic: PolicyTraffic | None = None
    ) -> None:
        """Take what is proven of a set, and what policies drop since its commit is there."""
        self._proofs[key], self._traffic[key] = (commit, proof), traffic
        self._tell(key, at, is_urgent=False)

    def widen(self, key: str, widened_by: tuple[str, ...], at: datetime) -> None:
        """Take which policies beside a set's may allow what it closes."""
        if self._widened.get(key, ()) != widened_by:
            self._widened[key] = widened_by
            self._tell(key, at, is_urgent=True)

    def proven_at(self, key: str, commit: str) -> RungTimes:
        """Give when each rung of a commit was proven last."""
        known, proof = self._proofs.get(key, ("", PolicyProof()))
        return proof.proven_at if known == commit else RungTimes()

    def _tell(self, key: str, at: datetime, *, is_urgent: bool) -> None:
        held = self._held.get(key)
        if held is None:
            return
        proof = self._proof(key, held)
        traffic = self._traffic.get(key) if proof is not None else None
        gist = (
            proof.model_dump(exclude={"proven_at", "last_observed_at"}) if proof is not None else None,
            gist_of(traffic),
        )
        told = self._told.get(key)
        if not is_urgent and told is not None and told[0] == gist and at - told[1] < _PATIENCE:
            return
        self._told[key] = (gist, at)
        news = {"proof": proof, "traffic": traffic, "widened_by": self._widened.get(key, ()), "at": at}
        self._outlet.report(key, held.model_copy(update=news))

    def _proof(self, key: str, held: PolicyReport) -> PolicyProof | None:
        commit, proof = self._proofs.get(key, ("", None))
        if proof is None or commit != held.commit:
            return None
        return proof if held.phase == "Applied" else lowered(proof, held.message or "it was changed by hand")
