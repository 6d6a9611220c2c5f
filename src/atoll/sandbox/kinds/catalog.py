"""Everything that a simulated cluster serves.

Owns the list of kinds and the short names by which the sandbox's rooms import them.
"""

from __future__ import annotations

from collections.abc import Iterable

from atoll.kubeapi.resource import Registry, ResourceType
from atoll.sandbox.kinds.core import CONFIG_MAP, EVENT, LEASE, NAMESPACE, NODE, SECRET, SERVICE, SERVICE_ACCOUNT
from atoll.sandbox.kinds.keeping import DISRUPTION_BUDGET, STATEFUL_SET
from atoll.sandbox.kinds.mesh import ENDPOINT_SLICE, SERVICE_EXPORT
from atoll.sandbox.kinds.metrics import POD_METRICS
from atoll.sandbox.kinds.network import (
    CILIUM_CIDR_GROUP,
    CILIUM_CLUSTER_POLICY,
    CILIUM_ENDPOINT,
    CILIUM_IDENTITY,
    CILIUM_NODE,
    CILIUM_POLICY,
    CLUSTER_NETWORK_POLICY,
    NETWORK_POLICY,
)
from atoll.sandbox.kinds.pods import POD
from atoll.sandbox.kinds.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from atoll.sandbox.kinds.storage import CLAIM, CSI_CAPACITY, CSI_DRIVER, STORAGE_CLASS, VOLUME
from atoll.sandbox.kinds.workloads import DEPLOYMENT, JOB

EXTENSIONS: tuple[ResourceType, ...] = (
    *(CILIUM_POLICY, CILIUM_CLUSTER_POLICY, CILIUM_CIDR_GROUP, CILIUM_NODE, CILIUM_ENDPOINT, CILIUM_IDENTITY),
    *(CLUSTER_NETWORK_POLICY, SERVICE_EXPORT),
)
"""Kinds that a real cluster has from CustomResourceDefinitions; here they are served from the start, but shallowly.

A definition of the same resource takes their place: its schema then judges what is written, and deleting it deletes
the objects too, as in a real cluster. When it is gone, these are served again.
"""

KINDS: tuple[ResourceType, ...] = (
    *(NAMESPACE, NODE, POD, CONFIG_MAP, SECRET, SERVICE_ACCOUNT, SERVICE, EVENT, CLAIM, VOLUME),
    *(DEPLOYMENT, STATEFUL_SET, DISRUPTION_BUDGET, JOB, LEASE, ENDPOINT_SLICE),
    *(STORAGE_CLASS, CSI_DRIVER, CSI_CAPACITY),
    *(ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING),
    *(NETWORK_POLICY, POD_METRICS, *EXTENSIONS),
)


def registry(more: Iterable[ResourceType] = ()) -> Registry:
    """Return a registry of all kinds for one cluster's API server, and of those that its operators bring."""
    kinds = Registry()
    for rt in (*KINDS, *more):
        kinds.register(rt)
    return kinds


__all__ = [
    "CILIUM_CIDR_GROUP",
    "CILIUM_CLUSTER_POLICY",
    "CILIUM_ENDPOINT",
    "CILIUM_IDENTITY",
    "CILIUM_NODE",
    "CILIUM_POLICY",
    "CLAIM",
    "CLUSTER_NETWORK_POLICY",
    "CLUSTER_ROLE",
    "CLUSTER_ROLE_BINDING",
    "CONFIG_MAP",
    "CSI_CAPACITY",
    "CSI_DRIVER",
    "DEPLOYMENT",
    "DISRUPTION_BUDGET",
    "ENDPOINT_SLICE",
    "EVENT",
    "EXTENSIONS",
    "JOB",
    "KINDS",
    "LEASE",
    "NAMESPACE",
    "NETWORK_POLICY",
    "NODE",
    "POD",
    "POD_METRICS",
    "ROLE",
    "ROLE_BINDING",
    "SECRET",
    "SERVICE",
    "SERVICE_ACCOUNT",
    "SERVICE_EXPORT",
    "STATEFUL_SET",
    "STORAGE_CLASS",
    "VOLUME",
    "registry",
]
