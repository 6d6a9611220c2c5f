"""What proof remembers from look to look: who was seen at work, and since when each set's commit is there.

Owns these memories only; a policy that is written anew is another one, since its mark is.
"""

from collections.abc import Iterable
from datetime import datetime

from atoll.edge.member.proof.ladder import Claim
from atoll.edge.member.proof.reading import Mark
from atoll.edge.member.proof.standing import Standing
from atoll.edge.member.proof.verdicts import Verdict, decided_at


class Observed:
    """When each object was last seen to decide about a connection."""

    def __init__(self) -> None:
        self._at: dict[Mark, datetime] = {}
        self._newest: tuple[Verdict, ...] = ()

    def take(self, verdicts: Iterable[Verdict]) -> None:
        """Take in what Hubble has shown at a look."""
        self._newest = tuple(verdicts)
        for verdict in self._newest:
            for mark in verdict.marks:
                self._at[mark] = max(verdict.at, self._at.get(mark, verdict.at))

    def at(self, claim: Claim) -> datetime | None:
        """Give when an object, as it is now, was last seen to decide; None if it was not."""
        rules = (*(claim.meaning.rules or ()), *claim.meaning.host_rules)
        fresh = decided_at(claim.mark, rules, self._newest)
        if fresh is not None:
            self._at[claim.mark] = max(fresh, self._at.get(claim.mark, fresh))
        seen = self._at.get(claim.mark)
        return seen if seen is not None and seen >= claim.since else None

    def keep(self, marks: set[Mark]) -> None:
        """Forget objects that nobody orders any more."""
        self._at = {mark: at for mark, at in self._at.items() if mark in marks}


class Applied:
    """Since when each set stands at its commit."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[str, datetime]] = {}

    def since(self, key: str, standing: Standing, now: datetime) -> datetime:
        """Give when a set's commit was first seen to stand, which is now for a new one."""
        if self._since.get(key, ("", now))[0] != standing.commit:
            self._since[key] = (standing.commit, now)
        return self._since[key][1]
