"""Nodes in all their states, in groups, and what pods take of them; as tables and against plain models."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.edge.member.inventory.groups import MAX_GROUPS, MAX_ROWS, node_groups
from atoll.edge.member.inventory.nodes import form_of, project_node
from atoll.edge.member.inventory.parts import PARTS
from atoll.edge.member.inventory.pods import PodFacts, PodTally, project_pod
from atoll.edge.member.inventory.summary import MAX_SHAPES, build_inventory
from atoll.federation.resources.inventory import NodeGroup
from member.nodes import A100, GIB, edge, facts, offering, pod, with_condition, with_spec
from member.world import Json, node

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CONTROL_PLANE = {"node-role.kubernetes.io/control-plane": "true"}
PRESSURE = {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}
UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}


def silent(item: Json) -> Json:
    """A node whose kubelet is not heard: the node controller says Unknown and taints it."""
    unknown = with_condition(item, "Ready", "Unknown", "NodeStatusUnknown")
    return with_spec(unknown, taints=[UNREACHABLE, {**UNREACHABLE, "effect": "NoSchedule"}])


def plain(item: Json) -> Json:
    """The node as one of kubeadm's, which is no device."""
    return {**item, "status": {**item["status"], "nodeInfo": {"kubeletVersion": "v1.33.1"}}}


STATES: dict[str, tuple[Json, str]] = {
    "ready": (plain(node()), "Ready"),
    "cordoned": (with_spec(plain(node()), unschedulable=True), "Cordoned"),
    "out of disk": (with_spec(plain(node()), taints=[PRESSURE]), "Impaired"),
    "its kubelet says that it is not ready": (with_condition(plain(node()), "Ready", "False"), "NotReady"),
    "silent": (silent(plain(node())), "NotReady"),
    "an edge node that sleeps": (silent(edge("e")), "Offline"),
    "an edge node that is heard and broken": (with_condition(edge("e"), "Ready", "False"), "NotReady"),
    "an edge node that is cordoned and sleeps": (with_spec(silent(edge("e")), unschedulable=True), "Offline"),
    "a K3s device just after its sleep": (silent(node("n1", labels=CONTROL_PLANE)), "Offline"),
    "a K3s device that is broken": (with_condition(node("n1", labels=CONTROL_PLANE), "Ready", "False"), "NotReady"),
    "a lone K3s agent node": (silent(node("n1")), "NotReady"),
}


@pytest.mark.parametrize("what", STATES)
def test_a_node_is_in_the_state_that_its_kubelet_and_its_place_say(what: str) -> None:
    """Sleep of what may sleep is Offline; only what is heard and broken, or silent and should not be, is NotReady."""
    item, state = STATES[what]
    inventory = build_inventory(facts(item))
    assert inventory.node_states == {state: 1}
    assert [trouble.state for trouble in inventory.troubled_nodes] == ([] if state == "Ready" else [state])


def test_the_form_of_a_cluster_tells_edges_and_devices_from_the_rest() -> None:
    """One edge node makes an edge cluster; a K3s server alone is a device, two of them are a cluster."""
    device, agent = node("n1", labels=CONTROL_PLANE), node("n2")
    forms = [form_of(map(project_node, items)) for items in ([node()], [node(), edge("e")], [device], [device, agent])]
    assert forms == ["Cluster", "Edge", "Device", "Cluster"]


def test_a_sleeping_edge_node_keeps_its_pods_and_offers_nothing() -> None:
    """Its pods run on and are counted; nothing new is placed there; its cloud side is not touched by it."""
    runs = frozenset({"ns/r1"})
    asleep = pod("e", **{"batch.kubernetes.io/job-name": "r1"})
    inventory = build_inventory(facts(node("cloud"), silent(edge("e")), pods=(asleep,), runs=runs))
    assert inventory.node_states == {"Offline": 1, "Ready": 1}
    assert inventory.counted_runs == ("ns/r1",)
    assert sum(shape.nodes for shape in inventory.shapes) == 1
    assert (inventory.form, inventory.distribution) == ("Edge", "KubeEdge")


def test_a_troubled_node_says_why() -> None:
    """Pressures and the Ready condition's own words are told, also where the node still takes work."""
    pressed = with_condition(node("a"), "MemoryPressure", "True")
    broken = with_condition(plain(node("b")), "Ready", "False", "KubeletNotReady")
    troubled = build_inventory(facts(pressed, broken, node("c"))).troubled_nodes
    assert [(item.name, item.state, item.reasons, item.message) for item in troubled] == [
        ("a", "Ready", ("MemoryPressure",), ""),
        ("b", "NotReady", (), "KubeletNotReady"),
    ]


def groups_of(*nodes: Json, pods: tuple[Json, ...] = ()) -> tuple[NodeGroup, ...]:
    seen = facts(*nodes, pods=pods)
    return node_groups(seen.nodes, seen.pods, seen.form)[0]


def test_like_nodes_are_one_group_with_a_histogram_of_what_is_free() -> None:
    """Machines of one type that differ by kilobytes are alike; rows say how many nodes have how much."""
    nodes = [offering(name, {"nvidia.com/gpu": "4"}, A100) for name in ("a", "b", "c")]
    nodes[2]["status"]["allocatable"]["memory"] = f"{32 * 2**20 + 7}Ki"
    (group,) = groups_of(*nodes, pods=(pod("a", gpus=1),))
    assert group.resources == ("cpu", "memory", "pods", "nvidia.com/gpu")
    assert group.allocatable == (8000, 32 * GIB, 110, 4)
    assert group.free == (
        (1, 7000, 31 * GIB, 109, 3),
        (1, 8000, 32 * GIB, 110, 4),
        (1, 8000, 32 * GIB + 7 * 1024, 110, 4),
    )
    assert group.devices[0].model == A100["nvidia.com/gpu.product"]


def test_taints_labels_and_class_set_nodes_apart_and_states_are_counted() -> None:
    """A tainted node is a group of its own with its capacity; one that is not ready has no row."""
    taint = {"key": "dedicated", "value": "lab", "effect": "NoSchedule"}
    tainted = with_spec(node("t"), taints=[taint, PRESSURE])
    found = groups_of(node("a"), with_spec(node("b"), unschedulable=True), tainted, silent(edge("e")))
    told = {(group.node_class, tuple(taint.key for taint in group.taints)): group for group in found}
    assert told["Regular", ()].states == {"Cordoned": 1, "Ready": 1}
    assert [row[0] for row in told["Regular", ()].free] == [1]
    assert told["Regular", ("dedicated",)].states == {"Impaired": 1}  # the kubelet's own taint is no part of a group
    assert told["Edge", ()].states == {"Offline": 1}
    assert told["Edge", ()].free == ()


def varied(count: int, *, taint: bool) -> list[Json]:
    """Nodes of which no two are alike in what is free; with taints, not even in kind."""
    random_ = random.Random(1)
    result = []
    for number in range(count):
        item = node(f"node-{number}", gpus=random_.choice((0, 4, 8)), labels=A100)
        item["status"]["allocatable"] = item["status"]["allocatable"] | {
            "cpu": f"{random_.randrange(1000, 128_000)}m",
            "memory": str(random_.randrange(2**30, 2**39)),
        }
        item["metadata"]["labels"] |= {"topology.kubernetes.io/zone": f"eu-central-1{random_.choice('abc')}"}
        key = {"key": f"dedicated-{number}", "effect": "NoSchedule"}
        result.append(with_spec(item, taints=[key]) if taint else item)
    return result


@pytest.mark.parametrize("taint", [False, True])
def test_every_report_of_5000_unlike_nodes_stays_below_half_a_mebibyte(taint: bool) -> None:
    """What cannot be told node by node is told rounded down, or counted as left out."""
    runs = frozenset(f"seismology/picks-2026-11-22-{number}" for number in range(3_000))
    pods = tuple(pod(f"node-{number}", **{"job-name": run.partition("/")[2]}) for number, run in enumerate(runs))
    seen = facts(*varied(5_000, taint=taint), pods=pods, runs=runs)
    sizes = {key: len(report.encode()) for part in PARTS for key, report in part.build(seen, NOW).items()}
    assert max(sizes.values()) < 512 * 1024, sizes
    groups, omitted = node_groups(seen.nodes, seen.pods, seen.form)
    assert sum(group.nodes for group in groups) + omitted == 5_000
    assert len(groups) <= MAX_GROUPS
    assert sum(len(group.free) for group in groups) <= MAX_ROWS


def test_shapes_that_are_rounded_never_promise_more_than_there_is() -> None:
    """All nodes and GPUs are still there, and each shape is covered by nodes that are at least as large."""
    seen = facts(*varied(3_000, taint=False))
    inventory = build_inventory(seen)
    assert len(inventory.shapes) <= MAX_SHAPES
    assert sum(shape.nodes for shape in inventory.shapes) == 3_000
    assert sum(shape.nodes * shape.free_gpus for shape in inventory.shapes) == sum(gpu.count for gpu in inventory.gpus)
    true = sum(fact.allocatable["memory"] for fact in seen.nodes.values())
    told = sum(shape.nodes * shape.free_memory_bytes for shape in inventory.shapes)
    assert 0.4 * true < told <= true


RESIZED: dict[str, tuple[dict[str, Any], int]] = {
    "no status yet": ({}, 1000),
    "the kubelet has given what was asked": ({"resources": {"requests": {"cpu": "1"}}}, 1000),
    "shrunk, and the kubelet has not followed": ({"resources": {"requests": {"cpu": "3"}}}, 3000),
    "grown, and the kubelet has not followed": ({"resources": {"requests": {"cpu": "500m"}}}, 1000),
    "allocated and not yet in force": (
        {"resources": {"requests": {"cpu": "1"}}, "allocatedResources": {"cpu": "2"}},
        2000,
    ),
}


@pytest.mark.parametrize("what", RESIZED)
def test_a_pod_that_is_resized_takes_the_most_of_what_it_wants_and_has(what: str) -> None:
    """As the scheduler counts it (KEP-1287)."""
    status, millicores = RESIZED[what]
    item = pod("n1")
    item["status"]["containerStatuses"] = [{"name": "c", **status}] if status else []
    assert project_pod(item).requests["cpu"] == millicores


def test_a_resize_that_its_node_can_never_give_takes_only_what_the_pod_has() -> None:
    """PodResizePending with the reason Infeasible: what is wanted will not come."""
    item = pod("n1", cpu="64")
    item["status"] |= {
        "containerStatuses": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}],
        "conditions": [{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}],
    }
    assert project_pod(item).requests["cpu"] == 1000


def test_a_pod_that_has_ended_takes_nothing_and_one_that_is_deleted_takes_its_share_until_it_is_gone() -> None:
    """Places for pods are counted as well."""
    deleted = pod("n1")
    deleted["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    tally = facts(node(), pods=(deleted, pod("n1", phase="Failed"))).pods
    assert dict(tally.used("n1")) == {"cpu": 1000, "memory": GIB, "pods": 1}


pods_seen = st.one_of(
    st.none(),
    st.builds(
        PodFacts,
        node=st.sampled_from(["", "a", "b"]),
        requests=st.sampled_from([{"cpu": 100, "pods": 1}, {"cpu": 7, "nvidia.com/gpu": 1, "pods": 1}]),
        is_live=st.booleans(),
        run=st.sampled_from(["", "ns/r1", "ns/r2"]),
        cilium_version=st.sampled_from(["", "1.18.2"]),
    ),
)


@given(st.lists(st.tuples(st.sampled_from("123"), pods_seen), max_size=20))
@settings(deadline=None)
def test_a_tally_that_follows_change_by_change_is_what_counting_anew_gives(changes: list[Any]) -> None:
    """However pods come, change, move and go."""
    followed, last = PodTally(), {}
    for key, seen in changes:
        followed.put(key, seen)
        last[key] = seen
    anew = PodTally.of({key: seen for key, seen in last.items() if seen is not None})
    for name in ("a", "b"):
        nonzero = {key: amount for key, amount in followed.used(name).items() if amount}
        assert nonzero == dict(anew.used(name))
    assert (set(followed.runs), set(followed.cilium_versions)) == (set(anew.runs), set(anew.cilium_versions))
