"""Turn a table's follow into explicit changes: what is set, what is gone, and what is new since the last look.

Owns the comparison of a repeated snapshot with what was known. Pure: it does no I/O and keeps no values.
"""

from dataclasses import dataclass, field

from atoll.federation.bus.changes import Change, Synced


@dataclass
class Levels:
    """Remembers the revision of every live key, so that a snapshot that is given again yields only differences."""

    revisions: dict[str, int] = field(default_factory=dict)
    newest: int = 0
    is_synced: bool = False
    _given: set[str] = field(default_factory=set)

    def feed(self, item: Change | Synced) -> list[Change]:
        """Give the changes that an item means: none, itself, or the deletions that a new snapshot reveals."""
        if isinstance(item, Synced):
            return self._close(item)
        if item.revision <= self.newest and self.is_synced:
            self._begin_again()
        self.newest = item.revision
        if item.value is None:
            self._given.discard(item.key)
            return [item] if self.revisions.pop(item.key, None) is not None else []
        self._given.add(item.key)
        if self.revisions.get(item.key) == item.revision:
            return []
        self.revisions[item.key] = item.revision
        return [item]

    def _begin_again(self) -> None:
        """A revision that does not grow means that the snapshot started over."""
        self.is_synced = False
        self._given.clear()

    def _close(self, synced: Synced) -> list[Change]:
        if synced.revision < self.newest:  # the stream was made anew, and holds nothing
            self._given.clear()
        gone = sorted(self.revisions.keys() - self._given - synced.damaged)
        for key in gone:
            del self.revisions[key]
        self.newest = synced.revision
        self.is_synced = True
        self._given = set()
        return [Change(key, None, synced.revision) for key in gone]
