"""What waiting jobs were promised: a cluster, since when, and until when at the latest it may slip.

Owns the promises from cycle to cycle, and the claims that follow from them (federation/placement/claims.py). Which job
gets one, the cycle says: the first of each queue that waits for room, and one for which runs are stopped.

A promise to a job that waits binds those whose turn comes after it. Its start moves with the expected ends of what runs
there, but not for ever: when the latest start that was first promised has passed, it binds everybody, and nothing more
starts in that room, however long an overrunning job still goes on. A promise to a job for which runs are stopped binds
everybody at once. Each stands in the job's decision record, so that another hub keeps it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Literal

from atoll.federation.placement import Claim, Demand, Pods, recorded_claim
from atoll.federation.queueing import Party

# By how much the start of a job may slip after it was first promised: half of the wait, at least five minutes. Less: a
# run that takes a little longer than expected leaves nodes idle. More: a large job waits for the guesses of small ones.
_SLIP_PART, _LEAST_SLIP_SECONDS = 0.5, 300.0
# Promises on one cluster, and in one cycle. Each makes decisions dearer, and a later one is a guess upon guesses.
_MOST_ON_A_CLUSTER = 4
_MOST_PROMISES = 32
_MOST_WAIT_SECONDS = 1e8


@dataclass(frozen=True)
class Promise:
    """Room that a job was promised. `victims` are the runs that were told to leave for it, since `asked_at`."""

    party: Party
    pods: Pods
    seconds: float
    kind: Literal["Waiting", "Preempting"]
    cluster: str
    starts_at: datetime
    latest_at: datetime
    victims: tuple[str, ...] = ()
    asked_at: datetime | None = None

    def binds_all(self, now: datetime) -> bool:
        """Tell whether it holds against everybody, whoever's turn it is."""
        return now >= self.latest_at

    def claim(self, now: datetime) -> Claim:
        """Claim what was promised."""
        roomy = max(0.0, (self.starts_at - now).total_seconds())
        latest = max(0.0, (self.latest_at - now).total_seconds())
        return Claim(
            holder=self.party.job, kind=self.kind, cluster=self.cluster, pods=self.pods,
            starts_in_seconds=min(roomy, latest), roomy_in_seconds=roomy, ends_in_seconds=roomy + self.seconds,
        )  # fmt: skip

    def record(self) -> dict[str, Any]:
        """Give the form that the decision record carries under `claim`."""
        found: dict[str, Any] = {
            "kind": self.kind,
            "cluster": self.cluster,
            "startsAt": _written(self.starts_at),
            "latestAt": _written(self.latest_at),
        }
        if self.victims:
            found["victims"] = list(self.victims)
        if self.asked_at is not None:
            found["askedAt"] = _written(self.asked_at)
        return found


@dataclass
class Promises:
    """The promises that stand. Those of which a whole cycle has not heard are forgotten."""

    _known: dict[str, Promise] = field(default_factory=dict)
    _heard: dict[str, Promise] = field(default_factory=dict)

    def begin(self) -> Iterator[Promise]:
        """Begin a cycle; give the promises of the one before."""
        self._known, self._heard = self._heard, {}
        yield from self._known.values()

    def standing(self) -> Iterator[Promise]:
        """Give the promises that the cycle has made or kept."""
        yield from self._heard.values()

    def is_made(self, job: str) -> bool:
        """Tell whether a job was promised something in the cycle before."""
        return job in self._known

    def made(self, job: str, record: Mapping[str, Any] | None) -> "Made | None":
        """Tell what a job was promised: as it is remembered, or as its record says."""
        known = self._known.get(job)
        if known is not None:
            return Made(known.cluster, known.latest_at, known.victims, known.asked_at)
        return made(record)

    def keep(self, promise: Promise) -> None:
        """Let a promise stand until the next cycle is over."""
        self._heard[promise.party.job] = promise


@dataclass(frozen=True)
class Made:
    """What is kept of a promise that was made: where, until when at the latest, and whom it has made leave."""

    cluster: str
    latest_at: datetime
    victims: tuple[str, ...] = ()
    asked_at: datetime | None = None


def made(record: Mapping[str, Any] | None) -> Made | None:
    """Read the promise out of a stored record. People may have written it, so nothing is assumed of it."""
    claim = recorded_claim(record or {})
    latest_at, cluster = _read(claim.get("latestAt")), claim.get("cluster")
    if latest_at is None or not isinstance(cluster, str):
        return None
    victims = claim.get("victims")
    names = tuple(str(name) for name in victims) if isinstance(victims, list | tuple) else ()
    return Made(cluster, latest_at, names, _read(claim.get("askedAt")))


@dataclass(frozen=True)
class Ahead:
    """When a job is expected to have room, and where."""

    cluster: str
    wait_seconds: float
    seconds: float


def promise(party: Party, demand: Demand, ahead: Ahead, old: Made | None, now: datetime) -> Promise:
    """Promise a job room. How far it may slip is said once, and holds wherever the job goes after that."""
    wait = min(ahead.wait_seconds, _MOST_WAIT_SECONDS)
    starts_at = moment(now, wait)
    latest_at = starts_at + timedelta(seconds=max(_LEAST_SLIP_SECONDS, _SLIP_PART * wait))
    return Promise(
        party=party, pods=demand.pods, seconds=ahead.seconds, kind="Waiting", cluster=ahead.cluster,
        starts_at=starts_at, latest_at=latest_at if old is None else min(latest_at, old.latest_at),
    )  # fmt: skip


def moment(now: datetime, seconds: float) -> datetime:
    """Give the moment in so many seconds, and no earlier one: just before a run ends, its room is not there."""
    return now + timedelta(milliseconds=ceil(seconds * 1000))


def preempting(kept: Promise, victims: tuple[str, ...], now: datetime) -> Promise:
    """Bind everybody: runs are stopped for this job."""
    return replace(kept, kind="Preempting", latest_at=min(now, kept.latest_at), victims=victims, asked_at=now)


@dataclass
class Heads:
    """Who may be given a promise in one cycle: the first of each queue, few on each cluster, not too many at all."""

    _queues: set[str] = field(default_factory=set)
    _refused: set[str] = field(default_factory=set)
    _clusters: Counter[str] = field(default_factory=Counter)

    def are_open(self, queue: str) -> bool:
        """Tell whether a job of this queue may be given a promise."""
        return len(self._queues) < _MOST_PROMISES and queue not in self._queues and queue not in self._refused

    def admits(self, queue: str, cluster: str) -> bool:
        """Tell whether a job of this queue is given a promise there; it is then counted."""
        if not self.are_open(queue):
            return False
        if self._clusters[cluster] >= _MOST_ON_A_CLUSTER:
            self._refused.add(queue)
            return False
        self._queues.add(queue)
        self._clusters[cluster] += 1
        return True


def _read(instant: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(instant))
    except ValueError:
        return None
    return at if at.tzinfo else None


def _written(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
