"""Which connections change verdict among what runs now, as blocks: these may open those ports to those. Pure.

Exact, and fast where it matters: parties that no policy tells apart are one; only endpoints whose rules change are
looked at; and against each of those all others fall into as many classes as its rules make of them, each judged once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from atoll.federation.resources.labelsets import ClusterWorkloads
from atoll.policies.identity import Endpoint, Entity
from atoll.policies.rules import Direction, NamedPort, Rule, Source
from atoll.policies.trials.fleet import Fleet
from atoll.policies.trials.masks import Mask, PeerMasks, bits
from atoll.policies.trials.parties import Group, Mentioned, groups_of
from atoll.policies.trials.reach import Span, find_spans

_NOWHERE = Source("", None, "", "")
_HOST = Entity("host")
# Stands among the numbers of rules for being a node, which always reaches its own pods (verdict.py).
_IS_HOST = -1
Spans = tuple[Span, ...]


@dataclass(frozen=True)
class Block:
    """Connections from any of some parties to any of others that change from one set of open ports to another."""

    sources: tuple[Group, ...]
    destinations: tuple[Group, ...]
    before: Spans
    after: Spans

    @property
    def opens(self) -> bool:
        """Say whether something is open that was closed."""
        return any(not any(span.is_within(old) for old in self.before) for span in self.after)

    @property
    def closes(self) -> bool:
        """Say whether something is closed that was open."""
        return any(not any(span.is_within(new) for new in self.after) for span in self.before)

    @property
    def pairs(self) -> int:
        """Count the pairs of parties."""
        return len(self.sources) * len(self.destinations)

    @property
    def pods(self) -> int:
        """Count the pods on both sides."""
        return sum(group.pods for group in (*self.sources, *self.destinations) if group.sets)

    def concerns(self, cluster: str) -> bool:
        """Say whether it begins or ends in a cluster."""
        return any(group.cluster == cluster for group in (*self.sources, *self.destinations))


@dataclass(frozen=True)
class Changes:
    """All that changes among what runs. `sets` and `parties` count what was looked at, `pairs` what was compared.

    `is_given_up`: it would have taken longer than whoever asked allows, and nothing was compared.
    """

    blocks: tuple[Block, ...]
    sets: int
    parties: int
    pairs: int
    is_given_up: bool = False


def find_changes(
    before: Fleet, after: Fleet, workloads: Mapping[str, ClusterWorkloads], *, most_work: int | None = None
) -> Changes:
    """Compare two fleets over the same clusters.

    Args:
        before, after: what the clusters hold and would hold; both know the labels of the namespaces.
        workloads: what runs, by the clusters' names in the mesh.
        most_work: how many classes of peers may be looked at, of which a second's CPU takes some 700,000; None: any.
    """
    mentioned = Mentioned.by((*before.rules(), *after.rules()))
    groups = groups_of(workloads, mentioned)
    comparison = _Comparison(before, after, groups)
    is_given_up = most_work is not None and comparison.work > most_work
    blocks = tuple(sorted(comparison.blocks(), key=_order)) if not is_given_up else ()
    endpoints = sum(1 for group in groups if group.sets)
    pairs = len(groups) ** 2 - (len(groups) - endpoints) ** 2
    return Changes(blocks, sum(len(running.sets) for running in workloads.values()), len(groups), pairs, is_given_up)


def _order(block: Block) -> tuple[object, ...]:
    first = block.destinations[0].name, block.sources[0].name
    return not block.opens, -block.pairs, first


@dataclass(frozen=True)
class _Stance:
    """What policies make of a party in a direction, before and after, as numbers of rules; None: none can apply."""

    before: tuple[int, ...] | None = None
    after: tuple[int, ...] | None = None
    closed: tuple[bool, bool] = (False, False)

    @property
    def is_changed(self) -> bool:
        return self.before != self.after or self.closed[0] != self.closed[1]

    @property
    def rules(self) -> frozenset[int]:
        return frozenset((*(self.before or ()), *(self.after or ())))

    def seen(self, chosen: frozenset[int]) -> tuple[object, object]:
        """Give what of it concerns a peer that some of its rules select: what decides, before and after."""
        sides = zip((self.before, self.after), self.closed, strict=True)
        before, after = (
            None if rules is None else (tuple(sorted(rule for rule in rules if rule in chosen)), closed)
            for rules, closed in sides
        )
        return before, after


_Key = tuple[Direction, bool, tuple[object, object], tuple[object, object]]
_SIDES = (Direction.INGRESS, Direction.EGRESS)
_OTHER_SIDE = {Direction.INGRESS: Direction.EGRESS, Direction.EGRESS: Direction.INGRESS}


@dataclass
class _Comparison:
    """One comparison of two fleets.

    A rule is numbered by what it says, not by where it is written: what only moved within its file changes nobody.
    """

    before: Fleet
    after: Fleet
    groups: Sequence[Group]
    _numbers: dict[object, int] = field(default_factory=dict)
    _by_id: dict[int, int] = field(default_factory=dict)
    _twins: dict[int, tuple[Fleet, Rule, Group]] = field(default_factory=dict)
    _masks: dict[int, Mask] = field(default_factory=dict)
    _spans: dict[object, tuple[Spans, Spans]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._peers = PeerMasks(self.groups)
        self._masks[_IS_HOST] = sum(1 << index for index, group in enumerate(self.groups) if group.party == _HOST)
        self._stances = {side: [self._stance(group, side) for group in self.groups] for side in _SIDES}
        self._alike: dict[Direction, dict[_Stance, Mask]] = {side: defaultdict(int) for side in _SIDES}
        for side in _SIDES:
            for index, stance in enumerate(self._stances[side]):
                self._alike[side][stance] |= 1 << index
        named = {index for index, twin in self._twins.items() if _names_ports(twin[1])}
        self._name_ports = frozenset(named)

    def _stance(self, group: Group, side: Direction) -> _Stance:
        found = [fleet.stance(group.party, side) for fleet in (self.before, self.after)]
        numbers = [
            None if one is None else tuple(self._number(fleet, rule, group) for rule in one.rules)
            for fleet, one in zip((self.before, self.after), found, strict=True)
        ]
        closed = [one is not None and one.closed for one in found]
        return _Stance(numbers[0], numbers[1], (closed[0], closed[1]))

    def _number(self, fleet: Fleet, rule: Rule, group: Group) -> int:
        """Give a rule's number; the same words mean something else to another engine."""
        if id(rule) not in self._by_id:
            key = replace(rule, source=_NOWHERE), fleet.options_of(group.party)
            number = self._by_id[id(rule)] = self._numbers.setdefault(key, len(self._numbers))
            self._twins.setdefault(number, (fleet, rule, group))
        return self._by_id[id(rule)]

    def _mask(self, number: int) -> Mask:
        """Give the parties that a rule's peers include."""
        if number not in self._masks:
            fleet, rule, subject = self._twins[number]
            self._masks[number] = self._peers.of(rule, fleet, subject.party)
        return self._masks[number]

    @property
    def work(self) -> int:
        """Estimate what a comparison takes: endpoints whose rules change, times what there is on the other side."""
        changed = {side: sum(stance.is_changed for stance in self._stances[side]) for side in _SIDES}
        return sum(changed[side] * len(self._alike[_OTHER_SIDE[side]]) for side in _SIDES)

    def blocks(self) -> Iterator[Block]:
        """Give what changes: first by who is reached, then, of what that has not looked at, by who reaches."""
        looked_at = [0] * len(self.groups)  # by destination, the sources that its own rules made another thing of
        found: dict[tuple[Mask, Spans, Spans], Mask] = defaultdict(int)
        for index, stance in enumerate(self._stances[Direction.INGRESS]):
            if stance.is_changed:
                for mask, before, after in self._changes(Direction.INGRESS, index, self._peers.everybody, looked_at):
                    found[mask, before, after] |= 1 << index
        for (mask, before, after), reached in found.items():
            yield Block(self._named(mask), self._named(reached), before, after)
        found = defaultdict(int)
        for index, stance in enumerate(self._stances[Direction.EGRESS]):
            if stance.is_changed:
                rest = sum(1 << other for other, seen in enumerate(looked_at) if not seen >> index & 1)
                for mask, before, after in self._changes(Direction.EGRESS, index, rest, None):
                    found[mask, before, after] |= 1 << index
        for (mask, before, after), reaching in found.items():
            yield Block(self._named(reaching), self._named(mask), before, after)

    def _changes(
        self, side: Direction, index: int, among: Mask, looked_at: list[Mask] | None
    ) -> Iterator[tuple[Mask, Spans, Spans]]:
        """Give the peers of a party for which what its rules of one side say makes a difference, with the spans."""
        stance, bit = self._stances[side][index], 1 << index
        if self.groups[index].pods == 1:
            among &= ~bit
        by_spans: dict[tuple[Spans, Spans], Mask] = defaultdict(int)
        for chosen, mask in self._classes((_IS_HOST, *stance.rules), among):
            seen = stance.seen(chosen)
            if seen[0] == seen[1]:
                continue
            if looked_at is not None:
                looked_at[index] |= mask
            for other, peers in self._alike[_OTHER_SIDE[side]].items():
                if mask & peers:
                    theirs = frozenset(number for number in other.rules if self._mask(number) & bit)
                    key = (side, _IS_HOST in chosen, seen, other.seen(theirs))
                    spans = self._judged(key, index, mask & peers, named=chosen | theirs)
                    for these, alike in spans:
                        by_spans[these] |= alike
        for (before, after), mask in by_spans.items():
            if before != after:
                yield mask, before, after

    def _classes(self, rules: Iterable[int], among: Mask) -> list[tuple[frozenset[int], Mask]]:
        """Divide parties by which of some rules have them among their peers."""
        classes: list[tuple[frozenset[int], Mask]] = [(frozenset(), among)]
        for number in sorted(rules):
            mask = self._mask(number)
            parts = [
                (chosen | {number} if is_in else chosen, inside & mask if is_in else inside & ~mask)
                for chosen, inside in classes
                for is_in in (True, False)
            ]
            classes = [part for part in parts if part[1]]
        return classes

    def _judged(
        self, key: _Key, index: int, peers: Mask, *, named: frozenset[int]
    ) -> Iterator[tuple[tuple[Spans, Spans], Mask]]:
        """Judge one of some peers that all rules treat alike; where rules name ports, one of each with other ports."""
        side = key[0]
        by_ports: dict[object, Mask] = {(): peers}
        if not self._name_ports.isdisjoint(named):
            by_ports = {self._ports(index): peers} if side is Direction.INGRESS else self._by_ports(peers)
        for ports, mask in by_ports.items():
            known = (key, ports)
            if known not in self._spans:
                peer = (mask & -mask).bit_length() - 1
                pair = (peer, index) if side is Direction.INGRESS else (index, peer)
                source, destination = (self.groups[one].party for one in pair)
                before, after = (tuple(find_spans(fleet, source, destination)) for fleet in (self.before, self.after))
                self._spans[known] = before, after
            yield self._spans[known], mask

    def _by_ports(self, peers: Mask) -> dict[object, Mask]:
        found: dict[object, Mask] = defaultdict(int)
        for peer in bits(peers):
            found[self._ports(peer)] |= 1 << peer
        return found

    def _ports(self, index: int) -> object:
        party = self.groups[index].party
        return party.port_names if isinstance(party, Endpoint) else ()

    def _named(self, mask: Mask) -> tuple[Group, ...]:
        return tuple(self.groups[index] for index in bits(mask))


def _names_ports(rule: Rule) -> bool:
    return any(isinstance(traffic, NamedPort) for traffic in rule.traffic or ())
