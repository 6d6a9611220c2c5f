"""Datasets as rows and as bars per namespace: what is wrong first, then what is newest. Pure.

Owns the state of a dataset in one word, the filter of the list and its order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from atoll.hub.dashboard.data.ledger import Shares, shares_of
from atoll.hub.dashboard.words import instant
from atoll.kubeapi.resource import Object

# The first that is true of a dataset. Damaged: its files are not what they should be. Incomplete: readings are missing
# or were shed. Lacking: fewer copies than its rule asks for. Empty: nothing has been written yet.
DatasetState = Literal["Damaged", "Incomplete", "Lacking", "Growing", "Complete", "Empty"]
STATES: tuple[DatasetState, ...] = get_args(DatasetState)
_BARS = 12
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class DatasetRow:
    """One dataset in the list."""

    namespace: str
    name: str
    state: DatasetState
    why: str
    version: int
    bytes: int
    files: int
    received: int
    gaps: int
    shed: int
    duplicates: int
    shares: Shares
    home: str
    clusters: tuple[str, ...]
    residency: tuple[str, ...]
    pinned: bool
    changed_at: datetime | None

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class DatasetFilter:
    """Which datasets are wanted; empty texts do not limit, nor does the state `all`."""

    text: str = ""
    namespace: str = ""
    state: str = "all"
    cluster: str = ""

    def wants(self, row: DatasetRow) -> bool:
        """Tell whether a row is wanted; `text` may be anywhere in the key."""
        return (
            self.text.lower() in row.key
            and self.namespace in ("", row.namespace)
            and self.state in ("all", row.state)
            and (not self.cluster or self.cluster in (row.home, *row.clusters))
        )


@dataclass(frozen=True)
class NamespaceBar:
    """The datasets of one namespace by state; `others` counts the namespaces that a last bar stands for."""

    namespace: str
    count: int
    bytes: int
    states: Mapping[DatasetState, int]
    others: int = 0


def row_of(dataset: Object) -> DatasetRow:
    """Sum a stored dataset up. It is read as it is: to parse ten thousand takes longer than a page may."""
    spec, status, metadata = dataset.get("spec", {}), dataset.get("status", {}), dataset["metadata"]
    ledger = status.get("ledger", {})
    state, why = _state(status)
    received, gaps, shed = (ledger.get(name, 0) for name in ("received", "gaps", "shed"))
    return DatasetRow(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        state=state,
        why=why,
        version=status.get("version", 0),
        bytes=status.get("bytes", 0),
        files=status.get("files", 0),
        received=received,
        gaps=gaps,
        shed=shed,
        duplicates=ledger.get("duplicates", 0),
        shares=shares_of(received, gaps, shed),
        home=spec.get("home", ""),
        clusters=_holders(status),
        residency=tuple(spec.get("residency", ())),
        pinned=spec.get("pinned", False),
        changed_at=instant(status.get("completedAt") or ledger.get("lastAt") or metadata.get("creationTimestamp")),
    )


def _holders(status: Object) -> tuple[str, ...]:
    """Name the clusters that have the newest version."""
    newest = next((each for each in status.get("versions", ()) if each["version"] == status.get("version")), None)
    if newest is not None:
        return tuple(newest.get("clusters", ()))
    return tuple(each["cluster"] for each in status.get("replicas", ()))


def ordered(rows: Iterable[DatasetRow]) -> tuple[DatasetRow, ...]:
    """Order rows: those with something wrong, then the newest; those that say nothing of time last."""
    by_key = sorted(rows, key=lambda row: row.key)
    newest_first = sorted(by_key, key=lambda row: row.changed_at or _NEVER, reverse=True)
    return tuple(sorted(newest_first, key=lambda row: min(STATES.index(row.state), STATES.index("Growing"))))


def bars_of(rows: Iterable[DatasetRow]) -> tuple[NamespaceBar, ...]:
    """Count datasets by namespace and state, the largest first; the smaller ones share the last bar."""
    found: dict[str, list[DatasetRow]] = {}
    for row in rows:
        found.setdefault(row.namespace, []).append(row)
    ranked = sorted(found, key=lambda name: (-len(found[name]), name))
    bars = [_bar(name, found[name]) for name in ranked[:_BARS]]
    rest = ranked[_BARS:]
    if rest:
        bars.append(_bar("", [row for name in rest for row in found[name]], others=len(rest)))
    return tuple(bars)


def _bar(namespace: str, rows: Sequence[DatasetRow], *, others: int = 0) -> NamespaceBar:
    states = {state: sum(row.state == state for row in rows) for state in STATES}
    return NamespaceBar(namespace, len(rows), sum(row.bytes for row in rows), states, others)


def _state(status: Object) -> tuple[DatasetState, str]:
    ledger = status.get("ledger", {})
    refuted = {
        each["type"]: each.get("message") or each["reason"]
        for each in status.get("conditions", ())
        if each["status"] == "False"
    }
    if "Healthy" in refuted:
        return "Damaged", refuted["Healthy"]
    missing = ((ledger.get("gaps", 0), "missing"), (ledger.get("shed", 0), "shed"))
    if any(count for count, _ in missing):
        return "Incomplete", f"readings: {', '.join(f'{count:,} {word}' for count, word in missing if count)}"
    if "Replicated" in refuted:
        return "Lacking", refuted["Replicated"]
    if not status.get("version"):
        return "Empty", refuted.get("Registered", "nothing has been written to it yet")
    return ("Complete", "") if status.get("complete") else ("Growing", "readings still come")
