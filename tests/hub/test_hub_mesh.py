"""What the hub writes of the mesh into a cluster's status: dated by what it can believe, bounded, without a guess."""

from datetime import UTC, datetime, timedelta

import pytest

from atoll.federation.bus.inventory_messages import NetworkReport
from atoll.federation.bus.mesh_messages import MeshServicesReport
from atoll.federation.bus.messages import MeshReport
from atoll.federation.resources import MeshFacts, MeshLink, MeshService
from atoll.hub.controllers.meshes import MAX_CIDRS, MeshEvidence, facts_of, links_of, with_mesh_condition

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FACTS = MeshFacts(name="a", id=1, expected_peers=("b",))


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def link(proven: datetime | None, **fields: object) -> MeshLink:
    return MeshLink(peer="b", is_connected=True, is_ready=True, last_proven_at=proven, seen_at=proven, **fields)


# narrative: when the agent says it last saw the link ready, what the report proves → the dates in the status
DATES: dict[str, tuple[datetime | None, datetime | None, datetime | None, datetime | None]] = {
    "clocks agree": (ago(5), ago(4), ago(5), ago(4)),
    "the agent's clock is ahead": (NOW + timedelta(hours=1), ago(4), ago(4), ago(4)),
    "it was never ready": (None, ago(4), None, ago(4)),
    "the report proves nothing": (ago(5), None, None, None),
}


@pytest.mark.parametrize("narrative", DATES)
def test_a_link_is_dated_no_later_than_its_report_can_be_believed_where(narrative: str) -> None:
    """A clock that is ahead makes no old proof new, and what cannot be dated proves nothing."""
    said, believed, proven, seen = DATES[narrative]
    (found,) = links_of(MeshEvidence(MeshReport(links=(link(said),), at=NOW), believed))
    assert (found.last_proven_at, found.seen_at) == (proven, seen)


def test_what_an_agent_told_in_several_reports_stands_together() -> None:
    """Settings, addresses and services come by themselves and are one status."""
    service = MeshService(namespace="lab", name="db", is_global=True, endpoints=2)
    facts = facts_of(
        MeshEvidence(
            MeshReport(facts=FACTS, message="no socket", at=NOW),
            ago(3),
            NetworkReport(pod_cidrs=("10.1.0.0/16",), node_cidrs=("172.31.1.0/24",), at=NOW),
            MeshServicesReport(services=(service,), omitted=4, at=NOW),
        )
    )
    assert facts is not None
    assert (facts.name, facts.id, facts.message, facts.seen_at) == ("a", 1, "no socket", ago(3))
    assert (facts.pod_cidrs, facts.node_cidrs) == (("10.1.0.0/16",), ("172.31.1.0/24",))
    assert (facts.services, facts.omitted_services) == ((service,), 4)


def test_a_cluster_that_told_nothing_of_a_mesh_has_none() -> None:
    """Addresses alone make no member, and an empty list of services neither."""
    network = NetworkReport(pod_cidrs=("10.1.0.0/16",), at=NOW)
    assert facts_of(MeshEvidence(network=network)) is None
    assert facts_of(MeshEvidence(services=MeshServicesReport(at=NOW))) is None
    assert links_of(MeshEvidence()) == ()


def test_exports_without_cilium_are_told() -> None:
    """The multi-cluster services API is not Cilium's alone."""
    exported = MeshService(namespace="lab", name="db", is_exported=True)
    facts = facts_of(MeshEvidence(services=MeshServicesReport(services=(exported,), at=NOW)))
    assert facts is not None
    assert facts.services == (exported,)


def test_networks_too_many_for_a_status_are_counted() -> None:
    """Five thousand nodes without a common network keep the status readable, and the rest is not denied."""
    nodes = tuple(f"10.{number // 250}.{number % 250}.1/32" for number in range(5000))
    facts = facts_of(MeshEvidence(MeshReport(at=NOW), NOW, NetworkReport(node_cidrs=nodes, at=NOW)))
    assert facts is not None
    assert facts.node_cidrs == nodes[:MAX_CIDRS]
    assert facts.omitted_cidrs == 5000 - MAX_CIDRS


# narrative: links, whether the cluster is lost → status, reason and message of the condition
CONDITIONS: dict[str, tuple[tuple[MeshLink, ...], bool, tuple[str, str, str]]] = {
    "all ready": ((link(NOW),), False, ("True", "AllLinksReady", "1 of 1 links are ready")),
    "one down": ((link(NOW), MeshLink(peer="c")), False, ("False", "LinksDown", "no link to c")),
    "ready on a cache only": (
        (link(NOW, cache_problem="no leader"),), False, ("False", "CacheOnly", "only an old cache of b"),
    ),
    "both": (
        (link(NOW, cache_problem="no leader"), MeshLink(peer="c")), False,
        ("False", "LinksDown", "no link to c; only an old cache of b"),
    ),
    "lost": (
        (link(NOW),),
        True,
        ("Unknown", "HeartbeatStale", "when the cluster was last heard: 1 of 1 links are ready"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("narrative", CONDITIONS)
def test_the_condition_says_whether_every_link_can_be_counted_on_when(narrative: str) -> None:
    """Ready on an old cache is not ready, and a lost cluster's links are not known."""
    links, is_lost, expected = CONDITIONS[narrative]
    (found,) = with_mesh_condition((), MeshEvidence(MeshReport(links=links, at=NOW), NOW), NOW, is_lost=is_lost)
    assert (found.status, found.reason, found.message) == expected


def test_a_cluster_that_left_the_mesh_has_no_condition_of_it() -> None:
    """Without links there is nothing to say."""
    well = MeshEvidence(MeshReport(links=(link(NOW),), facts=FACTS, at=NOW), NOW)
    left = MeshEvidence(MeshReport(facts=MeshFacts(name="a"), message="Cluster Mesh is not enabled", at=NOW), NOW)
    before = with_mesh_condition((), well, NOW, is_lost=False)
    assert before
    assert with_mesh_condition(before, left, NOW, is_lost=False) == ()


def test_links_of_a_cluster_whose_cilium_cannot_be_asked_are_not_known() -> None:
    """It is in the mesh, and nobody saw its links: neither ready nor broken, with the reason."""
    unseen = MeshEvidence(MeshReport(facts=FACTS, message="did not answer within 10 s", at=NOW), NOW)
    (found,) = with_mesh_condition((), unseen, NOW, is_lost=False)
    assert (found.status, found.reason, found.message) == ("Unknown", "AgentsNotSeen", "did not answer within 10 s")
