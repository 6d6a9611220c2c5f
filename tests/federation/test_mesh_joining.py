"""Planning a cluster that is to join: nothing that is used is proposed, and what nobody knows is said."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.federation.errors import Conflict, InvalidInput
from atoll.federation.mesh import Member, Wish, helm_values, plan_join, violations
from atoll.federation.resources import MeshFacts, MeshLink
from federation.mesh_worlds import NOW, facts, mesh

cidrs = st.builds(
    lambda number, prefix: f"{ipaddress.IPv4Address((10 << 24) + number * 65536)}/{prefix}",
    st.integers(0, 255), st.integers(9, 26),
)  # fmt: skip


@st.composite
def members(draw: Any) -> list[Member]:
    """Any mesh, also one whose members already break rules."""
    ids = draw(st.lists(st.integers(1, 255), max_size=40))
    return [
        Member(
            f"m{index}", f"m{index}", number,
            MeshFacts(
                name=f"m{index}", id=number, max_connected_clusters=255,
                pod_cidrs=tuple(draw(st.lists(cidrs, max_size=3))),
                node_cidrs=tuple(draw(st.lists(cidrs, max_size=2))),
            ),
            (MeshLink(peer="other", peer_id=draw(st.integers(0, 255))),),
            declared_id=draw(st.one_of(st.none(), st.integers(1, 255))),
        )
        for index, number in enumerate(ids)
    ]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(members(), st.integers(12, 24))
def test_a_plan_takes_no_used_id_and_no_used_address(known: list[Member], prefix: int) -> None:
    """The id is nobody's by any account, and the network meets no other; a mesh that is full says so."""
    try:
        plan = plan_join(known, "new", Wish(prefix=prefix))
    except Conflict:
        used = {each.mesh_id for each in known} | {each.declared_id for each in known}
        used |= {link.peer_id for each in known for link in each.links}
        taken = sum(ipaddress.ip_network(cidr, strict=False).num_addresses for m in known for cidr in m.facts.pod_cidrs)
        assert len(used - {0, None}) >= 255 or taken > 2**22
        return
    assert plan.id not in {each.mesh_id for each in known} | {each.declared_id for each in known}
    assert plan.id not in {link.peer_id for each in known for link in each.links}
    assert 1 <= plan.id <= 255
    network = ipaddress.ip_network(plan.pod_cidr)
    assert network.prefixlen == prefix
    for member in known:
        for cidr in (*member.facts.pod_cidrs, *member.facts.node_cidrs):
            assert not network.overlaps(ipaddress.ip_network(cidr, strict=False))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 12), st.integers(14, 22))
def test_a_cluster_installed_as_planned_breaks_no_rule(size: int, prefix: int) -> None:
    """Whoever follows the plan has a mesh that still keeps every rule, time after time."""
    known = mesh(size)
    for number in range(3):
        plan = plan_join(known, f"new-{number}", Wish(prefix=prefix))
        told = facts(plan.name, plan.id, None, pod_cidrs=(plan.pod_cidr,))
        shared = {
            "max_connected_clusters": plan.max_connected_clusters,
            "tunnel_protocol": plan.tunnel_protocol or "vxlan",
            "routing_mode": plan.routing_mode or "tunnel",
        }
        known.append(Member(plan.name, plan.name, plan.id, told.model_copy(update=shared)))
        assert violations(known, now=NOW) == ()


def test_helm_values_carry_what_the_others_agree_in() -> None:
    """Id, networks and every setting that must be equal stand in the values, under Cilium's own names."""
    plan = plan_join(mesh(3), "d", Wish(prefix=20))
    assert helm_values(plan) == {
        "cluster": {"name": "d", "id": 4},
        "clustermesh": {"useAPIServer": True, "maxConnectedClusters": 255, "policyDefaultLocalCluster": True},
        "ipam": {
            "mode": "cluster-pool",
            "operator": {"clusterPoolIPv4PodCIDRList": ["10.0.0.0/20"], "clusterPoolIPv4MaskSize": 24},
        },
        "routingMode": "tunnel",
        "tunnelProtocol": "vxlan",
    }
    assert plan.peers == ("a", "b", "c")
    assert plan.cautions == ()


def test_a_mesh_that_routes_natively_is_joined_natively() -> None:
    """The network to route natively is the others'."""
    native = {"routing_mode": "native", "tunnel_protocol": "", "native_routing_cidr": "10.0.0.0/8"}
    values = helm_values(plan_join(mesh(2, a=native, b=native), "d"))
    assert (values["routingMode"], values["ipv4NativeRoutingCIDR"]) == ("native", "10.0.0.0/8")
    assert "tunnelProtocol" not in values


def test_the_first_cluster_of_a_mesh_can_be_planned() -> None:
    """Nobody is there yet: the first id, the first network, no peer."""
    plan = plan_join([], "first")
    assert (plan.id, plan.pod_cidr, plan.peers, plan.max_connected_clusters) == (1, "10.0.0.0/16", (), 255)


def test_networks_that_are_not_known_are_said() -> None:
    """A plan that could overlap what nobody told says whose networks to look up."""
    plan = plan_join([*mesh(1), Member("x", "x", 9), *mesh(1, a={"omitted_cidrs": 3})], "new")
    assert any("the networks of x are not known" in caution for caution in plan.cautions)
    assert any("not all networks of a" in caution for caution in plan.cautions)


REFUSED: dict[str, tuple[str, Wish, type[Exception], str]] = {
    "a name with a dot": ("a.b", Wish(), InvalidInput, "not allowed"),
    "the reserved name": ("default", Wish(), InvalidInput, "reserved"),
    "a name that a member has": ("a", Wish(), Conflict, "already"),
    "a network larger than the pool": ("new", Wish(prefix=6), InvalidInput, "/10 to /24"),
    "a network for no pod": ("new", Wish(prefix=30), InvalidInput, "/10 to /24"),
    "a pool that is used up": ("new", Wish(prefix=17, pool=("10.1.0.0/16",)), Conflict, "no network of /17 is free"),
    "a pool that is none": ("new", Wish(pool=("here",)), InvalidInput, "no IPv4 network"),
}


@pytest.mark.parametrize("narrative", REFUSED)
def test_what_cannot_be_planned_is_refused(narrative: str) -> None:
    """The message says what is wrong with the name or the wish."""
    name, wish, error, words = REFUSED[narrative]
    with pytest.raises(error, match=words):
        plan_join(mesh(3), name, wish)


def test_a_full_mesh_is_full() -> None:
    """255 clusters leave no id; a mesh of 511 has room."""
    known = [Member(f"m{number}", f"m{number}", number) for number in range(1, 256)]
    with pytest.raises(Conflict, match="all 255 ids are used"):
        plan_join(known, "new")
    larger = [Member(m.cluster, m.mesh_name, m.mesh_id, MeshFacts(max_connected_clusters=511)) for m in known]
    assert plan_join(larger, "new").id == 256
