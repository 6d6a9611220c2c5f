"""How many links of a mesh are in which state, and how many of its rules are broken: what a monitor asks. Pure.

Counts what each cluster says of its peers, not pairs: a thousand clusters are counted in the time of reading their
links once. What a pair adds up to is matrix.py's.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from atoll.federation.mesh.checking import RULES, violations
from atoll.federation.mesh.links import STALE_AFTER, last_look
from atoll.federation.mesh.members import Member
from atoll.federation.mesh.peering import expected_peers
from atoll.federation.mesh.services import ServiceState, shared_services
from atoll.federation.resources.mesh import MeshLink


class SideState(StrEnum):
    """How one cluster sees one peer. Only READY may be counted on; MISSING is a peer that no agent lists."""

    READY = "ready"
    CONNECTED = "connected"
    FAILING = "failing"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True)
class Census:
    """Counts over one mesh, each with all its keys; `expires_at` of the certificate that ends first."""

    sides: Mapping[SideState, int]
    violations: Mapping[str, int]
    services: Mapping[ServiceState, int]
    expires_at: datetime | None = None


def census(members: Iterable[Member], *, now: datetime) -> Census:
    """Count everything; `now` dates views and certificates."""
    known = tuple(members)
    sides = Counter(side for member in known for side in _sides(member, now))
    broken = Counter(each.reason for each in violations(known, now=now))
    services = Counter(service.state for service in shared_services(known, now=now))
    ends = (each.expires_at for member in known for each in member.facts.certificates)
    return Census(
        sides={state: sides[state] for state in SideState},
        violations={rule: broken[rule] for rule in RULES},
        services={state: services[state] for state in ServiceState},
        expires_at=min(ends, default=None),
    )


def _sides(member: Member, now: datetime) -> Iterator[SideState]:
    views = {view.peer: view for view in member.links}
    for peer in expected_peers(member) | views.keys():
        yield SideState.STALE if member.lost_since is not None else _side(views.get(peer), now)


def _side(view: MeshLink | None, now: datetime) -> SideState:
    if view is None or not view.is_listed:
        return SideState.MISSING
    seen_at = last_look(view)
    if seen_at is None or now - seen_at > STALE_AFTER:
        return SideState.STALE
    if not view.is_connected or view.reaches_no_node:
        return SideState.FAILING
    if not view.is_ready:
        return SideState.CONNECTED
    return SideState.STALE if view.cache_problem else SideState.READY
