"""Shared services whose endpoints in a cluster vanish or come back, and who serves them now. Pure.

Owns what is told as events; the state of a service at any time is federation/mesh's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from atoll.federation.mesh import ServiceState, members_of, shared_services
from atoll.federation.resources import Cluster, MeshFacts

Name = tuple[str, str]


@dataclass(frozen=True)
class News:
    """What became of one service, as an event has it."""

    reason: str
    message: str
    is_warning: bool


def turned_services(before: MeshFacts | None, after: MeshFacts | None) -> frozenset[Name]:
    """Name the services, by namespace and name, whose endpoints here all vanished, or came back, since `before`."""
    if before is None or after is None:
        return frozenset()
    had = {(each.namespace, each.name): bool(each.endpoints) for each in before.services}
    has = {(each.namespace, each.name): bool(each.endpoints) for each in after.services}
    return frozenset(name for name, is_served in has.items() if had.get(name, is_served) is not is_served)


def news_of(turned: frozenset[Name], clusters: Iterable[Cluster], *, now: datetime) -> tuple[News, ...]:
    """Say of the services that turned who serves them, from what all clusters say."""
    found = [each for each in shared_services(members_of(clusters), now=now) if (each.namespace, each.name) in turned]
    return tuple(
        News(
            f"Service{service.state}",
            f"{service.namespace}/{service.name}: {service.message or 'every cluster has endpoints'}",
            service.state is not ServiceState.SERVED,
        )
        for service in found
    )
