"""Who may talk to whom in one cluster, judged by the policy engine over the groups that policies name. Pure.

Owns which connections are drawn. An arrow stands for what a rule allows; that nobody closes a side is said of the
party, not by an arrow to everybody.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from atoll.federation.resources.labelsets import ClusterWorkloads
from atoll.hub.dashboard.policy.groups import Group, Groups, find_groups, running_groups
from atoll.policies.compile import Compiled, Target
from atoll.policies.identity import Endpoint, Party
from atoll.policies.manifest import CILIUM_CIDR_GROUP, Manifest
from atoll.policies.reading import read_rules
from atoll.policies.rules import Direction, Unsupported
from atoll.policies.trials.fleet import Fleet
from atoll.policies.trials.reach import Reach, find_reaches, find_spans
from atoll.policies.verdict import Flow

# Ranges of ports of one pair whose rules are named; more do not fit beside an arrow.
_MOST_SPANS = 8


@dataclass(frozen=True)
class Held:
    """What one cluster shall hold: compiled for it already."""

    target: Target
    manifests: tuple[Manifest, ...]


@dataclass(frozen=True)
class PartyView:
    """One group as it is drawn; a closed side lets nothing through but what a rule allows."""

    group: Group
    egress_closed: bool
    ingress_closed: bool


@dataclass(frozen=True)
class Link:
    """What one party may open to another, by a rule of either side; indexes into the parties."""

    source: int
    destination: int
    ports: str
    is_everything: bool
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Reachability:
    """Who may talk to whom.

    Attributes:
        closed: pairs that may not.
        free: pairs that may because nobody closes either side.
        hidden: groups that were left out, for want of room.
        passed_over: policies that the rule model cannot say, with the reason; nothing is drawn of them.
        seen_at: when the agent saw the groups that run; None if they are stand-ins.
    """

    cluster: str
    parties: tuple[PartyView, ...]
    links: tuple[Link, ...]
    closed: int
    free: int
    hidden: int
    passed_over: tuple[str, ...]
    seen_at: datetime | None = None


def groups_in(held: Held, text: str = "") -> Groups:
    """Find the parties of a cluster's policies; those in other clusters tell whose policies are to be judged, too."""
    drawn, _ = _drawable(held)
    return find_groups(drawn, held.target.cluster, is_cilium=_is_cilium(held.target), text=text)


def reach_in(
    held: Held, others: Iterable[Held] = (), *, running: ClusterWorkloads | None = None, text: str = ""
) -> Reachability:
    """Judge all pairs of groups in a cluster.

    Args:
        held: what it shall hold.
        others: what clusters shall hold whose pods its policies name.
        running: what runs in it now; None if that is not known, and stand-ins are judged.
        text: of more groups than can be drawn, those stay that have this in their names.
    """
    clusters, groups = (held, *others), groups_in(held, text)
    if running is not None:
        spoken = _fleet(clusters, groups).rules()
        groups = running_groups(running, spoken, groups, cluster=held.target.cluster, text=text)
    fleet = _fleet(clusters, groups)
    parties = {group.name: group.party for group in groups.groups}
    places = {name: index for index, name in enumerate(parties)}
    links: list[Link] = []
    closed = free = 0
    for reach in (*find_reaches(fleet, parties), *_within(fleet, groups)):
        rules = _deciding(fleet, reach, parties)
        if rules:
            ends = places[reach.source], places[reach.destination]
            links.append(Link(*ends, reach.ports, reach.is_everything, rules))
        closed += not reach.spans
        free += bool(reach.spans) and not rules
    return Reachability(
        cluster=held.target.cluster,
        parties=tuple(_party(fleet, group) for group in groups.groups),
        links=tuple(links),
        closed=closed,
        free=free,
        hidden=groups.hidden,
        passed_over=_drawable(held)[1],
        seen_at=running.seen_at if running is not None else None,
    )


def _fleet(clusters: Sequence[Held], groups: Groups) -> Fleet:
    compiled = {one.target.cluster: Compiled(_drawable(one)[0], ()) for one in clusters}
    targets = {one.target.cluster: one.target for one in clusters}
    return Fleet((), targets, groups.namespaces, compiled=compiled)


def _drawable(held: Held) -> tuple[tuple[Manifest, ...], tuple[str, ...]]:
    """Part the policies into those that can be judged and those that cannot, each with the reason."""
    ranges = tuple(manifest for manifest in held.manifests if manifest.kind == CILIUM_CIDR_GROUP)
    drawn: list[Manifest] = list(ranges)
    passed: list[str] = []
    for manifest in held.manifests:
        if manifest.kind == CILIUM_CIDR_GROUP:
            continue
        try:
            is_cilium = _is_cilium(held.target)
            read_rules([manifest, *ranges], held.target.cluster, default_local_cluster=True, is_cilium=is_cilium)
            drawn.append(manifest)
        except Unsupported as error:
            passed.append(f"{manifest.kind} {manifest.name}: {error}")
    return tuple(drawn), tuple(passed)


def _is_cilium(target: Target) -> bool:
    return target.cni.lower() == "cilium"


def _within(fleet: Fleet, groups: Groups) -> Iterator[Reach]:
    """Find what pods of one group may open to each other."""
    for group in groups.groups:
        if isinstance(group.party, Endpoint):
            another = replace(group.party, name=f"{group.name}, another")
            yield Reach(group.name, group.name, tuple(find_spans(fleet, group.party, another)))


def _deciding(fleet: Fleet, reach: Reach, parties: Mapping[str, Party]) -> tuple[str, ...]:
    """Name the rules that allow a connection; none if it is closed, or both sides are open to all."""
    found: dict[str, None] = {}
    for span in reach.spans[:_MOST_SPANS]:
        verdict = fleet.judge(Flow(parties[reach.source], parties[reach.destination], span.first, span.protocol))
        for side in (verdict.egress, verdict.ingress):
            found |= dict.fromkeys(str(rule) for rule in (side.rules if side is not None else ()))
    return tuple(found)


def _party(fleet: Fleet, group: Group) -> PartyView:
    def is_closed(direction: Direction) -> bool:
        stance = fleet.stance(group.party, direction)
        return stance is not None and stance.closed

    return PartyView(group, is_closed(Direction.EGRESS), is_closed(Direction.INGRESS))
