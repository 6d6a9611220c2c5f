"""NetworkPolicy, Cilium's policies and state, and ClusterNetworkPolicy.

Owns schemas deep enough for apply and for unknown top-level fields; what a policy means is the policies room's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from atoll.kubeapi.resource import Column, Object
from atoll.sandbox.kinds.native import Names, native
from atoll.sandbox.kinds.shape import (
    ANY,
    CONDITIONS,
    INT_OR_STRING,
    INTEGER,
    SELECTOR,
    STRING,
    STRINGS,
    array,
    defaulted,
    mapping,
    struct,
)

_CILIUM = "cilium.io/v2"

_PORT = struct({"protocol": defaulted(STRING, "TCP"), "port": INT_OR_STRING, "endPort": INTEGER})
_PEER = struct(
    {
        "podSelector": SELECTOR,
        "namespaceSelector": SELECTOR,
        "ipBlock": struct({"cidr": STRING, "except": STRINGS}, required=("cidr",)),
    }
)


def _pod_selector(policy: Mapping[str, Any], _: datetime) -> str:
    labels = policy.get("spec", {}).get("podSelector", {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>"


def _default_policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]


NETWORK_POLICY = native(
    Names("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", short=("netpol",)),
    {
        "spec": struct(
            {
                "podSelector": SELECTOR,
                "policyTypes": STRINGS,
                "ingress": array(struct({"from": array(_PEER), "ports": array(_PORT)})),
                "egress": array(struct({"to": array(_PEER), "ports": array(_PORT)})),
            }
        )
    },
    default=_default_policy,
    columns=(Column("Pod-Selector", "string", value=_pod_selector),),
)

_RULES = array(ANY)
_CILIUM_SPEC = struct(
    {
        "description": STRING,
        "endpointSelector": ANY,
        "nodeSelector": ANY,
        "enableDefaultDeny": ANY,
        "ingress": _RULES,
        "ingressDeny": _RULES,
        "egress": _RULES,
        "egressDeny": _RULES,
        "labels": _RULES,
        "log": ANY,
    }
)
_CILIUM_POLICY = {
    "spec": _CILIUM_SPEC,
    "specs": array(_CILIUM_SPEC),
    "status": struct({"conditions": CONDITIONS, "derivativePolicies": mapping(ANY)}),
}


def _valid(policy: Mapping[str, Any], _: datetime) -> str:
    conditions = policy.get("status", {}).get("conditions", ())
    return next((str(c["status"]) for c in conditions if c["type"] == "Valid"), "")


def _address(node: Mapping[str, Any], kind: str) -> str:
    addresses = node.get("spec", {}).get("addresses", ())
    return next((str(a["ip"]) for a in addresses if a["type"] == kind), "")


_VALID = Column("Valid", "string", value=_valid)

CILIUM_POLICY = native(
    Names(_CILIUM, "CiliumNetworkPolicy", "ciliumnetworkpolicies", short=("cnp", "ciliumnp"), categories=("cilium",)),
    _CILIUM_POLICY,
    columns=(_VALID,),
)
CILIUM_CLUSTER_POLICY = native(
    Names(_CILIUM, "CiliumClusterwideNetworkPolicy", "ciliumclusterwidenetworkpolicies", short=("ccnp",)),
    _CILIUM_POLICY,
    namespaced=False,
    columns=(_VALID,),
)
CILIUM_CIDR_GROUP = native(
    Names(_CILIUM, "CiliumCIDRGroup", "ciliumcidrgroups", short=("ccg",)),
    {"spec": struct({"externalCIDRs": STRINGS}, required=("externalCIDRs",))},
    namespaced=False,
)
CILIUM_NODE = native(
    Names(_CILIUM, "CiliumNode", "ciliumnodes", short=("cn",), categories=("cilium",)),
    {"spec": ANY, "status": ANY},
    namespaced=False,
    columns=(
        Column("CiliumInternalIP", "string", value=lambda o, _: _address(o, "CiliumInternalIP")),
        Column("InternalIP", "string", value=lambda o, _: _address(o, "InternalIP")),
    ),
)
CILIUM_ENDPOINT = native(
    Names(_CILIUM, "CiliumEndpoint", "ciliumendpoints", short=("cep",), categories=("cilium",)),
    {"status": ANY},
    columns=(
        Column("Security Identity", "integer", ".status.identity.id"),
        Column("Endpoint State", "string", ".status.state"),
        Column("IPv4", "string", ".status.networking.addressing[0].ipv4"),
    ),
)
CILIUM_IDENTITY = native(
    Names(_CILIUM, "CiliumIdentity", "ciliumidentities", short=("ciliumid",), categories=("cilium",)),
    {"security-labels": mapping(STRING)},
    namespaced=False,
)

_TIERED_PEERS = array(ANY)
_TIERED_RULE = struct(
    {
        "name": STRING,
        "action": STRING,
        "from": _TIERED_PEERS,
        "to": _TIERED_PEERS,
        "ports": _TIERED_PEERS,
        "protocols": _TIERED_PEERS,
    },
    required=("action",),
)
CLUSTER_NETWORK_POLICY = native(
    Names("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", "clusternetworkpolicies", short=("cnetpol",)),
    {
        "spec": struct(
            {
                "tier": STRING,
                "priority": INTEGER,
                "subject": struct({"namespaces": SELECTOR, "pods": ANY}),
                "ingress": array(_TIERED_RULE),
                "egress": array(_TIERED_RULE),
            },
            required=("tier", "priority", "subject"),
        ),
        "status": struct({"conditions": CONDITIONS}),
    },
    namespaced=False,
    columns=(Column("Tier", "string", ".spec.tier"), Column("Priority", "integer", ".spec.priority")),
)
