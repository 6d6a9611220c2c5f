"""Storage, queues, network and events, as tables: from objects as API servers give them to what the hub hears."""

from typing import Any

import pytest

from atoll.edge.member.inventory.events import MAX_EVENTS, owned_events, owner_of, project_event
from atoll.edge.member.inventory.network import node_cidrs, pod_cidrs, project_cilium_node
from atoll.edge.member.inventory.queues import project_flavor, project_queue
from atoll.edge.member.inventory.storage import (
    MAX_SEGMENTS,
    project_capacity,
    project_driver,
    project_storage_class,
    project_volume_claim,
    storage_details,
    storage_infos,
)
from member.nodes import GIB, facts, with_spec
from member.world import Json, node

FAST = {"metadata": {"name": "fast"}, "provisioner": "csi.example", "allowVolumeExpansion": True}
HOST = "topology.csi.example/node"


def capacity(size: str, **topology: str) -> Json:
    labels = {HOST if key == "host" else f"topology.kubernetes.io/{key}": value for key, value in topology.items()}
    return {"storageClassName": "fast", "capacity": size, "nodeTopology": {"matchLabels": labels}}


def volume_claim(size: str, phase: str) -> Json:
    spec = {"storageClassName": "fast", "resources": {"requests": {"storage": size}}}
    return {"spec": spec, "status": {"phase": phase} | ({"capacity": {"storage": size}} if phase == "Bound" else {})}


def details(capacities: list[Json], claims: tuple[Json, ...] = (), **drivers: Json) -> Any:
    (told,) = storage_details(
        [project_storage_class(FAST)],
        map(project_capacity, capacities),
        drivers={name.replace("_", "."): project_driver(obj) for name, obj in drivers.items()},
        claims=map(project_volume_claim, claims),
    )
    return told


def test_a_storage_class_tells_what_is_free_where_and_what_is_claimed() -> None:
    """Segments by topology, claims by phase, and whether its driver tells its capacity at all."""
    told = details(
        [capacity("10Gi", zone="a"), capacity("10Gi", zone="b"), capacity("0", zone="c")],
        (volume_claim("5Gi", "Bound"), volume_claim("7Gi", "Bound"), volume_claim("1Ti", "Pending")),
        csi_example={"spec": {"storageCapacity": True}},
    )
    assert [(segment.topology["topology.kubernetes.io/zone"], segment.free_bytes) for segment in told.segments] == [
        ("a", 10 * GIB),
        ("b", 10 * GIB),
        ("c", 0),
    ]
    assert (told.claims_bound, told.claims_pending, told.claimed_bytes) == (2, 1, 12 * GIB)
    assert (told.has_driver, told.tells_capacity, told.allows_expansion) == (True, True, True)
    assert details([]).has_driver is False


def test_local_disks_of_many_nodes_are_told_by_zone_and_amount() -> None:
    """A segment per node would make the report grow with the cluster: zones stay, host names go, all are counted."""
    many = [capacity(f"{number * 7 % 997}Gi", host=f"n{number}", zone="ab"[number % 2]) for number in range(5_000)]
    told = details(many)
    assert len(told.segments) <= MAX_SEGMENTS
    assert sum(segment.segments for segment in told.segments) == 5_000
    assert {tuple(segment.topology) for segment in told.segments} == {("topology.kubernetes.io/zone",)}
    largest = max(segment.free_bytes for segment in told.segments)
    assert 0.5 * 996 * GIB < largest <= 996 * GIB


def test_a_small_change_of_free_space_is_no_news() -> None:
    """One part in a hundred is not told; and never is more told than there is."""
    told = [
        storage_infos([project_storage_class(FAST)], [project_capacity(capacity(size))])[0].free_bytes
        for size in ("1000Mi", "1001Mi", "1100Mi")
    ]
    assert told[0] == told[1] < told[2]
    assert told[0] is not None
    assert 0.99 * 1000 * 2**20 < told[0] <= 1000 * 2**20


CLUSTER_QUEUE = {
    "metadata": {"name": "team"},
    "spec": {
        "cohort": "lab",
        "resourceGroups": [
            {
                "coveredResources": ["cpu", "nvidia.com/gpu"],
                "flavors": [
                    {
                        "name": "spot",
                        "resources": [
                            {"name": "cpu", "nominalQuota": 9, "borrowingLimit": "500m"},
                            {"name": "nvidia.com/gpu", "nominalQuota": "8", "lendingLimit": "0"},
                        ],
                    }
                ],
            }
        ],
    },
    "status": {
        "conditions": [{"type": "Active", "status": "True", "reason": "Ready"}],
        "pendingWorkloads": 7,
        "admittedWorkloads": 3,
        "flavorsReservation": [{"name": "spot", "resources": [{"name": "nvidia.com/gpu", "total": "6"}]}],
    },
}


def test_a_kueue_queue_tells_quota_reservation_and_how_much_waits() -> None:
    """A limit that is not set does not bound; CPU is in millicores."""
    queue = project_queue(CLUSTER_QUEUE)
    assert (queue.cohort, queue.is_active, queue.pending, queue.admitted) == ("lab", True, 7, 3)
    told = [
        (quota.flavor, quota.resource, quota.nominal, quota.borrowing_limit, quota.lending_limit, quota.reserved)
        for quota in queue.quotas
    ]
    assert told == [("spot", "cpu", 9000, 500, None, 0), ("spot", "nvidia.com/gpu", 8, None, 0, 6)]


def test_a_kueue_queue_that_admits_nothing_says_why() -> None:
    """v1beta2 names the cohort anew; a queue that has never been seen to is not active."""
    stopped = {
        **CLUSTER_QUEUE,
        "spec": {"cohortName": "lab"},
        "status": {"conditions": [{"type": "Active", "status": "False", "reason": "Stopped", "message": "held back"}]},
    }
    queue = project_queue(stopped)
    assert (queue.cohort, queue.is_active, queue.message, queue.quotas) == ("lab", False, "held back", ())
    assert project_queue({"metadata": {"name": "new"}}).is_active is False


def test_a_kueue_flavor_tells_which_nodes_it_stands_for() -> None:
    """Labels and taints."""
    taint = {"key": "spot", "value": "true", "effect": "NoSchedule"}
    spec = {"nodeLabels": {"tier": "spot"}, "nodeTaints": [taint]}
    flavor = project_flavor({"metadata": {"name": "spot"}, "spec": spec})
    assert (flavor.node_labels, flavor.taints[0].key) == ({"tier": "spot"}, "spot")


def addressed(name: str, address: str, cidr: str) -> Json:
    item = with_spec(node(name), podCIDRs=[cidr])
    return {**item, "status": {**item["status"], "addresses": [{"type": "InternalIP", "address": address}]}}


def test_networks_are_told_as_the_fewest_that_say_the_same() -> None:
    """Neighbours merge; both families; what is no address is left out."""
    nodes = facts(
        addressed("a", "172.16.0.2", "10.0.0.0/24"),
        addressed("b", "172.16.0.3", "10.0.1.0/24"),
        addressed("c", "fd00::1", "fd01::/64"),
        addressed("d", "nonsense", "10.0.9.0/24"),
    ).nodes.values()
    assert pod_cidrs(nodes, []) == ("10.0.0.0/23", "10.0.9.0/24", "fd01::/64")
    assert node_cidrs(nodes, []) == ("172.16.0.2/31", "fd00::1/128")


def test_cilium_that_hands_out_addresses_itself_is_believed_before_the_nodes() -> None:
    """In cluster-pool and multi-pool mode the nodes' own podCIDRs are not used."""
    ipam = {"podCIDRs": ["10.1.0.0/24"], "pools": {"allocated": [{"pool": "p", "cidrs": ["10.2.0.0/27"]}]}}
    addresses = [{"type": "InternalIP", "ip": "172.16.0.2"}, {"type": "CiliumInternalIP", "ip": "10.1.0.1"}]
    cilium = project_cilium_node({"spec": {"ipam": ipam, "addresses": addresses}})
    nodes = facts(addressed("a", "172.16.0.2", "10.0.0.0/24")).nodes.values()
    assert pod_cidrs(nodes, [cilium]) == ("10.1.0.0/24", "10.2.0.0/27")
    assert node_cidrs(nodes, [cilium]) == ("172.16.0.2/32",)


ORDERS = {("run", "lab/picks-1"), ("service", "lab")}


def has_order(kind: str, key: str) -> bool:
    return (kind, key) in ORDERS


OWNERS: dict[str, tuple[Json, str]] = {
    "the Job": ({"kind": "Job", "namespace": "lab", "name": "picks-1"}, "run/lab/picks-1"),
    "its pod": ({"kind": "Pod", "namespace": "lab", "name": "picks-1-x7k2p"}, "run/lab/picks-1"),
    "a pod of an array": ({"kind": "Pod", "namespace": "lab", "name": "picks-1-12-x7k2p"}, "run/lab/picks-1"),
    "a pod of the same name elsewhere": ({"kind": "Pod", "namespace": "other", "name": "picks-1-x7k2p"}, ""),
    "another run's pod": ({"kind": "Pod", "namespace": "lab", "name": "picks-10-x7k2p"}, ""),
    "the data service's pod": ({"kind": "Pod", "namespace": "lab", "name": "atoll-data-5d9-x7k2p"}, "service/lab"),
    "a node": ({"kind": "Node", "name": "n1"}, ""),
    "nothing": ({}, ""),
}


@pytest.mark.parametrize("what", OWNERS)
def test_an_event_belongs_to_the_order_that_its_object_was_made_for(what: str) -> None:
    """By name, since it may be heard before the object; what is not ours is nobody's."""
    involved, owner = OWNERS[what]
    assert owner_of(involved, has_order) == owner


def event(name: str, at: str, **more: Any) -> Json:
    return {
        "involvedObject": {"kind": "Pod", "namespace": "lab", "name": name},
        "reason": "FailedScheduling",
        "message": "0/3 nodes are available",
        "lastTimestamp": at,
        **more,
    }


def test_events_are_told_newest_first_and_no_more_than_can_be_read() -> None:
    """However often a cluster complains; old and new forms of the time are read, and none is no failure."""
    many = [event("picks-1-x7k2p", f"2026-11-22T12:{number % 60:02}:00Z", count=number) for number in range(300)]
    series = event("picks-1-new", "", eventTime="2026-11-22T13:00:00.123456Z", lastTimestamp=None)
    odd = event("picks-1-odd", "nonsense", message="x" * 5000)
    told = owned_events(project_event(item, has_order) for item in (odd, *many, series))
    assert len(told) == MAX_EVENTS
    assert told[0].name == "picks-1-new"
    assert (told[1].last_at is not None and told[1].last_at.minute, told[1].owner) == (59, "run/lab/picks-1")
    assert len(project_event(odd, has_order).message) == 300
