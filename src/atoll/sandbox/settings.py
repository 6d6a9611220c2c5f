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


@dataclass(frozen=True)
class SandboxSettings:
    """Which clusters to simulate, and where.

    `home` is a folder of the sandbox's own. `ports` gives API servers fixed ports by cluster; others take free ones.
    """

    home: Path
    clusters: tuple[ClusterSpec, ...] = DEFAULT_CLUSTERS
    ports: Mapping[str, int] = field(default_factory=dict)

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
