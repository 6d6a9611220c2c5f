"""What a sandbox is told when it starts.

Owns the values and their JSON form, in which they are handed to a process of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from atoll.federation.errors import InvalidInput
from atoll.sandbox.spec import DEFAULT_CLUSTERS, ClusterSpec

SETTINGS_FILE = "settings.json"
HUB, NATS, SECURE = "hub", "nats", "secure"
"""What ports of a cluster are for beside its API: its ways to the hub and to NATS, and the API for its pods."""


def port_name(cluster: str, purpose: str = "") -> str:
    """Name a port of a cluster; without a purpose it is the API's, for everybody on this machine."""
    return f"{cluster}/{purpose}" if purpose else cluster


def port_names(cluster: str) -> tuple[str, ...]:
    """Name all ports that a cluster of a federation has."""
    return tuple(port_name(cluster, purpose) for purpose in ("", SECURE, HUB, NATS))


@dataclass(frozen=True)
class SandboxSettings:
    """Which clusters to simulate, and where.

    Attributes:
        home: a folder of the sandbox's own.
        ports: fixed ports by port_name(); others are free ones.
        alone: names of the clusters that are not in the mesh.
        upstreams: ports of HUB and NATS on this machine; every cluster gets a way of its own to each.
        federation: the home whose supervisor runs the agents.
    """

    home: Path
    clusters: tuple[ClusterSpec, ...] = DEFAULT_CLUSTERS
    ports: Mapping[str, int] = field(default_factory=dict)
    alone: frozenset[str] = frozenset()
    upstreams: Mapping[str, int] = field(default_factory=dict)
    federation: Path | None = None

    def to_json(self) -> bytes:
        """Give the settings as from_json() reads them."""
        return TypeAdapter(SandboxSettings).dump_json(self, indent=2)

    @classmethod
    def from_json(cls, data: bytes) -> SandboxSettings:
        """Read settings. Raises InvalidInput naming the field that is wrong."""
        try:
            return TypeAdapter(SandboxSettings).validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the settings"
            raise InvalidInput(f"{where}: {first['msg']}") from None
