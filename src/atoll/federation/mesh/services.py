"""Services that several clusters offer together: where their endpoints are, and who steps in for whom. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from atoll.federation.mesh.links import STALE_AFTER
from atoll.federation.mesh.members import Member
from atoll.federation.resources.mesh import MeshService


class ServiceState(StrEnum):
    """Whether callers find an endpoint, and whether it is their own cluster's."""

    SERVED = "Served"
    FAILED_OVER = "FailedOver"
    PARTIAL = "Partial"
    DOWN = "Down"


@dataclass(frozen=True)
class ServicePlace:
    """One cluster's part of a service; `is_stale` if it was not told for long."""

    cluster: str
    service: MeshService
    seen_at: datetime | None
    is_stale: bool

    @property
    def offers(self) -> int:
        """Endpoints that callers in other clusters may use."""
        return self.service.endpoints if self.service.is_shared else 0


@dataclass(frozen=True)
class SharedService:
    """A service in all clusters that have it."""

    namespace: str
    name: str
    places: tuple[ServicePlace, ...]

    @property
    def state(self) -> ServiceState:
        """What callers find, from the clusters' newest reports."""
        empty = [place for place in self.places if not place.service.endpoints]
        if len(empty) == len(self.places):
            return ServiceState.DOWN
        if not empty:
            return ServiceState.SERVED
        return ServiceState.FAILED_OVER if any(place.offers for place in self.places) else ServiceState.PARTIAL

    @property
    def message(self) -> str:
        """Say who has no endpoints, who serves instead, and which exports do not hold."""
        empty = ", ".join(place.cluster for place in self.places if not place.service.endpoints)
        instead = ", ".join(place.cluster for place in self.places if place.offers)
        parts = [f"{place.cluster}: {place.service.problem}" for place in self.places if place.service.problem]
        parts += [f"{place.cluster} was not heard of late" for place in self.places if place.is_stale]
        match self.state:
            case ServiceState.DOWN:
                parts.insert(0, "no cluster has an endpoint that is ready")
            case ServiceState.FAILED_OVER:
                parts.insert(0, f"no endpoint in {empty}: served by {instead}")
            case ServiceState.PARTIAL:
                parts.insert(0, f"no endpoint in {empty}, and no other cluster shares its own")
        return "; ".join(parts)


def shared_services(members: Iterable[Member], *, now: datetime) -> tuple[SharedService, ...]:
    """Put each service's parts together, by namespace and name."""
    places: dict[tuple[str, str], list[ServicePlace]] = defaultdict(list)
    for member in sorted(members, key=lambda each: each.cluster):
        seen_at = member.facts.seen_at
        is_stale = seen_at is None or now - seen_at > STALE_AFTER
        for service in member.facts.services:
            place = ServicePlace(member.cluster, service, seen_at, is_stale)
            places[service.namespace, service.name].append(place)
    return tuple(SharedService(*key, tuple(found)) for key, found in sorted(places.items()))
