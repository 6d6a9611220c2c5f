"""What a monitor is told of a mesh: links by state, broken rules, shared services, and when certificates end."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.mesh import RULES, LinkState, Member, ServiceState, SideState, census, matrix, violations
from atoll.federation.resources import MeshCertificate, MeshLink, MeshService
from federation.mesh_worlds import NOW, YEAR, ago, down, mesh, ready

# narrative: how a sees b → the state that is counted
SIDES: dict[str, tuple[MeshLink, SideState]] = {
    "ready": (ready("b"), SideState.READY),
    "not synchronised yet": (ready("b", is_ready=False), SideState.CONNECTED),
    "down": (down("b"), SideState.FAILING),
    "ready, and no node answers": (ready("b", probed_nodes=2, unreachable_nodes=2), SideState.FAILING),
    "ready, and some nodes do not answer": (ready("b", probed_nodes=2, unreachable_nodes=1), SideState.READY),
    "ready on an old cache": (ready("b", cache_problem="no leader"), SideState.STALE),
    "ready six minutes ago": (ready("b", seen_at=ago(360)), SideState.STALE),
    "down six minutes ago": (down("b", seen_at=ago(360)), SideState.STALE),
    "configured, and no agent lists it": (
        MeshLink(peer="b", is_expected=True, agents_asked=3, seen_at=ago(5)), SideState.MISSING,
    ),
}  # fmt: skip


@pytest.mark.parametrize("narrative", SIDES)
def test_a_link_is_counted_for_the_cluster_that_sees_it_so(narrative: str) -> None:
    """The other end is counted by what it says itself."""
    view, state = SIDES[narrative]
    one, other = mesh(2)
    counted = census([replace(one, links=(view,)), other], now=NOW).sides
    expected = dict.fromkeys(SideState, 0) | {SideState.READY: 1}
    expected[state] += 1
    assert counted == expected


def test_nothing_of_a_cluster_that_is_not_heard_counts_as_ready() -> None:
    """All that it last said is stale, however young."""
    one, *others = mesh(4)
    counted = census([replace(one, lost_since=ago(1)), *others], now=NOW).sides
    assert (counted[SideState.STALE], counted[SideState.READY]) == (3, 9)


def test_a_peer_that_is_configured_and_never_seen_is_missing() -> None:
    """Its agents list nobody of that name."""
    one, other = mesh(2)
    assert census([replace(one, links=()), other], now=NOW).sides[SideState.MISSING] == 1


def test_every_rule_is_there_and_counts_its_violations() -> None:
    """A rule that holds is told as zero, so that a monitor knows it is checked."""
    counted = census(mesh(3, c={"id": 1}), now=NOW).violations
    assert tuple(counted) == RULES
    assert {rule: count for rule, count in counted.items() if count} == {"DuplicateId": 1}


def test_the_certificate_that_ends_first_is_told() -> None:
    """Of all clusters; nobody's is nothing."""
    first = MeshCertificate(name="x", expires_at=NOW + timedelta(days=2))
    assert census(mesh(3, b={"certificates": (first,)}), now=NOW).expires_at == first.expires_at
    assert census(mesh(1), now=NOW).expires_at == NOW + YEAR
    assert census([], now=NOW).expires_at is None


def test_services_are_counted_by_who_serves_them() -> None:
    """One that its own cluster serves, one that another does instead."""

    def served(name: str, endpoints: int) -> MeshService:
        return MeshService(namespace="lab", name=name, is_global=True, endpoints=endpoints)

    told: dict[str, Any] = {"a": {"services": (served("db", 1), served("web", 0))},
                            "b": {"services": (served("db", 1), served("web", 2))}}  # fmt: skip
    counted = census(mesh(2, **told), now=NOW).services
    assert {state for state, count in counted.items() if count} == {ServiceState.SERVED, ServiceState.FAILED_OVER}


@given(st.lists(st.sampled_from(sorted(SIDES)), min_size=2, max_size=2))
def test_all_sides_are_ready_exactly_if_no_link_is_broken(narratives: list[str]) -> None:
    """The counts and the matrix agree about a mesh that is well."""
    views = [SIDES[each][0] for each in narratives]
    members: list[Member] = [
        replace(member, links=(view.model_copy(update={"peer": peer}),))
        for member, view, peer in zip(mesh(2), views, ("b", "a"), strict=True)
    ]
    (pair,) = matrix(members, now=NOW).pairs.values()
    is_well = census(members, now=NOW).sides[SideState.READY] == 2
    assert is_well is (pair.link.state is LinkState.READY)


def test_no_violation_has_a_reason_that_is_not_among_the_rules() -> None:
    """Or a monitor would never hear of it."""
    from federation.test_mesh_rules import BROKEN

    found = {each.reason for changed, *_ in BROKEN.values() for each in violations(mesh(3, **changed), now=NOW)}
    elsewhere = {"NativeRoutingTooNarrow", "StaleCache", "WrongPeer", "NotInMesh", "NotAsDeclared", "InvalidName"}
    assert found | elsewhere == set(RULES)
