"""One look at a policy set, as a value: what shall stand, what was found, and what is kept of it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from atoll.edge.member.desired import POLICYSETS
from atoll.edge.member.errors import KindNotServed, is_passing
from atoll.edge.member.objects import Kind, ObjectRef
from atoll.edge.member.records import DriftsRecord, HeldObject, PolicyRecord, SavedRef
from atoll.edge.member.work import RequeueAfter, Result
from atoll.federation.bus.messages import DriftRecord, PolicyReport
from atoll.federation.errors import AtollError
from atoll.policies.drift import Drift
from atoll.policies.manifest import Manifest

# A net below the watches: comparing with what the watches hold costs no request.
_RESYNC_SECONDS = 300.0
_KIND_RETRY_SECONDS = 5.0
_PROBLEMS_SHOWN = 3
NEWEST_DRIFTS = 10


@dataclass(frozen=True)
class Wanted:
    """One object as it shall stand in the cluster: its name, and a fingerprint of its manifest."""

    ref: ObjectRef
    digest: str
    policy: Manifest


@dataclass
class Pass:
    """What one look at a set has found."""

    held: dict[ObjectRef, str] = field(default_factory=dict)
    drifts: list[DriftRecord] = field(default_factory=list)
    errors: list[AtollError] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def fail(self, what: object, error: AtollError) -> None:
        """Note what did not go."""
        self.errors.append(error)
        self.problems.append(f"{what}: {error}")

    def refuse(self, holder: str, refs: Sequence[ObjectRef]) -> None:
        """Note what another set holds; time does not mend that, so it is not tried again by itself."""
        more = len(refs) - _PROBLEMS_SHOWN
        names = ", ".join(map(str, refs[:_PROBLEMS_SHOWN])) + (f" and {more} more" if more > 0 else "")
        verb, them = ("is", "it") if len(refs) == 1 else ("are", "them")
        self.problems.append(
            f"Conflict: {names} {verb} held by PolicySet {holder}; take {them} out of one of the two sets"
        )

    @property
    def message(self) -> str:
        """The first few of what did not go."""
        more = len(self.problems) - _PROBLEMS_SHOWN
        return "; ".join(self.problems[:_PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else "")

    def result(self) -> Result:
        """Tell when to look again; raise what may pass by itself, so that it is tried again soon."""
        for error in self.errors:
            if is_passing(error):
                raise error
        is_waiting = any(isinstance(error, KindNotServed) for error in self.errors)
        return RequeueAfter(_KIND_RETRY_SECONDS if is_waiting else _RESYNC_SECONDS)


@dataclass(frozen=True)
class HeldSet:
    """What was held when a set was last looked at whole: the order's own bytes, its objects, and what was reported."""

    raw: bytes
    wanted: Mapping[ObjectRef, Wanted]
    report: PolicyReport


def heal_key(kind: Kind, key: str) -> str:
    """Give the key by which `heal` knows an object."""
    return f"{kind.api_version} {kind.kind} {key}"


def ref_of(heal: str) -> ObjectRef:
    """Read such a key."""
    api_version, kind, key = heal.split(" ")
    namespace, _, name = key.rpartition("/")
    return ObjectRef(Kind(api_version, kind), namespace or None, name)


def entry_of(ref: ObjectRef, digest: str, old: HeldObject | None) -> HeldObject:
    """Give what is kept on disk of an object; what is there already is taken as it is."""
    return old if old is not None and old.digest == digest else HeldObject(object=SavedRef.of(ref), digest=digest)


def kinds_of(record: PolicyRecord, wanted: Sequence[Wanted]) -> tuple[tuple[str, str], ...]:
    """Name the kinds of what a set has held and of what it shall hold."""
    kinds = {Kind(*kind) for kind in record.kinds} | {one.ref.kind for one in wanted}
    return tuple(sorted((kind.api_version, kind.kind) for kind in kinds))


def record_of(drift: Drift, *, healed: bool, now: datetime) -> DriftRecord:
    """Give a difference as it is told to the hub; where the API server does not say when, it was now."""
    return DriftRecord(
        kind=drift.kind,
        namespace=drift.namespace,
        name=drift.name,
        paths=drift.changed_paths,
        managers=drift.managers,
        at=drift.at or now,
        healed=healed,
    )


def with_drifts(known: DriftsRecord, done: Pass) -> DriftsRecord:
    """Add what was found; what was not put back is found again each time, so only the healed are history."""
    history = (drift for drift in known.newest if drift.healed)
    healed = known.healed + sum(drift.healed for drift in done.drifts)
    return DriftsRecord(healed=healed, newest=(*done.drifts, *history)[:NEWEST_DRIFTS])


def identity_of(drift: DriftRecord) -> tuple[object, ...]:
    """Tell one difference from another, whenever they were seen."""
    return drift.kind, drift.namespace, drift.name, drift.paths


def report_key(name: str) -> str:
    """Give the key under which a set is reported."""
    return f"{POLICYSETS}/{name}"
