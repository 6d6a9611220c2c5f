"""What a Cilium agent answers, in the shape of its OpenAPI (agent API v1, Cilium 1.18 to 1.20).

Owns the wire form, above all Go's omitempty: false, 0 and empty are absent. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from atoll.kubeapi.resource import Object
from atoll.sandbox.cilium.links import Link
from atoll.sandbox.spec import ClusterSpec, NodeSpec

_NEVER = "0001-01-01T00:00:00.000Z"  # Go's zero time: the agent sends it for "has never failed"
_NEAR_IDENTITIES = 256  # the first identity that is not reserved
_IDENTITY_BITS = 16  # of a cluster's part of an identity, with at most 255 clusters


def omit_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what Go leaves out."""
    return {
        key: each
        for key, each in value.items()
        if each is not None and each is not False and each not in (0, "", {}, [])
    }


def health(
    spec: ClusterSpec, remotes: Iterable[tuple[ClusterSpec, Link]], namespaces: int, *, node: str
) -> dict[str, Any]:
    """Return the StatusResponse of `GET /healthz` on one node."""
    views = [remote(far, link, namespaces, is_cached=spec.has_kvstoremesh) for far, link in remotes]
    ok = {"state": "Ok"}
    return {
        "cilium": {**ok, "msg": f"{spec.cilium_version} (simulated by the Atoll sandbox)"},
        "kubernetes": {**ok, "msg": spec.version, "k8s-api-versions": ["cilium/v2::CiliumNetworkPolicy"]},
        "kvstore": {"state": "Disabled"},
        "cluster": omit_empty({"self": f"{spec.name}/{node}", "ciliumHealth": ok}),
        "cluster-mesh": omit_empty({"clusters": views}),
        "identity-range": {
            "min-identity": _NEAR_IDENTITIES,
            "max-identity": (spec.mesh_id << _IDENTITY_BITS) + 0xFFFF,
        },
        "encryption": {"mode": "Wireguard"},
    }


def remote(spec: ClusterSpec, link: Link, namespaces: int, *, is_cached: bool = False) -> dict[str, Any]:
    """Return the RemoteCluster for a link; a lost one keeps what was synchronized.

    Through KVStoreMesh's cache agents stay ready whatever becomes of the link: their own etcd is all they connect to.
    """
    is_up = link.is_up or is_cached
    endpoint = "https://clustermesh-apiserver.kube-system.svc:2379" if is_cached else _endpoint(spec)
    failures = Link() if is_cached else link
    synced = {"nodes": is_up, "services": is_up, "endpoints": is_up, "identities": is_up}
    config = {"required": True, "retrieved": is_up, "cluster-id": spec.mesh_id if is_up else 0}
    return {
        **omit_empty(
            {
                "name": spec.name,
                "ready": is_up,
                "connected": is_up,
                "status": _etcd(endpoint, is_up=is_up),
                "config": omit_empty({**config, "kvstoremesh": is_cached, "sync-canaries": is_up}),
                "num-nodes": len(spec.nodes),
                "num-identities": namespaces,
                "num-failures": failures.failures,
            }
        ),
        "synced": {**omit_empty(synced)},
        "last-failure": instant(failures.last_failure_at),
    }


def _endpoint(spec: ClusterSpec) -> str:
    return f"https://{spec.name}.mesh.cilium.io:2379"


def _etcd(endpoint: str, *, is_up: bool) -> str:
    if is_up:
        return f"etcd: 1/1 connected, leases=0, lock leases=0, has-quorum=true: {endpoint} - 3.5.21 (Leader)"
    lost = f"{endpoint} - context deadline exceeded"
    return f"etcd: 0/1 connected, leases=0, lock leases=0, has-quorum=false: {lost}"


def instant(at: datetime | None) -> str:
    """Return a time as Go's strfmt writes it."""
    return _NEVER if at is None else f"{at.strftime('%Y-%m-%dT%H:%M:%S')}.{at.microsecond // 1000:03d}Z"


def node_name(spec: ClusterSpec, index: int) -> str:
    """Return a node's name in the mesh."""
    return f"{spec.name}/{spec.nodes[index].name}"


def nodes(own: ClusterSpec, others: Iterable[ClusterSpec]) -> list[dict[str, Any]]:
    """Return a NodeElement for each node of the cluster itself and of the others that it reaches."""
    return [_node(spec, index, is_own=spec is own) for spec in (own, *others) for index in range(len(spec.nodes))]


def _node(spec: ClusterSpec, index: int, *, is_own: bool) -> dict[str, Any]:
    address = {"enabled": True, "ip": spec.node_address(index), "alloc-range": spec.pod_cidr(index)}
    return {
        "name": node_name(spec, index),
        "primary-address": {"ipv4": {**address, "address-type": "InternalIP"}},
        "source": "custom-resource" if is_own else "clustermesh",
    }


def configuration(spec: ClusterSpec) -> dict[str, Any]:
    """Return the DaemonConfiguration of `GET /config`."""
    options = {"PolicyVerdictNotification": "Enabled", "PolicyAuditMode": "Disabled"}
    daemon = {
        "ClusterName": spec.name,
        "ClusterID": spec.mesh_id,
        "EnablePolicy": "default",
        "PolicyAuditMode": False,
        "EnableK8sNetworkPolicy": True,
        "EnableCiliumClusterwideNetworkPolicy": True,
    }
    return {
        "spec": {"options": options, "policy-enforcement": "default"},
        "status": {
            "realized": {"options": options, "policy-enforcement": "default"},
            "addressing": {"ipv4": {"enabled": True, "ip": spec.node_address(0), "alloc-range": spec.pod_cidr(0)}},
            "ipam-mode": "cluster-pool",
            "daemonConfigurationMap": daemon,
        },
    }


def endpoint(spec: ClusterSpec, pod: Object, labels: Iterable[str], policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Endpoint of a running pod with its identity's labels and what of policies it has realized."""
    metadata = pod["metadata"]
    return {
        "id": _number(metadata["uid"]),
        "status": {
            "state": "ready",
            "identity": {"id": identity(spec, labels), "labels": list(labels)},
            "external-identifiers": {
                "k8s-namespace": metadata["namespace"],
                "k8s-pod-name": metadata["name"],
                "pod-name": f"{metadata['namespace']}/{metadata['name']}",
            },
            "networking": {"addressing": [{"ipv4": pod["status"].get("podIP", "")}]},
            "policy": {"realized": policy, "spec": policy},
        },
    }


def host_labels(node: NodeSpec) -> list[str]:
    """Return the labels of a node as an endpoint: the node's own, and that it is the host."""
    return sorted(["reserved:host", *(f"k8s:{key}={value}" for key, value in node.node_labels().items())])


def host(spec: ClusterSpec, node: NodeSpec, labels: Iterable[str], policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Endpoint that a node is to its own agent: it has the reserved identity 1 and no pod."""
    return {
        "id": _number(f"{spec.name}/{node.name}"),
        "status": {
            "state": "ready",
            "identity": {"id": 1, "labels": list(labels)},
            "external-identifiers": {},
            "networking": {"addressing": [{}], "host-addressing": {}},
            "policy": {"realized": policy, "spec": policy},
        },
    }


def identity_labels(spec: ClusterSpec, pod: Object, namespaces: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the labels that make a pod's security identity; `namespaces` gives the labels of each namespace."""
    metadata = pod["metadata"]
    own = {f"k8s:{key}={value}" for key, value in (metadata.get("labels") or {}).items() if "kubernetes.io" not in key}
    account = pod["spec"].get("serviceAccountName", "default")
    around = namespaces.get(metadata["namespace"], {})
    return sorted(
        {
            *own,
            *(f"k8s:io.cilium.k8s.namespace.labels.{key}={value}" for key, value in around.items()),
            f"k8s:io.cilium.k8s.policy.cluster={spec.name}",
            f"k8s:io.cilium.k8s.policy.serviceaccount={account}",
            f"k8s:io.kubernetes.pod.namespace={metadata['namespace']}",
        }
    )


def identity(spec: ClusterSpec, labels: Iterable[str]) -> int:
    """Return the number of an identity: the cluster's id above 16 bits of its own."""
    return (spec.mesh_id << _IDENTITY_BITS) | (_NEAR_IDENTITIES + _number("\n".join(labels)) % 0xFE00)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:2], "big")
