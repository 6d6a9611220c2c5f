"""Objects parsed once per revision: controllers and the scheduler read the same ones again and again.

Owns what is remembered of them, and for how long; what it gives is shared by all readers, and nobody may change a dict
inside it. Owns, too, what becomes of a stored object that is no valid one of its kind: the log says so once per
revision, and its readers leave it out or are told. It must not read or write the store.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import structlog
from pydantic import ValidationError

from atoll.federation.errors import InvalidInput
from atoll.federation.resources import Resource
from atoll.federation.resources.validation import FieldProblem, problems
from atoll.kubeapi.bucket import Entry
from atoll.kubeapi.recent import Recent
from atoll.kubeapi.resource import Object

log = structlog.get_logger(__name__)

R = TypeVar("R", bound=Resource)
# A parsed object takes some 10 KB: this bounds them to about 100 MB. Where more are read in turn, each is parsed anew.
_MOST_KNOWN = 10_000
_MOST_TOLD = 5


class Unreadable(InvalidInput):
    """A stored object is no valid one of its kind: mostly an older Atoll let it in, and this one asks for more.

    Nothing helps but a change of the object, or its end: who reads it again finds the same.
    """

    def __init__(self, model: type[Resource], key: str, found: Sequence[FieldProblem]) -> None:
        """Name the object and the fields that are wrong; `key` is its key in the store."""
        self.kind, self.name, self.found = str(model.model_fields["kind"].default), _name_in(key), tuple(found)
        self.why = "; ".join(f"{each.field}: {each.message}" for each in found[:_MOST_TOLD])
        super().__init__(f"{self.kind} {self.name} as it is stored is not valid: {self.why}", self.found)


class Refused(NamedTuple):
    """An object that cannot be read, in the revision that was looked at."""

    model: type[Resource]
    key: str
    revision: int
    found: tuple[FieldProblem, ...]


def read(model: type[R], key: str, obj: Object) -> R:
    """Parse a stored object. Pure.

    Raises:
        Unreadable: it is no valid one of its kind.
    """
    try:
        return model.model_validate(obj)
    except ValidationError as error:
        raise Unreadable(model, key, problems(error, model)) from error


async def unless_unreadable(reading: Awaitable[R | None]) -> R | None:
    """Give what is read, or None for an object that cannot be: for who looks at many and goes on with the others."""
    try:
        return await reading
    except Unreadable:
        return None


class Parsed:
    """Parsed objects by their keys in the store."""

    def __init__(self, recent: Recent) -> None:
        """Know none; decode by way of `recent`."""
        self._recent = recent
        self._known: OrderedDict[str, tuple[int, Resource]] = OrderedDict()
        self._refused: dict[str, Refused] = {}

    def of(self, model: type[R], entry: Entry) -> R:
        """Give an entry as an object of its kind. Raises Unreadable."""
        known = self.peek(model, entry.key, entry.revision)
        if known is None:
            self._check(entry)
            known = self._read(model, entry, self._recent.look(entry))
        self.remember(entry.key, entry.revision, known)
        return known

    def readable(self, model: type[R], entry: Entry) -> R | None:
        """Give the same; None for what cannot be read."""
        try:
            return self.of(model, entry)
        except Unreadable:
            return None

    def apart(self, model: type[R], entry: Entry) -> R:
        """Give the same in any thread; what is parsed for it is not remembered. Raises Unreadable."""
        known = self.peek(model, entry.key, entry.revision)
        if known is None:
            self._check(entry)
            known = self._read(model, entry, entry.decode())
        return known

    def _check(self, entry: Entry) -> None:
        """Raise what was raised before about the same revision: it is neither parsed nor told again."""
        if self.is_refused(entry):
            refused = self._refused[entry.key]
            raise Unreadable(refused.model, refused.key, refused.found)

    def _read(self, model: type[R], entry: Entry, obj: Object) -> R:
        try:
            return read(model, entry.key, obj)
        except Unreadable as error:
            self._refused[entry.key] = Refused(model, entry.key, entry.revision, error.found)
            log.warning("a stored object is not valid and is left out", kind=error.kind, name=error.name, why=error.why)
            raise

    def peek(self, model: type[R], key: str, revision: int) -> R | None:
        """Give an object in one revision if it is known. In any thread."""
        known_at, known = self._known.get(key, (0, None))
        if known is None or known_at != revision:
            return None
        assert isinstance(known, model), f"the kind of {key} stands in its key"
        return known

    def is_refused(self, entry: Entry) -> bool:
        """Tell whether somebody found that an entry cannot be read. In any thread."""
        refused = self._refused.get(entry.key)
        return refused is not None and refused.revision == entry.revision

    def refused(self) -> Iterator[Refused]:
        """Give what could not be read when somebody tried; it may have changed since."""
        return iter(tuple(self._refused.values()))

    def remember(self, key: str, revision: int, known: Resource) -> None:
        """Keep an object; the one that was not asked for the longest goes when there are too many."""
        self._known[key] = (revision, known)
        self._known.move_to_end(key)
        if self._refused:
            self._refused.pop(key, None)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    def forget(self, key: str) -> None:
        """Drop an object that is gone."""
        self._known.pop(key, None)
        self._refused.pop(key, None)


def _name_in(key: str) -> str:
    """Name an object as people do, `namespace/name` or its name, by its key in the store."""
    namespace, name = key.split("/")[-2:]
    return name if namespace == "-" else f"{namespace}/{name}"
