"""Nodes as groups of like ones, each with a histogram of what is free. Pure.

Two nodes are alike if class, labels, taints, devices and, but for a little memory, allocatable amounts are equal.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from atoll.edge.member.inventory.nodes import NodeFacts, TaintFacts
from atoll.edge.member.inventory.pods import PodTally
from atoll.federation.capacity import round_down
from atoll.federation.resources.inventory import ClusterForm, DeviceModel, NodeClass, NodeGroup, NodeState, Taint

# 400 groups of some 600 bytes and 5,000 rows of some 45 bytes stay below 512 KiB.
MAX_GROUPS, MAX_ROWS = 400, 5_000
# Machines of one type differ by some kilobytes that their firmware takes: one part in 500 is no difference.
_ALIKE_BITS = 10

Row = tuple[int, ...]


@dataclass(frozen=True)
class _Likeness:
    """What the nodes of one group have in common."""

    node_class: NodeClass
    labels: tuple[tuple[str, str], ...]
    taints: tuple[TaintFacts, ...]
    devices: tuple[DeviceModel, ...]
    resources: tuple[str, ...]
    allocatable: Row


@dataclass
class _Members:
    """The nodes of one group: in which states they are, and what the ready ones have free."""

    states: Counter[NodeState] = field(default_factory=Counter)
    free: Counter[Row] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return self.states.total()


def node_groups(nodes: Mapping[str, NodeFacts], pods: PodTally, form: ClusterForm) -> tuple[tuple[NodeGroup, ...], int]:
    """Group nodes; give the groups, and how many nodes are in those left out because there are too many."""
    members: dict[_Likeness, _Members] = {}
    for name, node in nodes.items():
        likeness = _likeness(node)
        group = members.setdefault(likeness, _Members())
        state = node.state(form)
        group.states[state] += 1
        if state == "Ready":
            group.free[_free(node, pods.used(name), likeness.resources)] += 1
    told = sorted(members.items(), key=lambda item: (-item[1].count, repr(item[0])))
    omitted = sum(group.count for _, group in told[MAX_GROUPS:])
    told = told[:MAX_GROUPS]
    bits = _bits_that_fit([group.free for _, group in told])
    return tuple(_group(likeness, group, bits) for likeness, group in told), omitted


def _likeness(node: NodeFacts) -> _Likeness:
    resources = ("cpu", "memory", "pods", *(device.resource for device in node.devices))
    allocatable = {name: node.allocatable.get(name, 0) for name in resources}
    allocatable["memory"] = round_down(allocatable["memory"], _ALIKE_BITS)
    return _Likeness(
        "Edge" if node.is_edge else "Regular",
        node.labels,
        node.taints,
        node.devices,
        resources,
        tuple(allocatable.values()),
    )


def _free(node: NodeFacts, used: Mapping[str, int], resources: tuple[str, ...]) -> Row:
    return tuple(max(0, node.allocatable.get(name, 0) - used.get(name, 0)) for name in resources)


def _rounded(row: Row, bits: int) -> Row:
    """Round CPU and memory down; pods and devices are few, and every one counts."""
    return (round_down(row[0], bits), round_down(row[1], bits), *row[2:])


def _bits_that_fit(histograms: Iterable[Counter[Row]]) -> int:
    """Choose how many leading bits of what is free to keep so that the rows do not become too many."""
    counted = list(histograms)
    for bits in (63, 12, 10, 8, 6, 5, 4, 3):
        if sum(len({_rounded(row, bits) for row in rows}) for rows in counted) <= MAX_ROWS:
            return bits
    return 2


def _group(likeness: _Likeness, members: _Members, bits: int) -> NodeGroup:
    rows: Counter[Row] = Counter()
    for row, nodes in members.free.items():
        rows[_rounded(row, bits)] += nodes
    return NodeGroup(
        nodes=members.count,
        node_class=likeness.node_class,
        states=dict(sorted(members.states.items())),
        labels=dict(likeness.labels),
        taints=tuple(Taint(**taint._asdict()) for taint in likeness.taints),
        devices=likeness.devices,
        resources=likeness.resources,
        allocatable=likeness.allocatable,
        free=tuple((nodes, *row) for row, nodes in sorted(rows.items())),
    )
