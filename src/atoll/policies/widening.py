"""Widening: what policies beside a set's allow although the set closes it. Pure.

A default deny of a set holds only as long as nobody allows more: engines add up what all policies allow. Reported is an
allow for endpoints that the set closes in that direction, unless the set allows as much itself or denies it. Selectors
that may have endpoints in common count as if they had.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from atoll.policies.covering import covers, is_apart
from atoll.policies.manifest import CILIUM_CIDR_GROUP, Manifest
from atoll.policies.reading import read_rules
from atoll.policies.rules import Action, Direction, Rule, Tier, Unsupported


@dataclass(frozen=True, order=True)
class Widening:
    """A policy that is not of the set (kind, namespace, name), and which direction of whose endpoints it opens."""

    kind: str
    namespace: str
    name: str
    direction: Direction
    closed_by: str


def find_widenings(
    own: Iterable[Manifest], others: Iterable[Manifest], cluster: str, *, is_cilium: bool
) -> tuple[Widening, ...]:
    """Compare the policies of a set with the others of its cluster.

    A policy that the rule model cannot say (its `Unsupported`) is passed over: it can neither close nor open here.
    """
    mine, beside = tuple(own), tuple(others)
    groups = tuple(manifest for manifest in (*mine, *beside) if manifest.kind == CILIUM_CIDR_GROUP)
    rules = tuple(_rules(mine, groups, cluster, is_cilium=is_cilium))
    near: dict[str | None, list[Rule]] = defaultdict(list)
    for rule in rules:
        near[rule.source.namespace].append(rule)
    found = set()
    for rule in _rules(beside, groups, cluster, is_cilium=is_cilium):
        source = rule.source
        met = [*near.get(source.namespace, ()), *near.get(None, ())] if source.namespace is not None else rules
        if closed := _closed_by(rule, met):
            found.add(Widening(source.kind, source.namespace or "", source.name, rule.direction, closed))
    return tuple(sorted(found))


def _rules(
    manifests: Iterable[Manifest], groups: Sequence[Manifest], cluster: str, *, is_cilium: bool
) -> Iterator[Rule]:
    for manifest in manifests:
        if manifest.kind == CILIUM_CIDR_GROUP:
            continue
        try:
            yield from read_rules([manifest, *groups], cluster, default_local_cluster=True, is_cilium=is_cilium)
        except Unsupported:
            continue


def _closed_by(rule: Rule, own: Sequence[Rule]) -> str:
    """Name the policy of a set whose default deny a rule opens; empty if it opens none."""
    if rule.action is not Action.ALLOW or rule.peers == () or rule.traffic == ():
        return ""
    closing = (
        mine
        for mine in own
        if mine.default_deny and mine.direction is rule.direction and not is_apart(mine.subject, rule.subject)
    )
    closed = next(closing, None)
    if closed is None or any(_settles(mine, rule) for mine in own):
        return ""
    return "/".join(part for part in (closed.source.namespace, closed.source.name) if part)


def _settles(mine: Rule, rule: Rule) -> bool:
    """Tell whether a set has itself decided all that a rule allows: as much, or not at all, before that rule."""
    return mine.action is not Action.PASS and mine.tier <= rule.tier and mine.tier <= Tier.NORMAL and covers(mine, rule)
