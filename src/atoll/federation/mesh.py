"""The Cluster Mesh between clusters: the rules every member must keep, the state of each link, what a link carries.

Owns what may be concluded from what clusters say of each other. Pure and standard library only; how the views were got
(the Cilium agent's API) is the member agent's business.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

# Cilium: pkg/clustermesh/types/types.go. 511 ids need max-connected-clusters 511, which must be equal everywhere.
_NAME = re.compile(r"([a-z0-9][-a-z0-9]*)?[a-z0-9]")
_MAX_NAME_CHARS = 32
_RESERVED_NAME = "default"
MAX_CLUSTER_ID = 511
# Agents report the mesh with every heartbeat. Shorter: a hub restart makes good links look stale. Longer: work is sent
# towards data over a link that went away minutes ago.
STALE_AFTER = timedelta(minutes=5)


class LinkState(StrEnum):
    """What both sides' views add up to; only READY may be counted on."""

    READY = "Ready"
    CONNECTED = "Connected"
    ASYMMETRIC = "Asymmetric"
    STALE = "Stale"
    DOWN = "Down"
    UNKNOWN = "Unknown"


class LinkView(Protocol):
    """One cluster's view of one peer; the kind's MeshLink is one."""

    @property
    def is_connected(self) -> bool:
        """Whether a session to the peer's control plane stands."""

    @property
    def is_ready(self) -> bool:
        """Whether nodes, identities and services of the peer are synchronised."""

    @property
    def reason(self) -> str:
        """Why not, in Cilium's words."""

    @property
    def last_proven_at(self) -> datetime | None:
        """When the view was true; None if never."""


@dataclass(frozen=True)
class Link:
    """The state of the link between two clusters, named in order, with the older proof of the two."""

    clusters: tuple[str, str]
    state: LinkState
    message: str
    proven_at: datetime | None = None

    @property
    def is_usable(self) -> bool:
        """Whether data may be planned over it."""
        return self.state is LinkState.READY


def link(first: tuple[str, LinkView | None], second: tuple[str, LinkView | None], *, now: datetime) -> Link:
    """Judge the link between two clusters, each given with its view of the other (None: it has none)."""
    (name, view), (peer, back) = sorted((first, second), key=lambda side: side[0])
    clusters = (name, peer)
    if view is None or back is None:
        silent = " and ".join(side for side, seen in ((name, view), (peer, back)) if seen is None)
        return Link(clusters, LinkState.UNKNOWN, f"{silent} reported no link to the other side")
    proofs = [proof for proof in (view.last_proven_at, back.last_proven_at) if proof is not None]
    proven_at = min(proofs) if len(proofs) == 2 else None
    if proven_at is None or now - proven_at > STALE_AFTER:
        return Link(clusters, LinkState.STALE, _stale_message(proven_at, now), proven_at)
    state, message = _agreed(clusters, view, back)
    return Link(clusters, state, message, proven_at)


def _stale_message(proven_at: datetime | None, now: datetime) -> str:
    if proven_at is None:
        return "the link was never proven"
    return f"the link was last proven {round((now - proven_at).total_seconds())} s ago"


def _agreed(clusters: tuple[str, str], view: LinkView, back: LinkView) -> tuple[LinkState, str]:
    match view.is_connected, back.is_connected:
        case True, True if view.is_ready and back.is_ready:
            return LinkState.READY, ""
        case True, True:
            return LinkState.CONNECTED, view.reason or back.reason or "not synchronised yet"
        case False, False:
            return LinkState.DOWN, view.reason or back.reason or "neither side is connected"
    reaches, misses = clusters if view.is_connected else clusters[::-1]
    reason = (back if view.is_connected else view).reason
    return LinkState.ASYMMETRIC, f"{reaches} reaches {misses}, not the reverse" + (f": {reason}" if reason else "")


@dataclass(frozen=True)
class Member:
    """A cluster's place in the mesh: its name in the federation, and its name and id in the mesh."""

    cluster: str
    mesh_name: str
    mesh_id: int


@dataclass(frozen=True)
class Violation:
    """A rule of the mesh that clusters break: what, who, and what to do."""

    reason: str
    clusters: tuple[str, ...]
    message: str


def violations(members: Iterable[Member]) -> tuple[Violation, ...]:
    """Check the mesh's invariants: valid names and ids, each used once.

    Cilium itself only refuses the second claimant of an id, and in silence: it never becomes ready.
    """
    members = sorted(members, key=lambda member: member.cluster)
    found = [violation for member in members for violation in _own_violations(member)]
    names, ids = defaultdict(list), defaultdict(list)
    for member in members:
        names[member.mesh_name].append(member.cluster)
        ids[member.mesh_id].append(member.cluster)
    shared = (*((f"name {name!r}", "DuplicateName", who) for name, who in names.items()),
              *((f"id {number}", "DuplicateId", who) for number, who in ids.items()))  # fmt: skip
    for what, reason, who in shared:
        if len(who) > 1:
            message = f"mesh {what} is used by {', '.join(who)}: install all but one anew with another"
            found.append(Violation(reason, tuple(who), message))
    return tuple(found)


def _own_violations(member: Member) -> Iterable[Violation]:
    who = (member.cluster,)
    if len(member.mesh_name) > _MAX_NAME_CHARS or not _NAME.fullmatch(member.mesh_name):
        rule = f"at most {_MAX_NAME_CHARS} of a-z, 0-9 and '-', not beginning or ending with '-'"
        yield Violation("InvalidName", who, f"mesh name {member.mesh_name!r} is not allowed: use {rule}")
    if member.mesh_name == _RESERVED_NAME:
        yield Violation("InvalidName", who, "mesh name 'default' is reserved: give the cluster a name of its own")
    if not 1 <= member.mesh_id <= MAX_CLUSTER_ID:
        yield Violation("InvalidId", who, f"mesh id {member.mesh_id} is not allowed: use 1 to {MAX_CLUSTER_ID}")


@dataclass(frozen=True)
class Uplink:
    """What a cluster's way out carries: bytes/s, and the round trip in seconds to the middle of the federation."""

    bytes_per_second: float
    round_trip_seconds: float = 0.0


def transfer_rate(source: Uplink, destination: Uplink, measured: float | None = None) -> float:
    """Estimate bytes/s between two clusters: what was measured, else the narrower of both declared uplinks."""
    return measured if measured else min(source.bytes_per_second, destination.bytes_per_second)


def round_trip_seconds(source: Uplink, destination: Uplink) -> float:
    """Estimate the round trip between two clusters: both ways to the middle."""
    return source.round_trip_seconds + destination.round_trip_seconds
