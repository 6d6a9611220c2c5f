"""What an examination found: one thing, how it is, and what to do if it is not well. Values and words; pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from atoll.federation.capacity import format_duration


class Result(StrEnum):
    """How a thing is. A note says what could not be seen, or what is as it may be."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing. `check` is such as `nats/replicas`; `remedy` is empty where nothing has to be done."""

    check: str
    result: Result
    message: str
    remedy: str = ""

    def wire(self) -> dict[str, Any]:
        """Give it for programs."""
        found = {"check": self.check, "result": self.result.value, "message": self.message}
        return found | ({"remedy": self.remedy} if self.remedy else {})


def ok(check: str, message: str) -> Finding:
    """Say that a thing is well."""
    return Finding(check, Result.OK, message)


def note(check: str, message: str, remedy: str = "") -> Finding:
    """Say what could not be seen."""
    return Finding(check, Result.NOTE, message, remedy)


def warning(check: str, message: str, remedy: str) -> Finding:
    """Say what works, and will not for long or not well."""
    return Finding(check, Result.WARNING, message, remedy)


def problem(check: str, message: str, remedy: str) -> Finding:
    """Say what does not work."""
    return Finding(check, Result.PROBLEM, message, remedy)


@dataclass(frozen=True)
class Limits:
    """Two bounds of a number: from the first on it is a warning, from the second on a problem."""

    warning: float
    problem: float

    def judge(self, value: float) -> Result:
        """Tell on which side of them a value is."""
        if value >= self.problem:
            return Result.PROBLEM
        return Result.WARNING if value >= self.warning else Result.OK


# A member's clock that is behind by a heartbeat time-out (30 s) makes what it says look stale; one that is some seconds
# off makes logs and events of two machines hard to put in order.
CLOCK_SECONDS = Limits(2.0, 15.0)
# Above the first, plan for more; above the second, JetStream is about to refuse what is written.
DISK_PART = Limits(0.8, 0.95)


def clock(check: str, whose: str, ahead_seconds: float, *, within_seconds: float) -> Finding:
    """Judge the clock of another machine.

    Args:
        check: what the finding is about.
        whose: such as `the hub's clock`.
        ahead_seconds: how far it is ahead of the clock that it is compared with.
        within_seconds: by how much that may be wrong.
    """
    off = max(0.0, abs(ahead_seconds) - within_seconds)
    result = CLOCK_SECONDS.judge(off)
    way = "ahead of" if ahead_seconds > 0 else "behind"
    measured = f"± {_seconds(within_seconds)}" if within_seconds else "measured"
    if result is Result.OK:
        return ok(check, f"{whose} agrees to {_seconds(max(abs(ahead_seconds), within_seconds))}")
    remedy = "let both machines follow NTP (timedatectl set-ntp true, or chrony)"
    return Finding(check, result, f"{whose} is {_seconds(abs(ahead_seconds))} {way} ours ({measured})", remedy)


def expiry(check: str, whose: str, ends_at: datetime, *, now: datetime, warn: timedelta, remedy: str) -> Finding:
    """Judge until when something is good."""
    left = ends_at - now
    if left <= timedelta(0):
        return problem(check, f"{whose} ended {_ago(-left)} ago", remedy)
    if left < warn:
        return warning(check, f"{whose} ends in {_ago(left)}", remedy)
    return ok(check, f"{whose} is good for {_ago(left)}")


def counted(findings: Iterable[Finding]) -> dict[Result, int]:
    """Count findings by their result."""
    found = dict.fromkeys(Result, 0)
    for finding in findings:
        found[finding.result] += 1
    return found


def worst_first(findings: Iterable[Finding], *, most: int) -> Iterator[Finding]:
    """Give the worst of many findings of one sort, and say how many more there are."""
    ordered = sorted(findings, key=lambda each: -list(Result).index(each.result))
    yield from ordered[:most]
    if len(ordered) > most:
        check = ordered[0].check.rpartition("/")[0]
        yield note(check, f"and {len(ordered) - most} more like these", "atoll doctor -o json shows all")


def _ago(span: timedelta) -> str:
    if span >= timedelta(days=2):
        return f"{span.days} days"
    return format_duration(int(span.total_seconds()))


def _seconds(value: float) -> str:
    if value >= 120:
        return format_duration(int(value))
    return f"{value:.1f} s" if value >= 1 else f"{max(1, round(value * 1000))} ms"
