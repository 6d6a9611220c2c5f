"""The objects that `cilium clustermesh connect` leaves behind in a cluster: its peers, and certificates of one CA.

Owns their content. The keys in them are real and protect nothing: no control plane of a mesh runs here.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from atoll.kubeapi.errors import NotFound
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.local.certificates import Pair, issue_ca, issue_server, new_key
from atoll.sandbox.kinds.catalog import SECRET
from atoll.sandbox.spec import ClusterSpec

_NAMESPACE = "kube-system"
_DOMAIN = "mesh.cilium.io"
_PEERS = "cilium-clustermesh"


def new_authority(now: datetime) -> Pair:
    """Make the CA that all clusters of a sandbox share."""
    key = new_key()
    return Pair(issue_ca(key, now=now), key)


async def connect(store: Store, spec: ClusterSpec, peers: Iterable[ClusterSpec], *, ca: Pair, now: datetime) -> None:
    """Create what makes a cluster a member of the mesh with these peers."""
    for secret in _secrets(spec, peers, ca, now):
        await store.create(SECRET, secret)


async def introduce(store: Store, newcomer: ClusterSpec) -> None:
    """Tell a member of the mesh of one more peer."""
    await _change_peers(store, {newcomer.name: base64.b64encode(_client(newcomer)).decode()})


async def forget(store: Store, name: str) -> None:
    """Take a peer out of what a member of the mesh knows."""
    await _change_peers(store, {name: None})


async def _change_peers(store: Store, data: Mapping[str, str | None]) -> None:
    with contextlib.suppress(NotFound):
        await store.patch(SECRET, _NAMESPACE, _PEERS, Patch("merge", {"data": dict(data)}))


def _secrets(spec: ClusterSpec, peers: Iterable[ClusterSpec], ca: Pair, now: datetime) -> Iterator[Object]:
    yield _secret(_PEERS, "Opaque", {peer.name: _client(peer) for peer in peers if peer is not spec})
    for who in ("server", "remote"):
        key = new_key()
        certificate = issue_server(ca, key, names=[f"{spec.name}.{_DOMAIN}", f"*.{_DOMAIN}"], now=now)
        data = {"tls.crt": certificate, "tls.key": key, "ca.crt": ca.certificate}
        yield _secret(f"clustermesh-apiserver-{who}-cert", "kubernetes.io/tls", data)


def _client(peer: ClusterSpec) -> bytes:
    """Return how agents reach a peer: a client configuration of etcd."""
    files = "".join(
        f"{field}: /var/lib/cilium/clustermesh/{name}\n"
        for field, name in (("trusted-ca-file", "ca.crt"), ("key-file", "tls.key"), ("cert-file", "tls.crt"))
    )
    return f"endpoints:\n- https://{peer.name}.{_DOMAIN}:2379\n{files}".encode()


def _secret(name: str, kind: str, data: dict[str, bytes]) -> Object:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"metadata": {"name": name, "namespace": _NAMESPACE}, "type": kind, "data": encoded}
