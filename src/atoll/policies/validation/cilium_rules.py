"""Rules of Cilium policies that span several fields: what the agent's own check (Sanitize) refuses, and known traps.

A trap is a policy that Cilium accepts and that does not do what it says; it is refused with what to write instead.
Assumes nothing of the shape: wrong types are already reported by `cilium.py` and are passed over here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from atoll.policies.features import Features
from atoll.policies.validation.cilium import PORTLESS_PROTOCOLS
from atoll.policies.validation.shapes import FORBIDDEN, INVALID, NOT_SUPPORTED, REQUIRED, Findings

DIRECTIONS = ("ingress", "ingressDeny", "egress", "egressDeny")
_PEERS = ("Endpoints", "CIDR", "CIDRSet", "Entities", "Groups", "Nodes", "Services", "FQDNs")
# An empty list of these is no member at all (mergeEndpointSelectors, pkg/policy/utils); of the others it is nobody.
_NO_MEMBER_IF_EMPTY = ("Groups", "Services", "FQDNs")
NAMESPACE_KEYS = (
    "k8s:io.kubernetes.pod.namespace",
    "any:io.kubernetes.pod.namespace",
    "io.kubernetes.pod.namespace",
)


@dataclass(frozen=True)
class _Item:
    """One item of one of the four lists."""

    direction: str
    path: str
    body: Mapping[str, Any]
    on_host: bool
    features: Features

    @property
    def is_ingress(self) -> bool:
        return self.direction.startswith("ingress")


def check_rules(body: Mapping[str, Any], namespace: str | None, features: Features, out: Findings) -> None:
    """Report everything wrong across the fields of a Cilium policy; `namespace` is None for the clusterwide kind."""
    if body.get("spec") is None and not isinstance(body.get("specs"), list):
        out.add("spec", REQUIRED, "spec or specs is required")
    if body.get("specs") == [] and "spec" not in body:
        out.add("specs", REQUIRED, "is empty: the policy would do nothing")
    for path, rule in rules_of(body):
        _check_rule(rule, path, namespace, out)
        for item in _items(rule, path, features):
            _check_item(item, out)


def rules_of(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give every rule of a Cilium policy with its path."""
    if isinstance(body.get("spec"), Mapping):
        yield "spec", body["spec"]
    specs = body.get("specs")
    for index, rule in enumerate(specs if isinstance(specs, list) else ()):
        if isinstance(rule, Mapping):
            yield f"specs[{index}]", rule


def _items(rule: Mapping[str, Any], path: str, features: Features) -> Iterator[_Item]:
    for direction in DIRECTIONS:
        for index, body in enumerate(_list(rule.get(direction))):
            if isinstance(body, Mapping):
                yield _Item(direction, f"{path}.{direction}[{index}]", body, "nodeSelector" in rule, features)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _check_rule(rule: Mapping[str, Any], path: str, namespace: str | None, out: Findings) -> None:
    has_endpoints, has_nodes = "endpointSelector" in rule, "nodeSelector" in rule
    if has_nodes and namespace is not None:
        out.add(f"{path}.nodeSelector", FORBIDDEN, "needs a CiliumClusterwideNetworkPolicy: nodes are in no namespace")
    elif has_endpoints and has_nodes:
        out.add(path, FORBIDDEN, "endpointSelector and nodeSelector exclude each other; keep one")
    elif not has_endpoints and not has_nodes:
        choice = "endpointSelector" if namespace is not None else "endpointSelector or nodeSelector"
        out.add(path, REQUIRED, f"needs an {choice}; {{}} selects every endpoint")
    if not any(rule.get(direction) for direction in DIRECTIONS):
        out.add(
            path, REQUIRED, f"needs an item in one of {', '.join(DIRECTIONS)}; for default deny write ingress: [{{}}]"
        )
    _check_default_deny(rule, path, out)
    if namespace is not None:
        _check_subject_namespace(rule.get("endpointSelector"), f"{path}.endpointSelector", namespace, out)


def _check_default_deny(rule: Mapping[str, Any], path: str, out: Findings) -> None:
    switches = rule.get("enableDefaultDeny")
    for direction in ("ingress", "egress"):
        wanted = isinstance(switches, Mapping) and switches.get(direction) is True
        if wanted and not rule.get(direction) and not rule.get(f"{direction}Deny"):
            hint = f"has no effect without an item in {direction}; add {direction}: [{{}}]"
            out.add(f"{path}.enableDefaultDeny.{direction}", INVALID, hint)


def _check_subject_namespace(selector: object, path: str, namespace: str, out: Findings) -> None:
    """Cilium overrides another namespace silently, or selects nothing (cilium#45231)."""
    if not isinstance(selector, Mapping):
        return
    labels = selector.get("matchLabels")
    for key in NAMESPACE_KEYS:
        if isinstance(labels, Mapping) and labels.get(key, namespace) != namespace:
            out.add(f"{path}.matchLabels.{key}", INVALID, _other_namespace(namespace))
    for index, term in enumerate(_list(selector.get("matchExpressions"))):
        if not isinstance(term, Mapping) or term.get("key") not in NAMESPACE_KEYS:
            continue
        keeps_own = term.get("operator") == "Exists" or term.get("values") == [namespace]
        if not keeps_own or term.get("operator") not in ("In", "Exists"):
            out.add(f"{path}.matchExpressions[{index}]", INVALID, _other_namespace(namespace))


def _other_namespace(namespace: str) -> str:
    return (
        f"selects outside the policy's namespace {namespace!r}, which Cilium ignores; "
        "put the policy into that namespace or use a CiliumClusterwideNetworkPolicy"
    )


def _check_item(item: _Item, out: Findings) -> None:
    side = "from" if item.is_ingress else "to"
    members = [f"{side}{kind}" for kind in _PEERS if f"{side}{kind}" in item.body]
    if len(members) > 1:
        out.add(item.path, FORBIDDEN, f"{' and '.join(members)} cannot stand in one item; write an item for each")
    if item.body.get("icmps") and item.body.get("toPorts"):
        out.add(item.path, FORBIDDEN, "icmps and toPorts cannot stand in one item; write an item for each")
    for name in (f"{side}{kind}" for kind in _NO_MEMBER_IF_EMPTY):
        if item.body.get(name) == []:
            out.add(f"{item.path}.{name}", INVALID, "is empty, which Cilium takes for everybody; name one or remove it")
    if f"{side}Nodes" in item.body and not item.features.node_selector_labels:
        out.add(f"{item.path}.{side}Nodes", NOT_SUPPORTED, "needs Cilium's option enable-node-selector-labels")
    for index, port_rule in enumerate(_list(item.body.get("toPorts"))):
        if isinstance(port_rule, Mapping):
            _check_port_rule(item, port_rule, f"{item.path}.toPorts[{index}]", out)


def _check_port_rule(item: _Item, port_rule: Mapping[str, Any], path: str, out: Findings) -> None:
    ports = [port for port in _list(port_rule.get("ports")) if isinstance(port, Mapping)]
    for index, port in enumerate(ports):
        _check_port(item, port, f"{path}.ports[{index}]", out)
    l7 = port_rule.get("rules")
    if isinstance(l7, Mapping):
        _check_l7(item, port_rule, path, out)
        _check_l7_ports(l7, ports, path, out)
    listener = port_rule.get("listener")
    if listener is not None and item.is_ingress:
        out.add(f"{path}.listener", FORBIDDEN, "is for egress only")
    if listener is not None and l7:
        out.add(f"{path}.listener", FORBIDDEN, "cannot stand beside rules; keep one")


def _check_port(item: _Item, port: Mapping[str, Any], path: str, out: Findings) -> None:
    number, end, protocol = port.get("port"), port.get("endPort"), port.get("protocol")
    if protocol in PORTLESS_PROTOCOLS:
        if number not in (None, "", "0"):
            out.add(f"{path}.port", FORBIDDEN, f"{protocol} has no ports; remove it")
        if not item.features.extended_ip_protocols:
            out.add(f"{path}.protocol", NOT_SUPPORTED, f"{protocol} needs Cilium's option enable-extended-ip-protocols")
    elif number is None:
        out.add(f"{path}.port", REQUIRED, 'is required; "0" means every port')
    if not isinstance(number, str) or not isinstance(end, int) or not end:
        return
    if not number.isdigit():
        out.add(f"{path}.endPort", FORBIDDEN, "needs a port number; a named port has no range")
    elif int(number) == 0:
        out.add(f"{path}.endPort", INVALID, 'port "0" means every port and Cilium ignores endPort; write "1"')
    elif end < int(number):
        out.add(f"{path}.endPort", INVALID, f"{end} lies below port {number}: Cilium would use port {number} alone")


def _check_l7(item: _Item, port_rule: Mapping[str, Any], path: str, out: Findings) -> None:
    l7 = port_rule["rules"]
    if item.on_host and item.is_ingress:
        out.add(f"{path}.rules", FORBIDDEN, "L7 rules are not possible on a host's ingress")
    elif item.on_host and "http" in l7:
        out.add(f"{path}.rules.http", FORBIDDEN, "HTTP rules are not possible on a host's egress")
    if "dns" in l7 and item.is_ingress:
        out.add(f"{path}.rules.dns", FORBIDDEN, "DNS rules are for egress only")
    if l7 and "serverNames" in port_rule and "terminatingTLS" not in port_rule:
        out.add(f"{path}.serverNames", FORBIDDEN, "beside L7 rules needs terminatingTLS")


def _check_l7_ports(l7: Mapping[str, Any], ports: list[Mapping[str, Any]], path: str, out: Findings) -> None:
    if l7 and not ports:
        hint = 'usually "53"' if "dns" in l7 else "without one the item allows nothing"
        out.add(f"{path}.ports", REQUIRED, f"L7 rules need a port, {hint}")
    for index, port in enumerate(ports):
        where, protocol = f"{path}.ports[{index}]", port.get("protocol", "ANY")
        if port.get("port") == "0":
            out.add(f"{where}.port", INVALID, "L7 rules need a real port")
        if "http" in l7 and protocol != "TCP":
            out.add(f"{where}.protocol", INVALID, f"HTTP rules need protocol TCP, not {protocol}")
        if "dns" in l7 and protocol not in ("TCP", "UDP", "ANY"):
            out.add(f"{where}.protocol", INVALID, f"DNS rules need protocol TCP, UDP or ANY, not {protocol}")
        if "dns" in l7 and port.get("endPort"):
            out.add(f"{where}.endPort", FORBIDDEN, "DNS rules have no port ranges")
