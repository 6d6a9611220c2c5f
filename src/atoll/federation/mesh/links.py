"""The state of one link, out of both sides' views of it. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

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
        """When the link was last seen ready; None if never."""

    @property
    def seen_at(self) -> datetime | None:
        """When the view was true; None if only `last_proven_at` tells."""

    @property
    def cache_problem(self) -> str:
        """Why what is ready is only KVStoreMesh's cache of the peer; empty if nothing says so."""

    @property
    def reaches_no_node(self) -> bool:
        """Whether the peer's nodes were probed and none of them answers."""


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
    proven_at = _oldest(view.last_proven_at, back.last_proven_at)
    seen_at = _oldest(last_look(view), last_look(back))
    if seen_at is None or now - seen_at > STALE_AFTER:
        return Link(clusters, LinkState.STALE, _stale_message(seen_at, now), proven_at)
    state, message = _agreed(clusters, view, back)
    return Link(clusters, state, message, proven_at)


def last_look(view: LinkView) -> datetime | None:
    """Give the instant that a view is of."""
    return view.seen_at or view.last_proven_at


def _oldest(first: datetime | None, second: datetime | None) -> datetime | None:
    return min(first, second) if first is not None and second is not None else None


def _stale_message(seen_at: datetime | None, now: datetime) -> str:
    if seen_at is None:
        return "the link was never proven"
    return f"the link was last proven {round((now - seen_at).total_seconds())} s ago"


def _agreed(clusters: tuple[str, str], view: LinkView, back: LinkView) -> tuple[LinkState, str]:
    match view.is_connected, back.is_connected:
        case True, True if view.is_ready and back.is_ready:
            return _beyond_the_agents(clusters, view, back)
        case True, True:
            return LinkState.CONNECTED, view.reason or back.reason or "not synchronised yet"
        case False, False:
            return LinkState.DOWN, view.reason or back.reason or "neither side is connected"
    reaches, misses = clusters if view.is_connected else clusters[::-1]
    reason = (back if view.is_connected else view).reason
    return LinkState.ASYMMETRIC, f"{reaches} reaches {misses}, not the reverse" + (f": {reason}" if reason else "")


def _beyond_the_agents(clusters: tuple[str, str], view: LinkView, back: LinkView) -> tuple[LinkState, str]:
    """Look behind agents that are ready: on KVStoreMesh's cache, which outlives its link, or where no packet passes."""
    found: list[tuple[LinkState, str]] = []
    one, other = clusters
    for side, peer, seen in ((one, other, view), (other, one, back)):
        if seen.reaches_no_node:
            found.append((LinkState.DOWN, f"{side} is ready, but no node of {peer} answers its health probes"))
        if seen.cache_problem:
            found.append((LinkState.STALE, f"{side} is ready on KVStoreMesh's old cache only: {seen.cache_problem}"))
    if not found:
        return LinkState.READY, ""
    is_cut = any(state is LinkState.DOWN for state, _ in found)
    return LinkState.DOWN if is_cut else LinkState.STALE, "; ".join(message for _, message in found)
