"""NetworkPolicy verdicts agree with an independent analyser's connectivity lists (data/policies/netpol-analyzer)."""

import functools
import ipaddress
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from atoll.policies.identity import PortName
from atoll.policies.manifest import Manifest, Origin
from atoll.policies.rules import Unsupported
from atoll.policies.verdict import Address, Endpoint, Flow, Options, Party, World, verdict

WORKLOADS = {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"}
IGNORED = {"Service", "ConfigMap", "ServiceAccount", "Secret", "PersistentVolumeClaim", "Node", "Ingress", "Route"} | {
    f"{scope}Role{binding}" for scope in ("", "Cluster") for binding in ("", "Binding")
}
# Other worlds: virtual machines and second networks.
ELSEWHERE = {
    "MultiNetworkPolicy",
    "NetworkAttachmentDefinition",
    "UserDefinedNetwork",
    "ClusterUserDefinedNetwork",
    "VirtualMachine",
    "VirtualMachineInstance",
}
LINE = re.compile(r"^(?P<source>\S+) => (?P<destination>\S+) : (?P<what>.+)$")
Ranges = tuple[tuple[str, int, int], ...]
# A workload by its name in the list, or an address outside.
Place = str | ipaddress.IPv4Address


@dataclass(frozen=True)
class Connection:
    """One line of a connectivity list."""

    source: str
    destination: str
    ranges: Ranges

    def covers(self, source: Place, destination: Place) -> bool:
        """Say whether the line is about these parties."""
        return _is(self.source, source) and _is(self.destination, destination)


def _is(written: str, party: Place) -> bool:
    if isinstance(party, str):
        return written == party
    external = _external(written)
    return external is not None and external[0] <= int(party) <= external[1]


@functools.cache
def _external(written: str) -> tuple[int, int] | None:
    """Read `10.0.0.0-10.255.255.255[External]`; None if it is a workload."""
    if not written.endswith("[External]"):
        return None
    first, last = written.removesuffix("[External]").split("-")
    return int(ipaddress.ip_address(first)), int(ipaddress.ip_address(last))


def ranges_of(what: str) -> Ranges:
    """Read `All Connections` or `SCTP 5,UDP 1-79,81`."""
    if what == "All Connections":
        return tuple((protocol, 1, 65535) for protocol in ("TCP", "UDP", "SCTP"))
    found, protocol = [], ""
    for part in what.split(","):
        word, _, ports = part.rpartition(" ")
        protocol = word or protocol
        first, _, last = ports.partition("-")
        found.append((protocol, int(first), int(last or first)))
    return tuple(found)


def objects(folder: Path) -> Iterator[dict]:
    """Give every object of a case's files, lists taken apart."""
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".yaml", ".yml", ".json"):
            for document in yaml.safe_load_all(file.read_text()):
                if isinstance(document, dict):
                    yield from _items(document)


def _items(document: dict) -> list[dict]:
    """Take a list apart; the items of a typed list such as PodList do not name their kind."""
    kind = document.get("kind", "").removesuffix("List")
    return [{"kind": kind, **item} for item in document["items"]] if "items" in document else [document]


def workload(body: dict) -> tuple[str, Endpoint] | None:
    """Give a workload's name in the list and a pod of it."""
    metadata, kind = body["metadata"], body["kind"]
    owners = metadata.get("ownerReferences") or []
    if kind == "CronJob":
        pod = body["spec"]["jobTemplate"]["spec"]["template"]
    elif kind in WORKLOADS:
        pod = body["spec"]["template"]
    else:
        pod = body
    name, shown = (owners[0]["name"], owners[0].get("kind", "")) if owners else (metadata["name"], kind)
    namespace = metadata.get("namespace", "default")
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or []]
    names = tuple(PortName(p["name"], p["containerPort"], p.get("protocol", "TCP")) for p in ports if "name" in p)
    labels = pod.get("metadata", {}).get("labels") or {}
    return f"{namespace}/{name}[{shown}]", Endpoint(name, "c", namespace, labels, port_names=names)


ADMIN = ("AdminNetworkPolicy", "BaselineAdminNetworkPolicy")


def successor(body: dict, number: int) -> Manifest:
    """Write an AdminNetworkPolicy (v1alpha1) as the ClusterNetworkPolicy (v1alpha2) that succeeded it."""
    old = body["spec"]
    spec = {
        "tier": "Admin" if body["kind"] == "AdminNetworkPolicy" else "Baseline",
        "priority": old.get("priority", 0),
        "subject": old["subject"],
    }
    for direction, side in (("ingress", "from"), ("egress", "to")):
        spec[direction] = [
            {"action": rule["action"].replace("Allow", "Accept"), side: rule[side]}
            | ({"protocols": [_protocol(port) for port in rule["ports"]]} if rule.get("ports") else {})
            for rule in old.get(direction) or []
        ]
    new = {"kind": "ClusterNetworkPolicy", "metadata": body["metadata"], "spec": spec}
    return Manifest("ClusterNetworkPolicy", None, body["metadata"]["name"], new, Origin("p", number))


def _protocol(port: dict) -> dict:
    if "namedPort" in port:
        return {"destinationNamedPort": port["namedPort"]}
    given = port.get("portNumber") or port["portRange"]
    protocol = given.get("protocol", "TCP").lower()
    if "port" in given:
        return {protocol: {"destinationPort": {"number": given["port"]}}}
    return {protocol: {"destinationPort": {"range": {"start": given["start"], "end": given["end"]}}}}


@dataclass
class Case:
    """One folder of resources and what the analyser says about them."""

    name: str
    world: World
    pods: dict[str, Endpoint]
    connections: list[Connection]
    addresses: dict[ipaddress.IPv4Address, Address]
    ports: list[int]


def read_case(folder: Path, expected: Path) -> Case | str:
    """Read a case, or say why it is about something else."""
    policies: list[Manifest] = []
    namespaces: dict[str, dict[str, str]] = {}
    pods: dict[str, Endpoint] = {}
    for number, body in enumerate(objects(folder)):
        kind, metadata = body.get("kind"), body.get("metadata") or {}
        if kind in ELSEWHERE:
            return f"holds a {kind}"
        if kind == "NetworkPolicy":
            namespace = metadata.get("namespace", "default")
            policies.append(Manifest(kind, namespace, metadata["name"], body, Origin("p", number)))
        elif kind in ADMIN:
            policies.append(successor(body, number))
        elif kind == "Namespace":
            namespaces[metadata["name"]] = metadata.get("labels") or {}
        elif kind in WORKLOADS or kind in ("Pod", "CronJob"):
            name, pod = workload(body)
            if pods.setdefault(name, pod).labels != pod.labels:
                return "has pods of one owner with different labels"
        elif kind not in IGNORED:
            return f"holds a {kind}"
    # The ingress controller is a peer of the analyser's own making; its lines are not about policies alone.
    texts = [line for line in expected.read_text().splitlines() if line and "{ingress-controller}" not in line]
    lines = [LINE.match(line) for line in texts]
    if not all(lines):
        return "its list has lines of another form"
    found = [Connection(m["source"], m["destination"], ranges_of(m["what"])) for m in lines]
    try:
        world = World({"c": policies}, namespaces, Options(engine="Kubernetes"))
    except Unsupported as error:
        return str(error)
    return Case(folder.name, world, pods, found, _addresses(policies), _ports(policies, found))


def _addresses(policies: list[Manifest]) -> dict[ipaddress.IPv4Address, Address]:
    """Give addresses on both sides of every boundary."""
    found = {"0.0.0.0", "255.255.255.255", "8.8.8.8"}
    for text in re.findall(r"\d+\.\d+\.\d+\.\d+/\d+", str([policy.body for policy in policies])):
        network = ipaddress.ip_network(text, strict=False)
        for edge in (int(network[0]) - 1, int(network[0]), int(network[-1]), int(network[-1]) + 1):
            if 0 <= edge < 1 << 32:
                found.add(str(ipaddress.ip_address(edge)))
    return {ipaddress.IPv4Address(text): Address(text) for text in sorted(found)}


def _ports(policies: list[Manifest], connections: list[Connection]) -> list[int]:
    edges = {1, 65535}
    for connection in connections:
        edges |= {port for _, first, last in connection.ranges for port in (first - 1, first, last, last + 1)}
    for policy in policies:
        edges |= {int(port) for port in re.findall(r"[pP]ort': (\d+)", str(policy.body))}
    return sorted(port for port in edges if 1 <= port <= 65535)


def disagreements(case: Case) -> Iterator[str]:
    """Compare every pair, protocol and port edge with the list; yield what differs."""
    parties: dict[Place, Party] = {**case.pods, **case.addresses}
    for source, destination in itertools.product(parties, parties):
        if source == destination or (source in case.addresses and destination in case.addresses):
            continue
        expected = {item for line in case.connections if line.covers(source, destination) for item in line.ranges}
        for protocol, port in itertools.product(("TCP", "UDP", "SCTP"), case.ports):
            listed = any(name == protocol and first <= port <= last for name, first, last in expected)
            flow = Flow(parties[source], parties[destination], port, protocol)
            if verdict(case.world, flow).allowed != listed:
                yield f"{case.name}: {source} => {destination} {protocol} {port}: listed {listed}"


def test_connectivity_agrees_with_an_independent_analyser(corpus: Path) -> None:
    root = corpus / "policies" / "netpol-analyzer"
    checked, elsewhere, different = [], {}, []
    for expected in sorted((root / "expected").glob("*_connlist_output.txt")):
        name = expected.name.removesuffix("_connlist_output.txt")
        if not (root / "tests" / name).is_dir():
            elsewhere[name] = "has no folder of resources"
            continue
        case = read_case(root / "tests" / name, expected)
        if isinstance(case, str):
            elsewhere[name] = case
        else:
            checked.append(name)
            different += itertools.islice(disagreements(case), 3)
    assert different == []
    assert len(checked) >= 49, elsewhere
    reasons = {reason.partition(" ")[0] for reason in elsewhere.values()}
    assert reasons <= {"holds", "has", "spec.egress[0].to:"}, elsewhere


def test_the_comparison_itself_notices_a_missing_policy(corpus: Path) -> None:
    root, name = corpus / "policies" / "netpol-analyzer", "netpol-analysis-example-minimal"
    case = read_case(root / "tests" / name, root / "expected" / f"{name}_connlist_output.txt")
    case.world = World({"c": []}, {}, Options(engine="Kubernetes"))
    assert any("listed False" in difference for difference in disagreements(case))
