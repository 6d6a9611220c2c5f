"""What the agent remembers of its own doings across restarts: which runs it applied, which policy objects it holds.

One shelf entry per order. It must not decide anything.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Generic, Literal, TypeVar

import structlog

from atoll.edge.member.objects import Kind, ObjectRef
from atoll.edge.member.shelf import Shelf
from atoll.federation.bus.messages import DriftRecord, Message, RunReport
from atoll.federation.errors import Internal
from atoll.federation.resources.run import RunPhase

log = structlog.get_logger(__name__)


class SavedRef(Message):
    """An ObjectRef on disk."""

    api_version: str
    kind: str
    namespace: str | None = None
    name: str

    @classmethod
    def of(cls, ref: ObjectRef) -> "SavedRef":
        """Give the form of a reference that is kept on disk."""
        return cls(api_version=ref.kind.api_version, kind=ref.kind.kind, namespace=ref.namespace, name=ref.name)

    def ref(self) -> ObjectRef:
        """Give the reference."""
        return ObjectRef(Kind(self.api_version, self.kind), self.namespace, self.name)


class GangRecord(Message):
    """How far a gang is that is kept together by suspending it (gangs.py): written before what it says is done."""

    stage: Literal["Held", "Releasing", "Released", "Withdrawing", "Whole"] = "Held"
    held_since: datetime
    attempts: int = 0
    retry_at: datetime | None = None


class EndRecord(Message):
    """How a run is to end that the agent stops: what is being removed cannot tell it any more."""

    phase: RunPhase
    reason: str
    message: str = ""


class RunRecord(Message):
    """One run: `objects` are written before the first of them is applied, `report` once the run has finished.

    `lease_gain` names the lease that it began under; `start_seen_at` is when the start of its Job was first seen.
    `begun_at` is when the agent first set out to apply it.
    `gang` is set of a workload that the agent releases when there is room for all of its pods.
    """

    namespace: str
    run: str
    epoch: int
    objects: tuple[SavedRef, ...]
    is_applied: bool = False
    begun_at: datetime | None = None
    lease_gain: str = ""
    job_started: str = ""
    start_seen_at: float = 0.0
    gang: GangRecord | None = None
    ending: EndRecord | None = None
    report: RunReport | None = None


class HeldObject(Message):
    """A policy object that was applied, and the fingerprint of the manifest that it was applied from."""

    object: SavedRef
    digest: str


class PolicyRecord(Message):
    """One policy set; `kinds` are written before an object of theirs is applied.

    `drift_healed` and `drifts` are what an agent wrote here before they had a record of their own.
    """

    name: str
    kinds: tuple[tuple[str, str], ...] = ()
    held: tuple[HeldObject, ...] = ()
    drift_healed: int = 0
    drifts: tuple[DriftRecord, ...] = ()


class DriftsRecord(Message):
    """What was changed by hand of one policy set. By itself: the record of the set names all objects, and takes longer
    to write than an object to put back."""

    healed: int = 0
    newest: tuple[DriftRecord, ...] = ()


class ServiceRecord(Message):
    """One namespace's data service; written before it is applied."""

    namespace: str
    objects: tuple[SavedRef, ...]


R = TypeVar("R", RunRecord, PolicyRecord, DriftsRecord, ServiceRecord)


class Records(Generic[R]):
    """The records of one kind by the key of their order."""

    def __init__(self, shelf: Shelf, model: type[R]) -> None:
        self._shelf = shelf
        self._records: dict[str, R] = {}
        for key, value in shelf.load().items():
            try:
                self._records[key] = model.decode(value)
            except Internal as error:  # written by another version of the agent: what it names is found by label
                log.error("a record of the agent could not be read", key=key, error=str(error))

    def get(self, key: str) -> R | None:
        """Give a record."""
        return self._records.get(key)

    def __iter__(self) -> Iterator[str]:
        """Give all keys, as of now."""
        return iter(tuple(self._records))

    def put(self, key: str, record: R) -> None:
        """Store a record durably."""
        if self._records.get(key) != record:
            self._shelf.put(key, record.encode())
            self._records[key] = record

    def delete(self, key: str) -> None:
        """Drop a record."""
        if self._records.pop(key, None) is not None:
            self._shelf.delete(key)


def saved(refs: Iterable[ObjectRef]) -> tuple[SavedRef, ...]:
    """Give references in the form that is kept on disk."""
    return tuple(SavedRef.of(ref) for ref in refs)
