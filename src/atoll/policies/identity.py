"""Who talks: pods, nodes, addresses outside, and the identity that Cilium's policies see of them. Pure."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from atoll.policies.reading.context import CLUSTER, NAMESPACE, NAMESPACE_LABELS
from atoll.policies.rules import Identity

SERVICE_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"
# Labels that never become part of an identity (pkg/labelsfilter/filter.go, the default list; matched at the start).
_DROPPED = re.compile(
    r"io\.kubernetes|kubernetes\.io|.*beta\.kubernetes\.io|k8s\.io|topology\.kubernetes\.io|pod-template-generation"
    r"|pod-template-hash|controller-revision-hash|annotation|controller-uid|etcd_node"
    r"|statefulset\.kubernetes\.io/pod-name|apps\.kubernetes\.io/pod-index"
    r"|batch\.kubernetes\.io/(job-completion-index|controller-uid)"
    r"|io\.cilium\.k8s"  # filterPodLabels, pkg/k8s/utils: what Cilium itself writes
)


_KEPT = re.compile(
    r"io\.cilium\.k8s\.(policy\.(cluster|serviceaccount)$|namespace\.labels\.)|io\.kubernetes\.pod\.namespace$"
)


def is_dropped(key: str) -> bool:
    """Tell whether Cilium keeps a pod's label out of its identity by default, so that no selector can see it."""
    return _DROPPED.match(key) is not None and _KEPT.match(key) is None


@dataclass(frozen=True)
class PortName:
    """A container port that has a name."""

    name: str
    port: int
    protocol: str = "TCP"


@dataclass(frozen=True)
class Endpoint:
    """A pod, or one of Cilium's own endpoints if `reserved` is health, init or ingress."""

    name: str
    cluster: str
    namespace: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    service_account: str = "default"
    port_names: tuple[PortName, ...] = ()
    reserved: str | None = None


@dataclass(frozen=True)
class Entity:
    """A peer that is no endpoint: host, remote-node, kube-apiserver, world, unmanaged, health, init or ingress."""

    name: str


@dataclass(frozen=True)
class Address:
    """A peer outside, by its address; with the names DNS gave for it, and whether it serves the Kubernetes API."""

    address: str
    is_kube_apiserver: bool = False
    domain_names: tuple[str, ...] = ()


Party = Endpoint | Entity | Address


def identity_of(
    party: Party, namespaces: Mapping[str, Mapping[str, str]], *, dual_stack: bool = True, is_cilium: bool = True
) -> Identity:
    """Give what policies see of a party.

    Args:
        party: who.
        namespaces: labels by namespace name; `cluster/name` stands before `name`.
        dual_stack: whether Cilium runs IPv4 and IPv6; it then has a world of its own for each.
        is_cilium: whether some labels are dropped, as Cilium does; other CNIs see all of them.
    """
    if isinstance(party, Endpoint):
        kept = {key: value for key, value in party.labels.items() if not (is_cilium and _DROPPED.match(key))}
        return Identity(_endpoint_labels(party, kept, namespaces))
    if isinstance(party, Entity):
        return _entity(party.name, dual_stack)
    address = ipaddress.ip_address(party.address)
    labels = {_world(address.version, dual_stack): ""}
    if party.is_kube_apiserver:
        labels["reserved:kube-apiserver"] = ""
    return Identity(labels, address, party.domain_names)


def _world(version: int, dual_stack: bool) -> str:
    return f"reserved:world-ipv{version}" if dual_stack else "reserved:world"


def _entity(name: str, dual_stack: bool) -> Identity:
    if name == "world":
        return Identity({_world(4, dual_stack): ""}, is_all_of=4)
    labels = {f"reserved:{name}": ""}
    if name == "kube-apiserver":
        labels["reserved:remote-node"] = ""
    return Identity(labels)


def _endpoint_labels(
    endpoint: Endpoint, own: Mapping[str, str], namespaces: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    if endpoint.reserved:
        return {f"reserved:{endpoint.reserved}": ""}
    of_namespace = namespaces.get(f"{endpoint.cluster}/{endpoint.namespace}", namespaces.get(endpoint.namespace, {}))
    labels = {f"k8s:{key}": value for key, value in own.items()}
    for key, value in {**of_namespace, "kubernetes.io/metadata.name": endpoint.namespace}.items():
        labels[f"k8s:{NAMESPACE_LABELS}{key}"] = value
    labels[f"k8s:{NAMESPACE}"] = endpoint.namespace
    labels[f"k8s:{CLUSTER}"] = endpoint.cluster
    labels[f"k8s:{SERVICE_ACCOUNT}"] = endpoint.service_account
    return labels
