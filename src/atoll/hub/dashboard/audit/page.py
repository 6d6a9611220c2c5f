"""The page of audit records: what it reads through the API, and where it stands.

Whose records a user sees is for the API to say: it is asked as that user.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

import orjson

from atoll.federation.resources import KINDS
from atoll.hub.access.audit_records import Record
from atoll.hub.access.roles import AUDIT_PATH
from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.audit.records import AuditRow, AuditView, view_of
from atoll.hub.dashboard.page import Page
from atoll.hub.dashboard.paging import Paged, paged
from atoll.hub.dashboard.sources import Sources
from atoll.hub.dashboard.words import instant

# Whatever somebody changes is of some kind; what is refused is shown with the next change.
_WATCHES = tuple(kind.plural for kind in KINDS)
# Spans that can be looked at, the first if none is named.
SPANS: Mapping[str, timedelta] = {
    "1h": timedelta(hours=1),
    "15m": timedelta(minutes=15),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
TEXTS = ("user", "verb", "resource", "namespace", "name")
# Records read at a time, the newest: more, and a page takes longer than a second; what is older is a link away.
_READ, _ROWS = 1500, 60
_FIRST_YEAR, _LAST_YEAR = 1970, 9999  # what the API takes


@dataclass(frozen=True)
class AuditScope:
    """What the API answered, and of which time."""

    records: Sequence[Record]
    since: datetime
    until: datetime
    problem: str = ""


@dataclass(frozen=True)
class AuditPage:
    """The page; `older` and `newest` lead on in time."""

    view: AuditView
    rows: Paged[AuditRow]
    span: str
    wanted: Mapping[str, str]
    failed: bool
    is_live: bool
    older: str
    problem: str
    command: str
    is_filtered: bool


async def fetch_audit(sources: Sources, ask: Ask) -> AuditScope:
    """Read the newest records of the span that is asked for."""
    since, until = window(ask)
    query = {
        "since": _written(since),
        "limit": str(_READ),
        **{name: ask.text(name) for name in TEXTS if ask.text(name)},
    }
    if ask.text("before"):
        query["until"] = _written(until)
    if ask.text("failed"):
        query["failed"] = "true"
    answer = await sources.ask(ask.credential, f"{AUDIT_PATH}?{urlencode(query)}")
    if not answer.is_good:
        return AuditScope((), since, until, answer.message)
    return AuditScope([orjson.loads(line) for line in answer.body.splitlines()], since, until)


def view_audit(scope: AuditScope, ask: Ask) -> AuditPage:
    """Make the page."""
    is_cut = len(scope.records) >= _READ
    view = view_of(scope.records, since=scope.since, until=scope.until, is_cut=is_cut)
    wanted = {name: ask.text(name) for name in TEXTS}
    span, failed = ask.choice("span", tuple(SPANS)), bool(ask.text("failed"))
    oldest = view.rows[-1].at if is_cut else scope.since
    return AuditPage(
        view=view,
        rows=paged(view.rows, ask.number("page"), size=_ROWS),
        span=span,
        wanted=wanted,
        failed=failed,
        is_live=not ask.text("before"),
        older=ask.url(before=_written(oldest)),
        problem=scope.problem,
        command=command_of(wanted, span, failed=failed),
        is_filtered=failed or any(wanted.values()),
    )


def window(ask: Ask) -> tuple[datetime, datetime]:
    """Give the time that is looked at: a span until now, or until the instant that `before` names."""
    until = instant(ask.text("before").replace(" ", "+"))  # a plus in a URL that somebody wrote is a blank
    if until is None or not _FIRST_YEAR < until.year < _LAST_YEAR:
        until = ask.now
    return until - SPANS[ask.choice("span", tuple(SPANS))], until


def command_of(wanted: Mapping[str, str], span: str, *, failed: bool) -> str:
    """Give the command that lists the same records, as far as it can choose them."""
    flags = {"user": "--user", "verb": "--verb", "resource": "--kind", "namespace": "-n"}
    options = [f"{flag} {shlex.quote(wanted[name])}" for name, flag in flags.items() if wanted[name]]
    return " ".join(["atoll audit", f"--since {span}", *options, *(["--failed"] if failed else [])])


def _written(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


PAGES: Sequence[Page] = (
    Page("audit", "/audit", "Audit", "audit/audit.html", fetch_audit, view_audit, watches=_WATCHES, nav="Audit"),
)
