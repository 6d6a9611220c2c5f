"""The mesh's invariants: a mesh that keeps all of them, and one change for each that breaks it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.federation.mesh import Member, members_of, violations
from atoll.federation.resources import Cluster, MeshCertificate, MeshFacts, MeshLink
from federation.mesh_worlds import NOW, ago, down, facts, mesh, ready

SOON = MeshCertificate(name="clustermesh-apiserver-remote-cert", expires_at=NOW + timedelta(days=29))
OVER = MeshCertificate(name="clustermesh-apiserver-server-cert", expires_at=NOW - timedelta(days=1))

# narrative: what one or two clusters say otherwise → which rule is broken, by whom, and a word of what is told
BROKEN: dict[str, tuple[dict[str, dict[str, Any]], str, tuple[str, ...], str]] = {
    "an id used twice": ({"c": {"id": 1}}, "DuplicateId", ("a", "c"), "never connects"),
    "a name used twice": ({"c": {"name": "a"}}, "DuplicateName", ("a", "c"), "used twice"),
    "an id above the limit": ({"c": {"id": 300}}, "InvalidId", ("c",), "300 is not allowed"),
    "another limit": (
        {"c": {"max_connected_clusters": 511}},
        "MaxConnectedClustersDiffer", ("c",), "511 in c",
    ),
    "a limit that Cilium does not know": (
        {"c": {"max_connected_clusters": 300}},
        "InvalidMaxConnectedClusters", ("c",), "only 255 and 511",
    ),
    "another routing mode": (
        {"b": {"routing_mode": "native", "tunnel_protocol": ""}}, "RoutingModeDiffers", ("b",), "native in b",
    ),
    "another tunnel": ({"b": {"tunnel_protocol": "geneve"}}, "TunnelProtocolDiffers", ("b",), "geneve in b"),
    "other label filters": ({"b": {"label_filters": "k8s:app"}}, "LabelFiltersDiffer", ("b",), "k8s:app in b"),
    "another policy default": ({"b": {"default_local_cluster": False}}, "PolicyDefaultDiffers", ("b",), "false in b"),
    "a policy default that nobody knows": (
        {"b": {"default_local_cluster": None}}, "PolicyDefaultUnknown", ("b",), "not known",
    ),
    "pods in another's pods": (
        {"c": {"pod_cidrs": ("10.1.128.0/17",)}}, "PodCidrOverlap", ("a", "c"), "10.1.0.0/16 of a and pods 10.1.128.0",
    ),
    "pods over another's nodes": (
        {"c": {"pod_cidrs": ("172.31.1.0/24",)}}, "PodCidrOverlap", ("a", "c"), "nodes 172.31.1.0/28 of a",
    ),
    "a node's address used twice": (
        {"c": {"node_cidrs": ("172.31.1.7/32",)}}, "NodeAddressOverlap", ("a", "c"), "172.31.1.7/32 of c",
    ),
    "addresses of IPv6": (
        {"a": {"pod_cidrs": ("fd00::/48",)}, "b": {"pod_cidrs": ("fd00:0:0:1::/64",)}},
        "PodCidrOverlap", ("a", "b"), "fd00::/48",
    ),
    "another CA": ({"c": {"ca_fingerprints": ("cd" * 32,)}}, "CaNotShared", ("c",), "trust no CA in common"),
    "a certificate that ends soon": ({"b": {"certificates": (SOON,)}}, "CertificateExpires", ("b",), "ends on 2026-12"),
    "a certificate that has ended": (
        {"b": {"certificates": (SOON, OVER)}}, "CertificateExpired", ("b",), "ended on 2026-11-21",
    ),
    "a peer that does not know its peer": ({"b": {"expected_peers": ("c",)}}, "MissingReversePeer", ("b",), "a is"),
}  # fmt: skip


def told(members: list[Member]) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.reason, each.clusters) for each in violations(members, now=NOW)]


def test_a_mesh_in_which_all_agree_breaks_no_rule() -> None:
    """No rule cries without need, whatever the size."""
    for size in range(9):
        assert violations(mesh(size), now=NOW) == ()


@pytest.mark.parametrize("narrative", BROKEN)
def test_one_change_breaks_one_rule(narrative: str) -> None:
    """The rule is named with exactly those who have to act, and with what to do."""
    changed, reason, clusters, words = BROKEN[narrative]
    found = violations(mesh(3, **changed), now=NOW)
    assert [(each.reason, each.clusters) for each in found] == [(reason, clusters)]
    assert words in found[0].message
    assert found[0].remedy


def test_what_nobody_told_breaks_no_rule() -> None:
    """Members of whom only name and id are known, in an older agent's words, are checked by those alone."""
    assert violations([Member("a", "a", 1), Member("b", "b", 2)], now=NOW) == ()


def test_where_no_majority_is_everybody_is_named() -> None:
    """One against one is nobody's fault alone."""
    assert told(mesh(2, b={"tunnel_protocol": "geneve"})) == [("TunnelProtocolDiffers", ("a", "b"))]


def test_a_bundle_of_both_cas_is_a_shared_ca() -> None:
    """Clusters with CAs of their own are well if each trusts the others' too."""
    both = ("ab" * 32, "cd" * 32)
    assert told(mesh(2, a={"ca_fingerprints": both}, b={"ca_fingerprints": both[::-1]})) == []


def test_native_routing_must_reach_all_pods() -> None:
    """A native-routing network that leaves a peer's pods out is named once, with all whom it leaves out."""
    native = {"routing_mode": "native", "tunnel_protocol": "", "native_routing_cidr": "10.0.0.0/15"}
    found = violations(mesh(3, a=native, b=native, c=native), now=NOW)
    assert [(each.reason, each.clusters) for each in found] == [("NativeRoutingTooNarrow", ("a",)),
                                                               ("NativeRoutingTooNarrow", ("b",)),
                                                               ("NativeRoutingTooNarrow", ("c",))]  # fmt: skip
    assert "the pods of b, c" in found[0].message


def test_a_ready_link_on_an_old_cache_is_named() -> None:
    """Agents are ready, KVStoreMesh behind them is not: policies go on with identities that age."""
    one, other = mesh(2)
    stale = ready("b", peer_id=2, is_cached=True, cache_problem="etcd: 0/1 connected")
    found = violations([replace(one, links=(stale,)), other], now=NOW)
    assert [(each.reason, each.clusters) for each in found] == [("StaleCache", ("a",))]
    assert "0/1 connected" in found[0].message


def test_a_peer_that_advertises_another_id_is_another_cluster() -> None:
    """Endpoints that were swapped lead to a cluster that has another id than the one of that name."""
    one, other = mesh(2)
    found = violations([replace(one, links=(ready("b", peer_id=9),)), other], now=NOW)
    assert [(each.reason, each.clusters) for each in found] == [("WrongPeer", ("a", "b"))]


def test_a_link_that_is_down_is_no_broken_rule() -> None:
    """Rules are about how clusters are set up; what is cut is mesh status's."""
    one, other = mesh(2)
    assert told([replace(one, links=(down("b"),)), replace(other, links=(down("a"),))]) == []


def cluster(name: str, *, declared: dict[str, Any] | None = None, **status: Any) -> Cluster:
    spec = {"mesh": declared} if declared is not None else {}
    return Cluster.model_validate({"metadata": {"name": name}, "spec": spec, "status": status})


def test_a_cluster_that_is_declared_and_not_yet_meshed_breaks_one_rule() -> None:
    """Its Cilium's defaults, name and id, are not told one by one as wrong."""
    fresh = MeshFacts(name="default", id=0, max_connected_clusters=255, default_local_cluster=True)
    (found,) = violations(members_of([cluster("lab", declared={"id": 3}, mesh=fresh)]), now=NOW)
    assert (found.reason, found.clusters) == ("NotInMesh", ("lab",))
    assert "cluster.name=lab, cluster.id=3" in found.remedy


def test_an_id_that_nobody_told_is_not_a_wrong_one() -> None:
    """An older agent reports links only; that its cluster has an id is certain, which one is not known."""
    (member,) = members_of([cluster("lab", links=(MeshLink(peer="b"),))])
    assert member.mesh_id is None
    assert violations([member], now=NOW) == ()


def test_members_are_those_who_are_declared_or_seen_in_the_mesh() -> None:
    """What Cilium says of itself counts more than what was declared, and both stay known."""
    seen = facts("x", 7)
    found = members_of(
        [
            cluster("c"),
            cluster("b", mesh=seen),
            cluster("a", declared={"id": 3}, mesh=MeshFacts(message="no socket")),
            cluster("d", declared={"id": 4, "name": "four"}, mesh=facts("four", 5), links=(MeshLink(peer="a"),)),
        ]
    )
    assert [(each.cluster, each.mesh_name, each.mesh_id) for each in found] == [
        ("a", "a", 3),
        ("b", "x", 7),
        ("d", "four", 5),
    ]
    assert told(list(found))[0] == ("NotAsDeclared", ("d",))


networks = st.builds(
    lambda number, prefix: f"10.{number >> 8}.{number & 255}.0/{prefix}", st.integers(0, 65535), st.integers(14, 24)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(networks, max_size=4), min_size=2, max_size=6))
def test_overlaps_are_found_as_by_comparing_all_with_all(pools: list[list[str]]) -> None:
    """The sweep names exactly those pairs of clusters of which a network meets one of the other's."""
    import ipaddress

    members = [
        Member(f"m{index}", f"m{index}", index + 1, MeshFacts(pod_cidrs=tuple(pool)))
        for index, pool in enumerate(pools)
    ]
    parsed = [[ipaddress.ip_network(cidr, strict=False) for cidr in pool] for pool in pools]
    expected = {
        (f"m{one}", f"m{other}")
        for one in range(len(pools))
        for other in range(one + 1, len(pools))
        if any(mine.overlaps(theirs) for mine in parsed[one] for theirs in parsed[other])
    }
    assert {each.clusters for each in violations(members) if each.reason == "PodCidrOverlap"} == expected


def test_ages_of_reports_do_not_matter_to_rules() -> None:
    """A cluster that is away still has its id: what was last known of it counts."""
    old = {"seen_at": ago(86400)}
    assert told(mesh(3, c={"id": 1, **old})) == told(mesh(3, c={"id": 1}))
