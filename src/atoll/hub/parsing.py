"""Objects parsed once per revision: controllers and the scheduler read the same ones again and again.

Owns what is remembered of them, and for how long; what it gives is shared by all readers, and nobody may change a dict
inside it. It must not read or write the store.
"""

from collections import OrderedDict
from typing import TypeVar

from atoll.federation.resources import Resource
from atoll.kubeapi.cache import Entry
from atoll.kubeapi.recent import Recent

R = TypeVar("R", bound=Resource)
# A parsed object takes some 10 KB: this bounds them to about 100 MB. Where more are read in turn, each is parsed anew.
_MOST_KNOWN = 10_000


class Parsed:
    """Parsed objects by their keys in the store."""

    def __init__(self, recent: Recent) -> None:
        """Know none; decode by way of `recent`."""
        self._recent = recent
        self._known: OrderedDict[str, tuple[int, Resource]] = OrderedDict()

    def of(self, model: type[R], entry: Entry) -> R:
        """Give an entry as an object of its kind."""
        known = self.peek(model, entry.key, entry.revision)
        if known is None:
            known = model.model_validate(self._recent.look(entry))
        self.remember(entry.key, entry.revision, known)
        return known

    def peek(self, model: type[R], key: str, revision: int) -> R | None:
        """Give an object in one revision if it is known. In any thread."""
        known_at, known = self._known.get(key, (0, None))
        if known is None or known_at != revision:
            return None
        assert isinstance(known, model), f"the kind of {key} stands in its key"
        return known

    def remember(self, key: str, revision: int, known: Resource) -> None:
        """Keep an object; the one that was not asked for the longest goes when there are too many."""
        self._known[key] = (revision, known)
        self._known.move_to_end(key)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    def forget(self, key: str) -> None:
        """Drop an object that is gone."""
        self._known.pop(key, None)
