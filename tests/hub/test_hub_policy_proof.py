"""What the hub makes of proof: waves that ask for a rung, rows that keep times, and when a set is called uniform."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.federation.bus.messages import PolicyOrder, PolicyReport
from atoll.federation.resources import Cluster, ClusterPolicyStatus
from atoll.federation.resources.policyset_proof import PolicyProof, RungTimes
from atoll.federation.resources.policyset_rollout import RolloutSpec, RolloutStatus
from atoll.hub.controllers.policy_plan import ClusterView, is_uniform, plan_cluster
from atoll.hub.controllers.policy_rollout import Candidate, Place, next_step

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=5)
OLD, NEW = "a" * 40, "b" * 40


def row(cluster: str, rung: Any = None, *, commit: str = NEW, phase: Any = "Applied") -> ClusterPolicyStatus:
    proof = PolicyProof(rung=rung, reason="n2: lab/web-0 has not realized it", nodes=2, realized_nodes=1)
    return ClusterPolicyStatus(cluster=cluster, commit=commit, phase=phase, proof=proof if rung else None)


def rolled(rung: Any, *, proof: str, minutes: float = 1) -> RolloutStatus:
    """The status of a rollout whose canary has proven a rung, some minutes after the wave began."""
    wave = {"name": "canary", "clusters": {"matchLabels": {"wave": "canary"}}, "proof": proof}
    spec = RolloutSpec.model_validate({"waves": [wave], "stallAfter": "5m"})
    began = RolloutStatus(commit=NEW, good=OLD, phase="Rolling", wave_began_at=NOW)
    places = [
        Place("can", {"wave": "canary"}, EARLIER, row("can", rung)),
        Place("far", {}, EARLIER, row("far", commit=OLD)),
    ]
    return next_step(spec, began, Candidate(NEW), places, now=NOW + timedelta(minutes=minutes)).status


@pytest.mark.parametrize(
    ("rung", "proof", "goes_on"),
    [
        (None, "Applied", True),
        ("Applied", "Applied", True),
        ("Applied", "Valid", False),
        ("Valid", "Valid", True),
        (None, "Realized", False),
        ("Valid", "Realized", False),
        ("Realized", "Realized", True),
        ("Resolved", "Realized", True),
    ],
)
def test_the_next_wave_begins_when_the_one_before_has_proven_the_rung_it_asks_for(
    rung: Any, proof: str, goes_on: bool
) -> None:
    """An agent that has proven nothing holds a commit only where nothing more is asked for."""
    status = rolled(rung, proof=proof)
    assert (status.wave_name == "rest") == goes_on
    if not goes_on:
        assert status.message.startswith("wave canary waits for can to ")


def test_a_canary_that_does_not_realize_a_commit_in_time_takes_it_back_and_says_why() -> None:
    """The node and the endpoint that did not follow stand in the reason of the rollback."""
    status = rolled("Valid", proof="Realized", minutes=6)
    assert (status.phase, status.reason) == ("RolledBack", "RealizationStalled")
    assert (status.refused, status.commit) == (NEW, OLD)
    assert "can does not hold it within 5m: Valid: n2: lab/web-0 has not realized it" in status.message


UNIFORM: dict[str, tuple[list[ClusterPolicyStatus], bool]] = {
    "all on one rung": ([row("a", "Realized"), row("b", "Realized")], True),
    "one rung lower": ([row("a", "Realized"), row("b", "Valid")], False),
    "one commit behind": ([row("a", "Realized"), row("b", "Realized", commit=OLD)], False),
    "one that is silent": ([row("a", "Realized"), row("b", "Realized", phase="Unreachable")], False),
    "one that has proven nothing": ([row("a", "Applied"), row("b")], False),
    "none that has proven anything": ([row("a"), row("b")], False),
    "no cluster at all": ([], False),
}


@pytest.mark.parametrize("what", UNIFORM)
def test_uniform_is_said_only_of_one_commit_and_one_rung_everywhere(what: str) -> None:
    """Whatever is not known is not the same."""
    rows, expected = UNIFORM[what]
    assert is_uniform(rows, NEW) is expected


def planned(old: ClusterPolicyStatus | None, proof: PolicyProof | None, *, commit: str = NEW) -> ClusterPolicyStatus:
    report = PolicyReport(name="base", commit=commit, phase="Applied", proof=proof, at=NOW)
    cluster = Cluster.model_validate({"metadata": {"name": "can"}, "spec": {}, "status": {"phase": "Ready"}})
    return plan_cluster(ClusterView(cluster, PolicyOrder(name="base", commit=commit, manifests=()), (), report, old))


def test_an_agent_that_began_anew_does_not_take_the_time_of_the_last_proof_away() -> None:
    """The rung is what is proven now; when it was higher stays known, of the same commit only."""
    known = PolicyProof(rung="Realized", proven_at=RungTimes(applied=EARLIER, valid=EARLIER, realized=EARLIER))
    old = row("can").model_copy(update={"proof": known})
    fresh = PolicyProof(rung="Applied", proven_at=RungTimes(applied=NOW))
    again = planned(old, fresh).proof
    assert again is not None
    assert (again.rung, again.proven_at) == ("Applied", RungTimes(applied=NOW, valid=EARLIER, realized=EARLIER))
    other = planned(old, fresh, commit="c" * 40).proof
    assert other is not None and other.proven_at == RungTimes(applied=NOW)


def test_an_older_agent_reports_no_proof_and_none_is_invented() -> None:
    """Its row is Applied, as before, with no rung."""
    written = planned(None, None)
    assert (written.phase, written.proof) == ("Applied", None)
