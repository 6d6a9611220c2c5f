"""Small facts that the intake must know after a restart: runs, names, births, counts.

Owns their keys. The facts that a batch has changed are stored in the commit that stores the batch, so they never tell
of readings that are not there, or the other way round. It must not know what the facts mean, nor SQLite.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

_SEPARATOR = "\x1f"  # part of no name of Kubernetes; the last part of a key may hold it


class StreamKey(NamedTuple):
    """A Stream's namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Memory:
    """Facts by kind, Stream and name; values are texts."""

    def __init__(self, stored: Mapping[str, str] | None = None) -> None:
        self._facts = dict(stored or {})
        self._changes: dict[str, str | None] = {}

    def facts(self, kind: str) -> Iterator[tuple[StreamKey, str, str]]:
        """Give Stream, name and value of all facts of a kind."""
        for key, value in self._facts.items():
            its_kind, namespace, stream, name = key.split(_SEPARATOR, 3)
            if its_kind == kind:
                yield StreamKey(namespace, stream), name, value

    def keep(self, kind: str, stream: StreamKey, name: str, value: str) -> None:
        """Know a fact from now on."""
        key = _SEPARATOR.join((kind, *stream, name))
        if self._facts.get(key) != value:
            self._facts[key] = self._changes[key] = value

    def drop(self, kind: str, stream: StreamKey, name: str) -> None:
        """Forget a fact."""
        key = _SEPARATOR.join((kind, *stream, name))
        if self._facts.pop(key, None) is not None:
            self._changes[key] = None

    def take_changes(self) -> dict[str, str | None]:
        """Give what has changed since the last time, to be stored; None is a fact that is no more."""
        changes, self._changes = self._changes, {}
        return changes
