"""When a federation on this machine is ready, and what keeps it from being so. It asks the hub, and changes nothing."""

from dataclasses import dataclass
from datetime import datetime

from atoll.cli import kinds
from atoll.cli.api import Api, Json
from atoll.federation.resources import Cluster, Gateway


@dataclass(frozen=True)
class Awaited:
    """Clusters of one mesh and perhaps a gateway, which are to prove that they are there.

    Attributes:
        gateway: its name; empty if there is none.
        since: only what was proven later counts: a home that was used before remembers how it was then.
    """

    clusters: tuple[str, ...]
    gateway: str
    since: datetime

    def is_met(self, api: Api) -> bool:
        """Tell whether all are Ready and every cluster sees all others."""
        return not self._late(api)

    def why_not(self, api: Api) -> str:
        """Name each that is awaited, with what it lacks; empty if nothing does."""
        return "; ".join(f"{name} {reason}" for name, reason in self._late(api).items())

    def _late(self, api: Api) -> dict[str, str]:
        items = {item["metadata"]["name"]: item for item in api.get(kinds.atoll("Cluster").collection())["items"]}
        late = {name: self.lacks(items.get(name)) for name in self.clusters}
        if self.gateway:
            status = Gateway.model_validate(api.get(kinds.atoll("Gateway").path(None, self.gateway))).status
            late[self.gateway] = self._unproven(status.phase, status.last_proven_at)
        return {name: reason for name, reason in late.items() if reason}

    def lacks(self, item: Json | None) -> str:
        """Say what a cluster lacks, None being one that the hub does not know; empty if nothing."""
        if item is None:
            return "has left"
        if "deletionTimestamp" in item["metadata"]:
            return "is leaving"
        status, others = Cluster.model_validate(item).status, len(self.clusters) - 1
        said = ": ".join(filter(None, (status.reason, status.message)))
        if unproven := self._unproven(status.phase, status.last_proven_at):
            return f"{unproven}{f' ({said})' if said and status.phase != 'Ready' else ''}"
        return f"sees {len(status.links)} of {others} other clusters" if len(status.links) < others else ""

    def _unproven(self, phase: str, proven_at: datetime | None) -> str:
        if phase != "Ready":
            return f"is {phase}"
        return "" if proven_at is not None and proven_at >= self.since else "was not heard since this start"
