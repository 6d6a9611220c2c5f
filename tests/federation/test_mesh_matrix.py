"""The link matrix: both sides put together, asymmetry, outsiders, rates, old views; and shared services."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.mesh import (
    LinkState,
    Member,
    Rate,
    link,
    matrix,
    measured_rates,
    shared_services,
)
from atoll.federation.placement.links import Links
from atoll.federation.placement.views import view_of_cluster
from atoll.federation.resources import Cluster, MeshLink, MeshService, Transfer
from federation.mesh_worlds import NOW, ago, down, facts, mesh, ready


def test_a_link_that_both_sides_see_down_is_down_however_long_ago_it_was_ready() -> None:
    """The views are fresh, only the last proof is old: that is known, not stale."""
    judged = link(("a", down("b")), ("b", down("a")), now=NOW)
    assert (judged.state, judged.proven_at) == (LinkState.DOWN, ago(600))


def test_a_link_that_one_side_has_not_looked_at_for_long_is_stale() -> None:
    """Nothing is ready on the word of a cluster that fell silent."""
    judged = link(("a", ready("b")), ("b", ready("a", seen_at=ago(400), last_proven_at=ago(400))), now=NOW)
    assert judged.state is LinkState.STALE
    assert "400 s ago" in judged.message


def test_a_link_that_is_ready_on_an_old_cache_only_is_stale() -> None:
    """Agents read KVStoreMesh's cache; if that is cut off, the link cannot be counted on."""
    judged = link(("a", ready("b", cache_problem="no leader")), ("b", ready("a")), now=NOW)
    assert (judged.state, judged.is_usable) == (LinkState.STALE, False)
    assert "a is ready on KVStoreMesh's old cache only: no leader" in judged.message


def test_a_link_over_which_no_node_answers_is_down_though_agents_are_ready() -> None:
    """An agent is ready on what it once read; probes that all fail say more, and half of them failing do not."""
    cut = ready("b", probed_nodes=3, unreachable_nodes=3)
    judged = link(("a", cut), ("b", ready("a", probed_nodes=2, unreachable_nodes=1)), now=NOW)
    assert (judged.state, judged.is_usable) == (LinkState.DOWN, False)
    assert judged.message == "a is ready, but no node of b answers its health probes"
    both = link(("a", cut), ("b", ready("a", cache_problem="no leader")), now=NOW)
    assert (both.state, both.message.count(";")) == (LinkState.DOWN, 1)


def test_a_whole_mesh_has_every_link_once() -> None:
    """Eight clusters make 28 links, all ready."""
    whole = matrix(mesh(8), now=NOW)
    assert (len(whole.pairs), whole.broken, whole.outsiders) == (28, (), ())
    assert len(list(whole.directions())) == 56


def test_an_asymmetric_link_is_named_with_who_reaches_whom() -> None:
    """One direction is up, the other is not, and the pair says which."""
    one, other = mesh(2)
    whole = matrix([one, replace(other, links=(down("a"),))], now=NOW)
    (pair,) = whole.broken
    assert pair.link.state is LinkState.ASYMMETRIC
    assert pair.link.message == "a reaches b, not the reverse: i/o timeout"


def test_a_peer_that_nobody_set_up_on_the_other_side_is_a_missing_link() -> None:
    """The side that lacks the peer stands in the matrix with nothing seen."""
    one, other = mesh(2, b={"expected_peers": ()})
    whole = matrix([one, replace(other, links=())], now=NOW)
    pair = whole.pair("b", "a")
    assert pair is not None
    assert pair.is_missing
    assert (pair.link.state, pair.back.view if pair.back else "?") == (LinkState.UNKNOWN, None)
    assert "b reported no link" in pair.link.message


def test_an_expected_peer_that_no_agent_lists_is_there() -> None:
    """What the Secret names and the agents do not know yet is expected, and not ready."""
    one, other = (replace(member, links=()) for member in mesh(2))
    whole = matrix([one, other], now=NOW)
    assert [pair.link.state for pair in whole.pairs.values()] == [LinkState.UNKNOWN]
    assert all(side.is_expected for side, _ in whole.directions())


def test_links_are_by_mesh_names_and_the_matrix_by_clusters() -> None:
    """A cluster that is called otherwise in the mesh is found under the name that its peers use."""
    one = Member("lab", "lab-mesh", 1, facts("lab-mesh", 1, ("cloud-mesh",)), (ready("cloud-mesh"),))
    other = Member("cloud", "cloud-mesh", 2, facts("cloud-mesh", 2, ("lab-mesh",)), (ready("lab-mesh"),))
    whole = matrix([one, other], now=NOW)
    assert list(whole.pairs) == [("cloud", "lab")]
    assert whole.broken == ()


def test_a_peer_outside_the_federation_is_shown_by_the_one_side_that_tells() -> None:
    """Nobody speaks for it: the link is what the member says, and only one direction of it is there."""
    (one,) = mesh(1, a={"expected_peers": ("partner",)})
    whole = matrix([replace(one, links=(ready("partner"),))], now=NOW)
    assert whole.outsiders == ("partner",)
    (pair,) = whole.pairs.values()
    assert (pair.link.state, pair.back, pair.is_missing) == (LinkState.READY, None, False)


def test_the_latency_of_a_pair_is_the_worse_side() -> None:
    """What hurts is told; a side that has none is passed over."""
    one, other = mesh(2)
    slow = [replace(one, links=(ready("b", latency_seconds=0.01),)), replace(other, links=(ready("a"),))]
    pair = matrix(slow, now=NOW).pair("a", "b")
    assert pair is not None
    assert pair.latency_seconds == 0.01


def test_a_link_to_a_cluster_that_is_not_heard_is_stale_at_once() -> None:
    """Its agent's last word was ready, seconds ago; it counts no more than the cluster itself does."""
    one, other = mesh(2)
    (pair,) = matrix([one, replace(other, lost_since=ago(40))], now=NOW).broken
    assert (pair.link.state, pair.link.message) == (LinkState.STALE, "b was last heard 40 s ago")


def test_a_link_that_the_cluster_that_is_heard_sees_down_is_down() -> None:
    """Half of the truth is fresh, and bad enough."""
    one, other = mesh(2)
    (pair,) = matrix([replace(one, links=(down("b"),)), replace(other, lost_since=ago(40))], now=NOW).broken
    assert (pair.link.state, pair.link.message) == (LinkState.DOWN, "b was last heard 40 s ago; i/o timeout")


views = st.builds(
    lambda connected, ready_, age, cache: MeshLink(
        peer="x", is_connected=connected, is_ready=connected and ready_, seen_at=ago(age), last_proven_at=ago(age),
        cache_problem=cache,
    ),
    st.booleans(), st.booleans(), st.integers(0, 600), st.sampled_from(["", "cut"]),
)  # fmt: skip


@given(st.dictionaries(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), views), st.randoms())
def test_the_matrix_is_symmetric_and_does_not_depend_on_order(
    seen: dict[tuple[str, str], MeshLink], chance: Any
) -> None:
    """Whoever is asked first, a link has one state; ready means that both sides said so just now."""
    members = [
        Member(name, name, number, links=tuple(
            view.model_copy(update={"peer": peer}) for (near, peer), view in seen.items() if near == name != peer
        ))
        for number, name in enumerate("abcd", start=1)
    ]  # fmt: skip
    whole = matrix(members, now=NOW)
    chance.shuffle(members)
    assert matrix(members, now=NOW) == whole
    for (one, other), pair in whole.pairs.items():
        assert one < other
        assert whole.pair(one, other) is whole.pair(other, one) is pair
        sides = [seen.get((one, other)), seen.get((other, one))] if other != "e" else [seen[one, other]]
        is_good = all(
            side is not None
            and side.is_ready
            and not side.cache_problem
            and NOW - (side.seen_at or NOW) <= ago(0) - ago(300)
            for side in sides
        )
        assert (pair.link.state is LinkState.READY) == is_good


# --- rates


def transfer(name: str, rate: float, *, finished: datetime | None, copied: int = 10**9, **status: Any) -> Transfer:
    spec = {"dataset": "d", "version": 1, "source": "a", "destination": "b"}
    given = {"phase": "Succeeded" if finished else "Copying", "bytesPerSecond": rate, "copiedBytes": copied,
             "startedAt": ago(900), "finishedAt": finished, **status}  # fmt: skip
    return Transfer.model_validate({"metadata": {"name": name, "namespace": "n"}, "spec": spec, "status": given})


RATES: dict[str, tuple[list[Transfer], dict[tuple[str, str], Rate]]] = {
    "none": ([], {}),
    "the newest counts": (
        [transfer("x", 7.0, finished=ago(10)), transfer("y", 5.0, finished=ago(500))], {("a", "b"): Rate(7.0, ago(10))},
    ),
    "one under way is newer than all": (
        [transfer("x", 3.0, finished=None), transfer("y", 5.0, finished=ago(1))], {("a", "b"): Rate(3.0, ago(900))},
    ),
    "a small one tells nothing": ([transfer("x", 7.0, finished=ago(10), copied=1000)], {}),
    "a failed one tells nothing": ([transfer("x", 7.0, finished=ago(10), phase="Failed")], {}),
}  # fmt: skip


@pytest.mark.parametrize("narrative", RATES)
def test_rates_are_what_the_newest_telling_transfer_measured(narrative: str) -> None:
    """By source and destination; the way back is another one."""
    transfers, expected = RATES[narrative]
    assert measured_rates(transfers) == expected
    assert measured_rates(reversed(transfers)) == expected


# --- shared services


def offering(name: str, endpoints: int | None, **fields: Any) -> Member:
    """A member with so many endpoints of one service; None: it does not have the service."""
    number = ord(name) - ord("a") + 1
    service = MeshService(namespace="lab", name="db", is_global=True, endpoints=endpoints or 0, **fields)
    told = (service,) if endpoints is not None else ()
    return Member(name, name, number, facts(name, number, services=told))


# narrative: endpoints by cluster → state, and a word of the message
SERVICES: dict[str, tuple[list[Member], str, str]] = {
    "everybody serves": ([offering("a", 2), offering("b", 1)], "Served", ""),
    "one's endpoints vanished": ([offering("a", 2), offering("b", 0)], "FailedOver", "no endpoint in b: served by a"),
    "all vanished": ([offering("a", 0), offering("b", 0)], "Down", "no cluster has an endpoint"),
    "the other one keeps its own": (
        [offering("a", 2, is_shared=False), offering("b", 0)], "Partial", "no other cluster shares",
    ),
    "a cluster without the service does not count": ([offering("a", 2), offering("b", None)], "Served", ""),
    "an export that does not hold": (
        [offering("a", 1, problem="conflicting ports"), offering("b", 1)], "Served", "a: conflicting ports",
    ),
}  # fmt: skip


@pytest.mark.parametrize("narrative", SERVICES)
def test_a_shared_service_says_who_serves(narrative: str) -> None:
    """Endpoints of all clusters add up to what callers find."""
    members, state, words = SERVICES[narrative]
    (service,) = shared_services(members, now=NOW)
    assert str(service.state) == state
    assert words in service.message
    assert bool(service.message) == bool(words)


def test_what_a_silent_cluster_last_told_of_its_endpoints_is_marked() -> None:
    """Its endpoints are shown as they were, and who reads them is told that they may be gone."""
    silent = offering("b", 3)
    silent = replace(silent, facts=silent.facts.model_copy(update={"seen_at": ago(900)}))
    (service,) = shared_services([offering("a", 1), silent], now=NOW)
    assert [place.is_stale for place in service.places] == [False, True]
    assert "b was not heard of late" in service.message


def test_placement_finds_links_of_clusters_that_are_called_otherwise_in_the_mesh() -> None:
    """Links are by mesh names; work is placed by the federation's."""
    clusters = [
        Cluster.model_validate(
            {
                "metadata": {"name": name},
                "spec": {"mesh": {"id": number, "name": f"{name}-mesh"}},
                "status": {"links": [ready(f"{peer}-mesh").wire()], "phase": "Ready"},
            }
        )
        for number, (name, peer) in enumerate((("lab", "cloud"), ("cloud", "lab")), start=1)
    ]
    links = Links.of([view_of_cluster(cluster) for cluster in clusters], NOW)
    assert links.between("lab", "cloud").is_usable
