"""The shape of Kubernetes' own policies: NetworkPolicy (networking.k8s.io/v1) and ClusterNetworkPolicy (v1alpha2).

Follows kubernetes/kubernetes pkg/apis/networking/validation and the CRD of kubernetes-sigs/network-policy-api.
"""

from collections.abc import Mapping
from typing import Any

from atoll.policies.features import Features
from atoll.policies.validation.shapes import (
    FORBIDDEN,
    INVALID,
    NOT_SUPPORTED,
    REQUIRED,
    Findings,
    Shape,
    array,
    both,
    integer,
    one_of,
    show,
    struct,
    text,
)
from atoll.policies.validation.values import (
    cidr,
    cilium_selector,
    except_inside,
    kubernetes_port,
    label_selector,
    parse_cidr,
    port_name,
)


def _peer(value: object, path: str, out: Findings) -> None:
    if not isinstance(value, Mapping):
        return
    if not value:
        out.add(path, REQUIRED, "needs podSelector, namespaceSelector or ipBlock")
    if "ipBlock" in value and len(value) > 1:
        out.add(path, FORBIDDEN, "ipBlock cannot stand beside a selector; write an item for each")


def _port_range(value: object, path: str, out: Findings) -> None:
    if not isinstance(value, Mapping) or "endPort" not in value:
        return
    port, end = value.get("port"), value["endPort"]
    if not isinstance(port, int):
        out.add(f"{path}.endPort", FORBIDDEN, "needs a port number beside it")
    elif isinstance(end, int) and end < port:
        out.add(f"{path}.endPort", INVALID, f"{end} lies below port {port}")


def _no_repeat(value: object, path: str, out: Findings) -> None:
    if isinstance(value, list) and len(value) != len({str(item) for item in value}):
        out.add(path, INVALID, "names a direction twice")


_ip_block = both(
    struct({"cidr": cidr, "except": array(cidr)}, required=("cidr",)),
    lambda value, path, out: except_inside(value, path, out, strict=True),
)
_peers = array(
    both(
        struct({"podSelector": label_selector, "namespaceSelector": label_selector, "ipBlock": _ip_block}),
        _peer,
    )
)
_ports = array(
    both(
        struct(
            {"port": kubernetes_port, "endPort": integer(1, 65535), "protocol": one_of("TCP", "UDP", "SCTP")},
        ),
        _port_range,
    )
)
NETWORK_POLICY: Mapping[str, Shape] = {
    "spec": struct(
        {
            "podSelector": label_selector,
            "policyTypes": both(array(one_of("Ingress", "Egress"), most=2), _no_repeat),
            "ingress": array(struct({"from": _peers, "ports": _ports})),
            "egress": array(struct({"to": _peers, "ports": _ports})),
        },
        required=("podSelector",),
    )
}

_number = integer(1, 65535)


def _range_order(value: object, path: str, out: Findings) -> None:
    if isinstance(value, Mapping):
        start, end = value.get("start"), value.get("end")
        if isinstance(start, int) and isinstance(end, int) and start >= end:
            out.add(path, INVALID, f"start {start} must lie below end {end}")


def _named_port(value: object, path: str, out: Findings) -> None:
    if not isinstance(value, str):
        text()(value, path, out)
    elif wrong := port_name(value):
        out.add(path, INVALID, wrong)


def _network(value: object, path: str, out: Findings) -> None:
    cidr(value, path, out)
    network = parse_cidr(value)
    if network is not None and str(value).split("/")[0] != str(network.network_address):
        out.add(path, INVALID, f"{show(value)} has host bits set; write {network}")


_destination = struct(
    {
        "destinationPort": struct(
            {
                "number": _number,
                "range": both(struct({"start": _number, "end": _number}, required=("start", "end")), _range_order),
            },
            exactly_one=("number", "range"),
        )
    },
    required=("destinationPort",),
)
_protocols = array(
    struct(
        {"tcp": _destination, "udp": _destination, "sctp": _destination, "destinationNamedPort": _named_port},
        exactly_one=("tcp", "udp", "sctp", "destinationNamedPort"),
    ),
    least=1,
    most=25,
)
# Cilium's own sources (reserved:, k8s:) are valid here: the API server does not check the keys of a CRD's selectors.
_pods = struct({"namespaceSelector": label_selector, "podSelector": cilium_selector}, required=("podSelector",))
_NAMED = {"namespaces": label_selector, "pods": _pods}
_DOMAIN = r"(\*\.)?([a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?"
_OUTSIDE = {
    "nodes": label_selector,
    "networks": array(_network, least=1, most=25),
    "domainNames": array(text(pattern=_DOMAIN, says="is no domain name"), least=1, most=25),
}
_subject = struct(_NAMED, exactly_one=tuple(_NAMED))
_action = one_of("Accept", "Deny", "Pass")


def _cluster_rule(side: str, peers: Mapping[str, Shape]) -> Shape:
    return struct(
        {
            "name": text(longest=100),
            "action": _action,
            side: array(struct(peers, exactly_one=tuple(peers)), least=1, most=25),
            "protocols": _protocols,
        },
        required=("action", side),
    )


def _egress_peers(value: object, path: str, out: Findings) -> None:
    if not isinstance(value, Mapping) or not isinstance(value.get("to"), list):
        return
    kinds = {name for peer in value["to"] if isinstance(peer, Mapping) for name in peer}
    protocols: list[Any] = value["protocols"] if isinstance(value.get("protocols"), list) else []
    named = any(isinstance(protocol, Mapping) and "destinationNamedPort" in protocol for protocol in protocols)
    if named and kinds & set(_OUTSIDE):
        out.add(f"{path}.protocols", FORBIDDEN, "networks, nodes and domainNames have no named ports; write numbers")
    if "domainNames" in kinds and value.get("action") in ("Deny", "Pass"):
        out.add(f"{path}.action", NOT_SUPPORTED, "domainNames can only be accepted, not denied or passed")


def check_nodes(body: Mapping[str, Any], features: Features, out: Findings) -> None:
    """Report peers by node of a ClusterNetworkPolicy that no agent takes."""
    spec = body.get("spec")
    rules = spec.get("egress") if isinstance(spec, Mapping) and not features.node_selector_labels else ()
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        peers = rule.get("to") if isinstance(rule, Mapping) else ()
        for place, peer in enumerate(peers if isinstance(peers, list) else ()):
            if isinstance(peer, Mapping) and "nodes" in peer:
                where = f"spec.egress[{index}].to[{place}].nodes"
                out.add(where, NOT_SUPPORTED, "needs Cilium's option enable-node-selector-labels")


CLUSTER_NETWORK_POLICY: Mapping[str, Shape] = {
    "spec": struct(
        {
            "tier": one_of("Admin", "Baseline"),
            "priority": integer(0, 1000),
            "subject": _subject,
            "ingress": array(_cluster_rule("from", _NAMED), most=25),
            "egress": array(both(_cluster_rule("to", _NAMED | _OUTSIDE), _egress_peers), most=25),
        },
        required=("tier", "priority", "subject"),
    )
}
