"""What `describe cluster` prints of a cluster's status: its phase with reasons and dates, and what it has, as tables.

Owns the reading order and the words. The whole status, with all that stands in it, is `get cluster NAME -o yaml`.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from atoll.cli.ages import age
from atoll.cli.output import say
from atoll.cli.tables import print_table
from atoll.federation.capacity import format_millicores
from atoll.federation.resources import Cluster, ClusterStatus, Inventory, MeshLink
from atoll.federation.resources.cluster import NodeShape
from atoll.federation.resources.inventory import DeviceInfo, OwnedEvent

_UNITS = ((2**40, "Ti"), (2**30, "Gi"), (2**20, "Mi"))
_FORMS = {"Cluster": "", "Edge": "with edge nodes", "Device": "a single-node device"}


def describe_cluster(cluster: Cluster) -> None:
    """Print what is known of a cluster, and how old that is."""
    status = cluster.status
    _say(_proof(status))
    if status.is_silent:
        say("What follows is as it was when the cluster was last heard.")
    if status.inventory is not None:
        _say(_summary(status.inventory))
        _print_inventory(status.inventory)
    links = [(f"  {link.peer}", _link(status, link), age(link.last_proven_at), link.reason) for link in status.links]
    _print("Mesh links", ("  PEER", "STATE", "PROVEN", "REASON"), links)
    warnings = [_warning(event) for event in status.warnings]
    _print("Warnings", ("  LAST", "COUNT", "OBJECT", "REASON", "MESSAGE"), warnings)


def _say(facts: Iterable[tuple[str, str]]) -> None:
    for title, text in facts:
        if text:
            say(f"{title + ':':<12}{text}")


def _proof(status: ClusterStatus) -> Iterable[tuple[str, str]]:
    yield "Phase", status.phase + (f" ({status.reason})" if status.reason else "")
    yield "Why", status.message
    yield "Wakes", _instant(status.wakes_at)
    yield "Lost since", _dated(status.lost_since)
    yield "Proven", _dated(status.last_proven_at)
    yield "Agent", status.agent_version


def _summary(found: Inventory) -> Iterable[tuple[str, str]]:
    yield "Kubernetes", ", ".join(filter(None, (found.version, found.distribution, _FORMS[found.form])))
    yield "Network", f"{found.cni} {found.cni_version}".strip()
    states = ", ".join(f"{count} {state}" for state, count in found.node_states.items() if count)
    yield "Nodes", f"{found.nodes_ready} of {found.nodes} ready" + (f": {states}" if states else "")
    yield "Stale", ", ".join(found.stale_kinds) + (" cannot be followed just now" if found.stale_kinds else "")


def _print_inventory(found: Inventory) -> None:
    headers = ("  NODES", "CPU FREE", "OF", "MEMORY FREE", "OF", "GPUS FREE", "OF", "MODEL")
    _print("Room", headers, [_shape(shape) for shape in found.shapes])
    if found.omitted_nodes:
        say(f"  and {found.omitted_nodes} more nodes, of sorts too many to be listed")
    _print("Devices", ("  DEVICE", "RESOURCE", "MEMORY", "FREE", "OF"), [_device(device) for device in found.devices])
    classes = [
        (f"  {info.name}", info.provisioner, info.is_default, _size(info.free_bytes)) for info in found.storage_classes
    ]
    _print("Storage classes", ("  CLASS", "PROVISIONER", "DEFAULT", "FREE"), classes)
    troubled = [
        (f"  {node.name}", node.state, " ".join(filter(None, (", ".join(node.reasons), node.message))))
        for node in found.troubled_nodes
    ]
    _print("Nodes to look at", ("  NODE", "STATE", "WHY"), troubled)


def _print(title: str, headers: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        say(f"{title}:")
        print_table(headers, rows)


def _shape(shape: NodeShape) -> tuple[object, ...]:
    return (
        f"  {shape.nodes}",
        format_millicores(shape.free_millicores),
        format_millicores(shape.allocatable_millicores),
        _size(shape.free_memory_bytes),
        _size(shape.allocatable_memory_bytes),
        shape.free_gpus,
        shape.allocatable_gpus,
        shape.gpu_model,
    )


def _device(device: DeviceInfo) -> tuple[object, ...]:
    name = device.model or device.kind
    return (f"  {name}", device.resource, _size(device.memory_bytes or None), device.free, device.count)


def _link(status: ClusterStatus, link: MeshLink) -> str:
    if status.is_silent:
        return "Stale"
    return "Ready" if link.is_ready else "Down"


def _warning(event: OwnedEvent) -> tuple[object, ...]:
    last = age(event.last_at) if event.last_at is not None else "-"
    return (f"  {last}", event.count, f"{event.kind}/{event.name}", event.reason, " ".join(event.message.split()))


def _size(count: int | None) -> str:
    """Write bytes to three digits or so, as people compare them; None stays unknown."""
    if count is None:
        return ""
    for unit, suffix in _UNITS:
        if count >= unit:
            return f"{count / unit:.3g}{suffix}" if count < 1000 * unit else f"{count // unit}{suffix}"
    return str(count)


def _dated(at: datetime | None) -> str:
    return f"{_instant(at)} ({age(at)} ago)" if at is not None else ""


def _instant(at: datetime | None) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at is not None else ""
