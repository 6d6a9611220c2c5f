"""The parts in which an inventory is reported: which observed keys each fills, and how. Pure.

Each part is told by itself, whole, when what it is made of has changed; docs/adr/0016 gives the reasons of the split.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from atoll.edge.member.inventory.dra import device_pools
from atoll.edge.member.inventory.events import owned_events
from atoll.edge.member.inventory.facts import ClusterFacts
from atoll.edge.member.inventory.groups import node_groups
from atoll.edge.member.inventory.labelsets import chunks
from atoll.edge.member.inventory.network import node_cidrs, pod_cidrs
from atoll.edge.member.inventory.storage import storage_details
from atoll.edge.member.inventory.summary import build_inventory
from atoll.federation.bus.inventory_messages import (
    DevicesReport,
    EventsReport,
    NetworkReport,
    NodesReport,
    QueuesReport,
    StorageReport,
    WorkloadsReport,
)
from atoll.federation.bus.messages import InventoryReport, Message

Reports = Mapping[str, Message]


@dataclass(frozen=True)
class Part:
    """Reports that are made together, at most once in `interval_seconds`. `build` gives them by their observed key."""

    name: str
    build: Callable[[ClusterFacts, datetime], Reports]
    interval_seconds: float = 1.0


def _nodes(facts: ClusterFacts, at: datetime) -> Reports:
    groups, omitted = node_groups(facts.nodes, facts.pods, facts.form)
    return {
        "inventory": InventoryReport(inventory=build_inventory(facts), at=at),
        "inventory/nodes": NodesReport(groups=groups, omitted_nodes=omitted, at=at),
    }


def _devices(facts: ClusterFacts, at: datetime) -> Reports:
    pools = device_pools(facts.slices.values(), facts.device_claims.values(), nodes=facts.nodes, form=facts.form)
    classes = tuple(facts.device_classes[name] for name in sorted(facts.device_classes))
    return {"inventory/devices": DevicesReport(pools=pools, classes=classes, at=at)}


def _storage(facts: ClusterFacts, at: datetime) -> Reports:
    classes = storage_details(
        facts.storage_classes.values(),
        facts.capacities.values(),
        drivers=facts.drivers,
        claims=facts.volume_claims.values(),
    )
    return {"inventory/storage": StorageReport(classes=classes, at=at)}


def _queues(facts: ClusterFacts, at: datetime) -> Reports:
    flavors = tuple(facts.flavors[name] for name in sorted(facts.flavors))
    queues = tuple(facts.queues[name] for name in sorted(facts.queues))
    return {"inventory/queues": QueuesReport(flavors=flavors, queues=queues, at=at)}


def _network(facts: ClusterFacts, at: datetime) -> Reports:
    nodes, cilium = facts.nodes.values(), facts.cilium_nodes.values()
    report = NetworkReport(
        pod_cidrs=pod_cidrs(nodes, cilium), node_cidrs=node_cidrs(nodes, cilium), cilium_nodes=len(cilium), at=at
    )
    return {"inventory/network": report}


def _workloads(facts: ClusterFacts, at: datetime) -> Reports:
    return {
        f"inventory/workloads/{number}": WorkloadsReport(
            namespaces={name: dict(labels) for name, labels in chunk.namespaces.items()},
            sets=chunk.sets,
            omitted_sets=chunk.omitted_sets,
            omitted_pods=chunk.omitted_pods,
            at=at,
        )
        for number, chunk in enumerate(chunks(facts.pods.labels, facts.namespaces))
    }


def _events(facts: ClusterFacts, at: datetime) -> Reports:
    return {"events": EventsReport(events=owned_events(facts.events.values()), at=at)}


NODES = Part("nodes", _nodes)
DEVICES = Part("devices", _devices)
STORAGE = Part("storage", _storage)
QUEUES = Part("queues", _queues)
NETWORK = Part("network", _network)
EVENTS = Part("events", _events)
# Whoever reads it plans policies: some seconds late is as good, and pods of jobs come and go all the time.
WORKLOADS = Part("workloads", _workloads, interval_seconds=10.0)
PARTS = (NODES, DEVICES, STORAGE, QUEUES, NETWORK, EVENTS, WORKLOADS)
