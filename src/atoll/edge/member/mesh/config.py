"""A cluster's own mesh settings: out of cilium-config, the names of its peers, and public certificates. Pure.

Of Secrets this keeps the names of peers and what certificates say in public; keys are never looked at.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from atoll.federation.resources.mesh import MeshCertificate, MeshFacts, PolicyFeatures

# Since 1.19 policies mean the own cluster by default; the option exists since 1.18 (cilium/cilium #40609, #39338).
_LOCAL_BY_DEFAULT_SINCE = (1, 19)
_DEFAULT_MAX_CLUSTERS = 255
_TUNNEL, _VXLAN = "tunnel", "vxlan"
_CA, _CERTIFICATE = "ca.crt", "tls.crt"


def read_config(data: Mapping[str, Any], version: str) -> MeshFacts:
    """Read the ConfigMap cilium-config; what it leaves out is what Cilium of that version defaults to."""
    routing = str(data.get("routing-mode") or _TUNNEL)
    return MeshFacts(
        name=str(data.get("cluster-name") or "default"),
        id=_number(data.get("cluster-id")) or 0,
        max_connected_clusters=_number(data.get("max-connected-clusters")) or _DEFAULT_MAX_CLUSTERS,
        routing_mode=routing,
        tunnel_protocol=str(data.get("tunnel-protocol") or _VXLAN) if routing == _TUNNEL else "",
        native_routing_cidr=str(data.get("ipv4-native-routing-cidr") or "") if routing != _TUNNEL else "",
        default_local_cluster=_default_local_cluster(data.get("policy-default-local-cluster"), version),
        label_filters=" ".join(sorted(str(data.get("labels") or "").split())),
        policy_features=PolicyFeatures(
            node_selector_labels=data.get("enable-node-selector-labels") == "true",
            extended_ip_protocols=data.get("enable-extended-ip-protocols") == "true",
            host_firewall=data.get("enable-host-firewall") == "true",
            cluster_network_policies=data.get("enable-k8s-cluster-network-policy") == "true",
        ),
    )


def read_peers(data: Mapping[str, Any], own_name: str) -> tuple[str, ...]:
    """Give the keys of the Secret cilium-clustermesh that configure a peer: those whose value has `endpoints:`.

    Source of the rule: cilium-cli, clustermesh/clustermesh.go.
    """
    return tuple(sorted(key for key, value in data.items() if key != own_name and b"endpoints:" in _decoded(value)))


def read_certificates(secrets: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, ...], Sequence[MeshCertificate]]:
    """Give the fingerprints of the CAs in TLS Secrets, and when each Secret's own certificate ends.

    A fingerprint is the SHA-256 of the certificate in DER, in hexadecimal.
    """
    authorities, certificates = set(), []
    for name, data in sorted(secrets.items()):
        authorities |= {each.fingerprint(SHA256()).hex() for each in _parsed(data.get(_CA))}
        for certificate in _parsed(data.get(_CERTIFICATE))[:1]:  # those after the first are its issuers
            certificates.append(MeshCertificate(name=name, expires_at=certificate.not_valid_after_utc))
    return tuple(sorted(authorities)), certificates


def _parsed(value: Any) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_decoded(value)) if value else []
    except ValueError:
        return []


def _decoded(value: Any) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _number(value: Any) -> int | None:
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdecimal() else None


def _default_local_cluster(value: Any, version: str) -> bool | None:
    if value in ("true", "false"):
        return bool(value == "true")
    parts = [int(part) for part in version.split(".")[:2] if part.isdecimal()]
    return tuple(parts) >= _LOCAL_BY_DEFAULT_SINCE if len(parts) == 2 else None
