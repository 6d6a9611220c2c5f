"""Which parties the peers of a rule include, as the bits of a number. Pure.

Thousands of rules ask for a few labels: which parties bear which value of a label is worked out once.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from atoll.policies.identity import Party
from atoll.policies.rules import Identity, Labelled, Peer, Rule, Term
from atoll.policies.trials.fleet import Fleet
from atoll.policies.trials.parties import Group
from atoll.policies.verdict import Options

Mask = int  # a set of parties: their places are its bits


class PeerMasks:
    """The peers of rules among some parties; remembers what it has worked out."""

    def __init__(self, groups: Sequence[Group]) -> None:
        """Number the parties by their places."""
        self._groups = groups
        self.everybody: Mask = (1 << len(groups)) - 1
        self._identities: dict[Options, list[Identity]] = {}
        self._values: dict[tuple[Options, str, str], Mapping[str | None, Mask]] = {}

    def of(self, rule: Rule, fleet: Fleet, subject: Party) -> Mask:
        """Give whom a rule's peers include, as the engine sees them that enforces it for a subject."""
        if rule.peers is None:
            return self.everybody
        options = fleet.options_of(subject)
        if options not in self._identities:
            self._identities[options] = [fleet.identity(subject, group.party) for group in self._groups]
        mask = 0
        for peer in rule.peers:
            mask |= self._of_peer(peer, options)
        return mask

    def _of_peer(self, peer: Peer, options: Options) -> Mask:
        if not isinstance(peer, Labelled):
            places = enumerate(self._identities[options])
            return sum(1 << place for place, identity in places if peer.matches(identity))
        mask = self.everybody
        for term in peer.terms:
            mask &= self._of_term(term, options)
        return mask

    def _of_term(self, term: Term, options: Options) -> Mask:
        mask = 0
        for value, parties in self._by_value(options, term.source, term.key).items():
            label = {} if value is None else {term.key: value}
            if term.matches({f"{term.source}:{key}": value for key, value in label.items()}, label):
                mask |= parties
        return mask

    def _by_value(self, options: Options, source: str, key: str) -> Mapping[str | None, Mask]:
        """Give the parties by the value that a label has; None for those without it."""
        known = self._values.get((options, source, key))
        if known is None:
            found: dict[str | None, Mask] = defaultdict(int)
            for place, identity in enumerate(self._identities[options]):
                value = identity.by_key.get(key) if source == "any" else identity.labels.get(f"{source}:{key}")
                found[value] |= 1 << place
            known = self._values[options, source, key] = found
        return known


def bits(mask: Mask) -> Iterator[int]:
    """Give the places of a mask's parties."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
