"""Whom to look at after a cycle: of a million jobs that wait, those of which something else may be to be said.

Owns who is due: a job that came or changed, and all of a group once another thing stands in its way than before. A
job that was told stays due until its status is seen to say so, so that nothing depends on the fate of a write. What
"another thing" is stands in news.py. Used by one cycle at a time; a new one looks at everybody once.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice

from atoll.hub.scheduler.brief import Ask
from atoll.hub.scheduler.cycle import Cycle, Refusal
from atoll.hub.scheduler.news import News, Said
from atoll.hub.scheduler.outcome import Waiting

# Statuses written by one cycle. Fewer: thousands of jobs that come at once are told later why they wait. More: a job
# that could start waits for those writes.
MOST_TOLD = 500
# Jobs parsed to compare what their statuses say; some 0.2 ms each.
_MOST_LOOKED_AT = 2000
# Groups that are asked in each cycle, in turn, whether the same stands in their way as before.
_GROUPS_AT_ONCE = 200
# Groups that may be remembered beyond twice those that wait.
_FEW = 1000


class Telling:
    """Picks whom to tell why he waits."""

    def __init__(self) -> None:
        """Have told nobody."""
        self._news = News()
        self._due: OrderedDict[str, None] = OrderedDict()
        self._said: OrderedDict[Ask, Said] = OrderedDict()
        self._again: set[str] = set()
        self.is_behind = False

    def of(self, cycle: Cycle) -> tuple[Waiting, ...]:
        """Give at most MOST_TOLD of those whose status says something else than the cycle has found.

        `is_behind` says then whether others are due that were not looked at.
        """
        self._news.begin()
        self._add_changed(cycle)
        for refusal in self._in_turn(cycle.refusals):
            self._compare(cycle, refusal)
        told: list[Waiting] = []
        looked_at: set[Ask] = set()
        for key in tuple(islice(self._due, _MOST_LOOKED_AT)):
            group = cycle.refusal(key)
            if group is not None and group.group.ask not in looked_at:
                looked_at.add(group.group.ask)
                self._compare(cycle, group)
            if self._is_told(cycle.why(key), told):
                self._due.move_to_end(key)
            else:
                del self._due[key]
            if len(told) == MOST_TOLD:
                break
        self.is_behind = len(self._due) > len(told)
        return tuple(told)

    def _is_told(self, found: Waiting | None, told: list[Waiting]) -> bool:
        if found is None or not self._news.is_news(found):
            return False
        told.append(found)
        return True

    def _add_changed(self, cycle: Cycle) -> None:
        """Have those looked at that changed, or for whom something was or is promised, or who should have started."""
        book, now = cycle.memory.book, {*cycle.outlooks, *cycle.misnamed}
        keys = book.changed | now | self._again
        self._again = now | {chosen.key for chosen in cycle.chosen}
        self._add(sorted((key for key in keys if book.brief(key) is not None), key=book.order))

    def _add(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._due.setdefault(key)

    def _in_turn(self, refusals: Sequence[Refusal]) -> list[Refusal]:
        """Give some groups that wait: those first that were compared longest ago."""
        waiting = {refusal.group.ask: refusal for refusal in refusals}
        if len(self._said) > 2 * len(waiting) + _FEW:
            self._said = OrderedDict((ask, said) for ask, said in self._said.items() if ask in waiting)
        return list(islice((waiting[ask] for ask in tuple(self._said) if ask in waiting), _GROUPS_AT_ONCE))

    def _compare(self, cycle: Cycle, refusal: Refusal) -> None:
        """Have a whole group looked at once something else stands in its way than when its jobs were."""
        ask = refusal.group.ask
        of_its_own = (cycle.outlooks, cycle.misnamed)
        common = next((key for key in refusal.keys if not any(key in each for each in of_its_own)), None)
        found = None if common is None else cycle.why(common)
        if found is None:
            return
        before, said = self._said.get(ask), self._news.said(found)
        if before is None or not said.is_about(before):
            self._said[ask] = said
            if before is not None:
                self._add(refusal.keys)
        self._said.move_to_end(ask)
