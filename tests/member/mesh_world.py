"""What a meshed cluster has, for tests: Cilium's ConfigMap and Secrets, shared services and their endpoints."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from atoll.edge.member.objects import Object
from atoll.local.certificates import Pair, issue_ca, issue_server, new_key

CILIUM = "/api/v1/namespaces/kube-system"
MESHED = {"cluster-name": "onprem-gpu", "cluster-id": "2", "max-connected-clusters": "255", "tunnel-protocol": "geneve"}
PEER = "endpoints:\n- https://{}.mesh.cilium.io:2379\ntrusted-ca-file: /var/lib/cilium/clustermesh/ca.crt\n"


def kube_system() -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}


def config(data: Mapping[str, str]) -> Object:
    metadata = {"name": "cilium-config", "namespace": "kube-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}


def encoded(data: Mapping[str, bytes | str]) -> dict[str, str]:
    """Data as a Secret has it."""
    raw = {key: value.encode() if isinstance(value, str) else value for key, value in data.items()}
    return {key: base64.b64encode(value).decode() for key, value in raw.items()}


def secret(name: str, data: Mapping[str, bytes | str]) -> Object:
    metadata = {"name": name, "namespace": "kube-system"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": encoded(data)}


def authority() -> Pair:
    key = new_key()
    return Pair(issue_ca(key, now=datetime.now(UTC)), key)


def certified(ca: Pair, who: str = "server") -> Object:
    """A TLS Secret of the mesh's control plane; its key is a real one, which nothing may tell."""
    key = new_key()
    certificate = issue_server(ca, key, names=["onprem-gpu.mesh.cilium.io"], now=datetime.now(UTC))
    data = {"tls.crt": certificate, "tls.key": key, "ca.crt": ca.certificate}
    return secret(f"clustermesh-apiserver-{who}-cert", data)


def service(name: str, **annotations: str) -> Object:
    written = {f"service.cilium.io/{key}": value for key, value in annotations.items()}
    metadata = {"name": name, "namespace": "lab", "annotations": written}
    ports = [{"name": "db", "port": 5432, "protocol": "TCP"}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}}


def endpoint_slice(
    name: str, of: str, ready: int, *, unready: int = 0, labels: Mapping[str, str] | None = None
) -> Object:
    states = [*([{}] * ready), *([{"ready": False}] * unready)]
    endpoints = [{"addresses": [f"10.2.0.{index + 1}"], "conditions": state} for index, state in enumerate(states)]
    metadata = {"name": name, "namespace": "lab", "labels": {"kubernetes.io/service-name": of, **(labels or {})}}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",
        "endpoints": endpoints,
    }


def export(name: str, conditions: list[dict[str, Any]] | None = None) -> Object:
    found: Object = {
        "apiVersion": "multicluster.x-k8s.io/v1alpha1",
        "kind": "ServiceExport",
        "metadata": {"name": name, "namespace": "lab"},
    }
    return found | ({"status": {"conditions": conditions}} if conditions else {})
