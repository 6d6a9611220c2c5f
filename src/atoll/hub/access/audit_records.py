"""Audit records: what is written of a request, and how its two halves become one again for who reads.

A request that may change something leaves `Requested` before it is carried out and `Completed` after. Both say all that
is known by then, so that a half alone can be read. Owns their form, the joining and the filters; pure.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from atoll.hub.access.identity import CREDENTIAL_EXTRA
from atoll.kubeapi.http.access import Mutation, Outcome, User

Record = dict[str, Any]

# A request that takes longer is shown as Unknown, and once more when it ends. Shorter, and a slow proof of a dataset
# shows up twice; longer, and the loss of a hub shows up later to who follows.
PATIENCE = timedelta(minutes=10)
# Requests under way at once, over all hubs, that a reader keeps in mind: some 10 MB.
_MOST_OPEN = 10_000
# A Completed that was written twice, because its acknowledgement was lost, is not shown twice if this close.
_REMEMBERED = 10_000
_LONGEST_TEXT = 1024
_MOST_GROUPS = 100


def requested(mutation: Mutation) -> Record:
    """Write what is known before a request is carried out."""
    return {"id": mutation.id, "stage": "Requested", **_asked(mutation)}


def completed(mutation: Mutation, outcome: Outcome, now: datetime) -> Record:
    """Write what came of a request, with all that was asked."""
    seconds = max(0.0, (now - mutation.at).total_seconds())
    result = {
        "name": outcome.name,
        "code": outcome.code,
        "reason": outcome.reason,
        "message": outcome.message[:_LONGEST_TEXT],
        "durationMs": round(seconds * 1000, 1),
    }
    known = {key: value for key, value in result.items() if value != ""}
    return {"id": mutation.id, "stage": "Completed", **_asked(mutation), **known}


def _asked(mutation: Mutation) -> Record:
    user, acting = mutation.user, mutation.acting
    said = {
        "at": mutation.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "user": user.name,
        "groups": list(user.groups[:_MOST_GROUPS]),
        "credential": _credential(acting or user),
        "acting": acting.name if acting is not None else "",
        "source": mutation.source,
        "userAgent": mutation.user_agent[:_LONGEST_TEXT],
        "verb": mutation.action.verb,
        **_about(mutation),
        "dryRun": mutation.dry_run,
    }
    return {key: value for key, value in said.items() if value or key == "group"}


def _about(mutation: Mutation) -> Record:
    target = mutation.action.target
    if target is None:
        return {"path": mutation.action.path[:_LONGEST_TEXT]}
    return {
        "group": target.group,
        "resource": target.plural,
        "subresource": target.subresource,
        "namespace": target.namespace or "",
        "name": target.name,
    }


def _credential(user: User) -> str:
    """Name the credential that was used, as authentication does: it is no secret."""
    return ", ".join(user.extra.get(CREDENTIAL_EXTRA, ()))


def decode(payload: bytes) -> Iterator[Record]:
    """Read the records of one message. Lines that are no records are left out: nobody but the hub writes any."""
    for line in payload.splitlines():
        try:
            record = orjson.loads(line)
            asked_at(record)
            if isinstance(record["id"], str) and record["stage"] in ("Requested", "Completed"):
                yield record
        except (ValueError, TypeError, KeyError):
            continue


def encode(record: Mapping[str, Any]) -> bytes:
    """Write one record on one line."""
    return orjson.dumps(record)


def asked_at(record: Mapping[str, Any]) -> datetime:
    """Give when a request came in."""
    return datetime.fromisoformat(record["at"]).astimezone(UTC)


class Joiner:
    """Joins halves as they were stored. Bounded, however many there are.

    A joined record comes out when its request has ended. One without an end comes out with the result Unknown, once
    requests that came `PATIENCE` later are seen, or by `drain`.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[str, Record] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self.newest_at = datetime.min.replace(tzinfo=UTC)

    def take(self, record: Record) -> Iterator[Record]:
        """Take the next half; give what is now known of requests, the oldest first."""
        key, at = record["id"], asked_at(record)
        self.newest_at = max(self.newest_at, at)
        while self._open and self._is_overdue(next(iter(self._open.values()))):
            yield _joined(self._open.popitem(last=False)[1])
        if key in self._ended:
            return
        if record["stage"] == "Requested":
            self._open[key] = record
            return
        self._open.pop(key, None)
        self._ended[key] = None
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        yield _joined(record)

    def drain(self) -> Iterator[Record]:
        """Give what has no end yet."""
        while self._open:
            yield _joined(self._open.popitem(last=False)[1])

    def _is_overdue(self, record: Record) -> bool:
        return len(self._open) > _MOST_OPEN or asked_at(record) < self.newest_at - PATIENCE


def _joined(record: Record) -> Record:
    if record.pop("stage") == "Requested":
        return {**record, "result": "Unknown"}
    return {**record, "result": "Failed" if record.get("code", 0) >= 400 else "Succeeded"}


@dataclass(frozen=True)
class AuditQuery:
    """Which records are wanted. Empty texts and None do not limit; `own` is whose records alone may be seen."""

    since: datetime
    until: datetime | None = None
    user: str = ""
    verb: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    failed: bool = False
    limit: int | None = None
    follow: bool = False
    own: str | None = None

    def wants(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a joined record is wanted. A user's are also those that they asked for as somebody else."""
        who = {record.get("user"), record.get("acting")}
        at = asked_at(record)
        return (
            self.since <= at
            and (self.until is None or at <= self.until)
            and (not self.user or self.user in who)
            and (self.own is None or self.own in who)
            and self._wants_result(record)
            and all(not wish or wish == record.get(key, "") for key, wish in self._plain())
            and self._wants_resource(record)
        )

    def _plain(self) -> tuple[tuple[str, str], ...]:
        return (("verb", self.verb), ("namespace", self.namespace), ("name", self.name))

    def _wants_result(self, record: Mapping[str, Any]) -> bool:
        return not self.failed or record["result"] != "Succeeded"

    def _wants_resource(self, record: Mapping[str, Any]) -> bool:
        """Match `jobs`, which stands for its subresources too, or `jobs/status`; also `jobs.atoll.dev`."""
        if not self.resource:
            return True
        wanted, _, subresource = self.resource.partition("/")
        plural, _, group = wanted.partition(".")
        return (
            record.get("resource") == plural
            and (not group or record.get("group") == group)
            and (not subresource or record.get("subresource") == subresource)
        )
