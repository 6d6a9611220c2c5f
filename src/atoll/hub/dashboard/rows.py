"""Rows of one kind, kept up with the watch cache: what pages show of 100,000 objects, without reading them again.

Owns that each change is read once, however many look, and that others have their turn meanwhile. What a row says is for
its reader, a pure function of the stored object; what is counted over all rows is for a book. What an older Atoll let
in and this one cannot read has no row, and the log says so: one object must not take a page away from everybody.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import structlog
from pydantic import ValidationError

from atoll.federation.resources import Resource
from atoll.hub.following import Follower
from atoll.kubeapi.resource import Object

log = structlog.get_logger(__name__)

Row = TypeVar("Row")
Counted_contra = TypeVar("Counted_contra", contravariant=True)

_NO_NAMESPACE = "-/"  # kubeapi keeps what is in no namespace below this


class Book(Protocol[Counted_contra]):
    """Counts over all rows of a kind, change by change."""

    def turn(self, key: str, old: Counted_contra | None, new: Counted_contra | None) -> None:
        """Take in that a row came (no `old`), changed, or went (no `new`)."""


class _NoBook:
    """Counts nothing."""

    def turn(self, key: str, old: Any, new: Any) -> None:
        """Leave it at that."""


@dataclass(frozen=True)
class Shelf(Generic[Row]):
    """Which kind to keep rows of, and how each is read; `book` makes what counts over them. A module's constant."""

    model: type[Resource]
    read: Callable[[Object], Row]
    book: Callable[[], Any] = _NoBook


class Rows(Generic[Row]):
    """The rows of one shelf by `namespace/name`, or by name where the kind has no namespaces."""

    def __init__(self, shelf: Shelf[Row], follower: Follower[Any], *, namespaced: bool) -> None:
        self._shelf, self._follower = shelf, follower
        self._scope = "" if namespaced else _NO_NAMESPACE
        self._rows: dict[str, Row] = {}
        self._turn = asyncio.Lock()
        self.book: Any = shelf.book()

    async def current(self) -> Mapping[str, Row]:
        """Read what has changed, and give all rows: for reading, and only until the caller waits for something."""
        async with self._turn:
            if self._follower.begin():
                for key in [key for key in self._rows if self._follower.entry(self._scope + key) is None]:
                    self._put(key, None)
            async for name, entry in self._follower.changed():
                key = name.removeprefix(self._scope)
                self._put(key, None if entry is None else self._read(key, self._follower.look(entry)))
        return self._rows

    def _read(self, key: str, stored: Object) -> Row | None:
        try:
            return self._shelf.read(stored)
        except ValidationError as error:
            log.warning("an object cannot be shown", kind=self._shelf.model.__name__, name=key, problem=str(error))
            return None

    def _put(self, key: str, new: Row | None) -> None:
        old = self._rows.pop(key, None)
        if new is not None:
            self._rows[key] = new
        if old is not None or new is not None:
            self.book.turn(key, old, new)
