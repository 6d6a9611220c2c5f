"""Reads a cluster's own mesh settings through its API server; they change seldom and are asked for seldom.

Needs, in Cilium's namespace and by name: get ConfigMap cilium-config; get Secret cilium-clustermesh for the peers that
are expected, and the clustermesh-apiserver-*-cert Secrets for CA and expiry. Without a right its facts stay unknown and
a problem says which right it takes. Secrets come whole or not at all: their keys are dropped as they arrive.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from atoll.edge.member.cilium_pods import CILIUM_NAMESPACE
from atoll.edge.member.errors import Refused
from atoll.edge.member.mesh.config import read_certificates, read_config, read_peers
from atoll.edge.member.objects import Kind, Object, ObjectRef
from atoll.federation.errors import AtollError
from atoll.federation.resources.mesh import MeshFacts

REFRESH_SECONDS = 60.0
_CONFIG_MAP, _SECRET = Kind("v1", "ConfigMap"), Kind("v1", "Secret")
_PEERS = "cilium-clustermesh"
_CERTIFICATES = tuple(f"clustermesh-apiserver-{who}-cert" for who in ("server", "admin", "remote", "local"))
_PUBLIC = ("ca.crt", "tls.crt")


class Getter(Protocol):
    """What is needed of an API server."""

    async def get(self, ref: ObjectRef) -> Object | None:
        """Read one object; None if it does not exist."""
        ...


@dataclass
class _Reading:
    """One reading through the API server: what may not be read is noted, anything else that fails ends it."""

    kube: Getter
    namespace: str
    problems: list[str] = field(default_factory=list)

    async def data(self, kind: Kind, name: str) -> Mapping[str, Any] | None:
        """Give an object's data; None if it is not there or may not be read."""
        ref = ObjectRef(kind, self.namespace, name)
        try:
            found = await self.kube.get(ref)
        except Refused:
            self.problems.append(f"{ref} may not be read: allow the agent to get it")
            return None
        return (found.get("data") or {}) if found is not None else None

    async def certificates(self) -> dict[str, dict[str, Any]]:
        """Give the public parts of the control plane's certificates."""
        found = {}
        for name in _CERTIFICATES:
            data = await self.data(_SECRET, name)
            if data is not None:
                found[name] = {key: data[key] for key in _PUBLIC if key in data}
        return found


class MeshSettings:
    """The mesh settings of one cluster."""

    def __init__(
        self, kube: Getter, *, namespace: str = CILIUM_NAMESPACE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kube, self._namespace, self._clock = kube, namespace, clock
        self._known: MeshFacts | None = None
        self._read_at, self._version = float("-inf"), ""

    async def facts(self, version: str) -> MeshFacts | None:
        """Give the settings, at most a minute old; None where there is no Cilium.

        Args:
            version: of Cilium, by which defaults differ; empty if not known.
        """
        now = self._clock()
        if now - self._read_at < REFRESH_SECONDS and version == self._version:
            return self._known
        try:
            self._known = await self._read(version)
        except AtollError as error:  # what was known stays so, and is read again at the next look
            known = self._known or MeshFacts()
            return known.model_copy(update={"problems": (f"the mesh settings could not be read again: {error}",)})
        self._read_at, self._version = now, version
        return self._known

    async def _read(self, version: str) -> MeshFacts | None:
        reading = _Reading(self._kube, self._namespace)
        config = await reading.data(_CONFIG_MAP, "cilium-config")
        if config is None:
            return MeshFacts(problems=tuple(reading.problems)) if reading.problems else None
        facts = read_config(config, version)
        if not facts.id:
            return facts  # not meshed: it has no peers, and nobody to trust
        peers = await reading.data(_SECRET, _PEERS)
        may_know_peers = peers is not None or not reading.problems
        authorities, certificates = read_certificates(await reading.certificates())
        return facts.model_copy(
            update={
                "expected_peers": read_peers(peers or {}, facts.name) if may_know_peers else None,
                "ca_fingerprints": authorities,
                "certificates": tuple(certificates),
                "problems": tuple(reading.problems),
            }
        )
