"""Clusters beyond the four known ones: each of a form by its name, and like no other in ids and networks."""

import ipaddress
from pathlib import Path

import pytest

from atoll.federation.errors import InvalidInput
from atoll.local.home import Home
from atoll.sandbox.federation import sandbox
from atoll.sandbox.forms import MOST_CLUSTERS, generated, sandbox_clusters
from atoll.sandbox.spec import DEFAULT_CLUSTERS


def test_small_sandboxes_are_made_of_the_known_clusters() -> None:
    """The first four are what examples and the demo speak of, in their order."""
    assert [sandbox_clusters(count) for count in (1, 4)] == [DEFAULT_CLUSTERS[:1], DEFAULT_CLUSTERS]


def test_the_largest_sandbox_shares_no_name_no_id_and_no_network() -> None:
    """Pods' networks overlap neither each other nor the usual service networks, and the sum is the same every time."""
    specs = sandbox_clusters(MOST_CLUSTERS)
    assert specs == sandbox_clusters(MOST_CLUSTERS)
    assert len({spec.name for spec in specs}) == len({spec.mesh_id for spec in specs}) == MOST_CLUSTERS
    networks = [ipaddress.ip_network(s.pod_cidr(i)) for s in specs for i in range(len(s.nodes))]
    services = [ipaddress.ip_network(text) for text in ("10.96.0.0/12", "10.43.0.0/16")]
    for index, network in enumerate(networks):
        assert not any(network.overlaps(other) for other in (*networks[:index], *services))
    assert len({s.node_address(i) for s in specs for i in range(len(s.nodes))}) == len(networks)


def test_further_clusters_are_of_all_forms() -> None:
    """Eight clusters have a cloud with GPUs, a data centre, a device of one node, and edges of which one is offline."""
    cloud, onprem, device, edge = sandbox_clusters(8)[4:]
    assert any(node.gpus for node in cloud.nodes)
    assert "gke" in cloud.version
    assert any(node.gpus for node in onprem.nodes)
    assert (len(device.nodes), "k3s" in device.version) == (1, True)
    assert [node.is_offline for node in edge.nodes][-1]
    assert not edge.nodes[0].is_offline


def test_a_name_says_the_form_and_the_same_name_says_the_same() -> None:
    """Whoever starts lab-9 twice, or on two machines, gets the same cluster but for its id."""
    assert "k3s" in generated("lab-9", ()).version
    assert generated("lab-9", ()) == generated("lab-9", ())
    assert generated("lab-9", {1, 2}).mesh_id == 3
    assert generated("weather", ()).nodes == generated("weather", {1}).nodes


@pytest.mark.parametrize("name", ["hub", "", "Lab", "-a", "a-", "a.b", "a" * 41, "agent"])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    """A word of `sandbox fault`, or what is no label or no part of a socket's path."""
    with pytest.raises(InvalidInput, match="name: "):
        generated(name, ())


@pytest.mark.parametrize("count", [0, -1, MOST_CLUSTERS + 1])
def test_a_number_that_cannot_be_is_refused(count: int) -> None:
    """The message says what may be."""
    with pytest.raises(InvalidInput, match=f"clusters: must be 1 to {MOST_CLUSTERS}"):
        sandbox_clusters(count)


def test_a_mesh_without_a_free_id_says_so() -> None:
    """Every id that a mesh has is taken."""
    with pytest.raises(InvalidInput, match="every id"):
        generated("lab-9", set(range(1, 256)))


def test_a_home_remembers_its_size_grows_and_does_not_shrink(tmp_path: Path) -> None:
    """Nothing that a cluster ran is left behind unsaid."""
    home = Home(tmp_path)
    assert len(sandbox(home).specs) == 4
    (tmp_path / "clusters.count").write_bytes(b"6")
    assert len(sandbox(home).specs) == 6
    assert len(sandbox(home, 8).specs) == 8
    with pytest.raises(InvalidInput, match="this sandbox has 6, and grows but does not shrink"):
        sandbox(home, 5)
