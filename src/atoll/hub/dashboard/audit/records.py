"""Audit records as rows, bars over time, and the words to filter by. Pure.

Owns how a record reads as a sentence, and what of it is counted. Whose records these are was decided before.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from atoll.hub.access.audit_records import Record, asked_at

Result = Literal["Succeeded", "Failed", "Unknown"]
BINS = 60
_FACETS, _FACET_VALUES = ("user", "verb", "resource", "namespace"), 8
_PAST: Mapping[str, str] = {
    "create": "created",
    "update": "replaced",
    "patch": "changed",
    "delete": "deleted",
    "deletecollection": "deleted all",
    "post": "posted to",
    "put": "put",
    "get": "opened",
    "connect": "opened",
}


@dataclass(frozen=True)
class AuditRow:
    """One request: who asked for what, and what came of it."""

    id: str
    at: datetime
    user: str
    acting: str
    verb: str
    done: str
    resource: str
    subresource: str
    namespace: str
    name: str
    path: str
    result: Result
    code: int
    reason: str
    message: str
    duration_ms: float | None
    credential: str
    source: str
    user_agent: str
    dry_run: bool

    @property
    def what(self) -> str:
        """Name the object, as `resource namespace/name`; of a plain route its path."""
        if not self.resource:
            return self.path
        kind = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        where = "/".join(filter(None, (self.namespace, self.name)))
        return f"{kind} {where}".strip()


@dataclass(frozen=True)
class Bin:
    """Requests of one span of time by what came of them; `height` is of the fullest."""

    begins_at: datetime
    ends_at: datetime
    succeeded: int
    failed: int
    unknown: int

    @property
    def count(self) -> int:
        """All of them."""
        return self.succeeded + self.failed + self.unknown


@dataclass(frozen=True)
class Facet:
    """A field of records with its most frequent values, to filter by."""

    field: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class AuditView:
    """A window of records: the newest first. `is_cut`: older ones within the window were not read."""

    rows: tuple[AuditRow, ...]
    bins: tuple[Bin, ...]
    facets: tuple[Facet, ...]
    failed: int
    unknown: int
    people: int
    is_cut: bool


def audit_row(record: Record) -> AuditRow:
    """Read one joined record; fields that it does not have are empty."""
    verb = str(record.get("verb", ""))
    return AuditRow(
        id=str(record["id"]),
        at=asked_at(record),
        user=str(record.get("user", "")),
        acting=str(record.get("acting", "")),
        verb=verb,
        done=_PAST.get(verb, verb),
        resource=str(record.get("resource", "")),
        subresource=str(record.get("subresource", "")),
        namespace=str(record.get("namespace", "")),
        name=str(record.get("name", "")),
        path=str(record.get("path", "")),
        result=record["result"],
        code=int(record.get("code", 0)),
        reason=str(record.get("reason", "")),
        message=str(record.get("message", "")),
        duration_ms=record.get("durationMs"),
        credential=str(record.get("credential", "")),
        source=str(record.get("source", "")),
        user_agent=str(record.get("userAgent", "")),
        dry_run=bool(record.get("dryRun", False)),
    )


def view_of(records: Sequence[Record], *, since: datetime, until: datetime, is_cut: bool) -> AuditView:
    """Sum a window of records up; they may be in any order."""
    rows = sorted(map(audit_row, records), key=lambda row: (row.at, row.id), reverse=True)
    begin = rows[-1].at if is_cut and rows else since
    results = Counter(row.result for row in rows)
    return AuditView(
        rows=tuple(rows),
        bins=bins_of(rows, since=begin, until=until),
        facets=tuple(_facet(rows, field) for field in _FACETS),
        failed=results["Failed"],
        unknown=results["Unknown"],
        people=len({row.acting or row.user for row in rows}),
        is_cut=is_cut,
    )


def bins_of(rows: Sequence[AuditRow], *, since: datetime, until: datetime) -> tuple[Bin, ...]:
    """Count rows in spans of equal length."""
    step = max((until - since) / BINS, timedelta(seconds=1))
    counts: list[Counter[str]] = [Counter() for _ in range(BINS)]
    for row in rows:
        place = int((row.at - since) / step)
        counts[min(max(place, 0), BINS - 1)][row.result] += 1
    return tuple(
        Bin(since + index * step, since + (index + 1) * step, found["Succeeded"], found["Failed"], found["Unknown"])
        for index, found in enumerate(counts)
    )


def _facet(rows: Sequence[AuditRow], field: str) -> Facet:
    counts = Counter(value for row in rows if (value := getattr(row, field)))
    return Facet(field, tuple(counts.most_common(_FACET_VALUES)))
