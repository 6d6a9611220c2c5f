"""Rows of jobs, and what is counted over all of them. Pure; each change costs the same, however many jobs there are.

Owns the reading of a stored Job for lists, and the counters. Who may see which of them is for the pages to ask.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from sys import intern
from typing import Any

from atoll.federation.resources import Job
from atoll.federation.resources.submitter import SUBMITTER
from atoll.hub.dashboard.rows import Shelf
from atoll.hub.dashboard.words import instant
from atoll.kubeapi.resource import Object

PHASES = ("Pending", "Placed", "Running", "Committing", "Succeeded", "Failed", "Cancelled")
HOLDING = frozenset({"Placed", "Running", "Committing"})
"""Phases in which a job has a place in a cluster."""
_KEY = itemgetter(1)  # of (instant, key), and without a step of Python's for each of 100,000
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
# Changes that may wait to be put in order while nobody asks for it, or half as many as are in order: with fewer a hub
# that starts sorts too often, and without a bound jobs that went would be kept where nobody looks.
_LOOSE = 4096


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job as lists show it. `tasks` is the progress of an array, such as `40/100`."""

    namespace: str
    name: str
    queue: str
    phase: str
    reason: str = ""
    message: str = ""
    cluster: str = ""
    user: str = ""
    gpus: int = 0
    priority: int = 0
    tasks: str = ""
    created_at: datetime = _LONG_AGO
    started_at: datetime | None = None
    finished_at: datetime | None = None
    is_held: bool = False


def read_job(obj: Object) -> JobRow:
    """Read a stored Job. Words that many jobs share are kept once."""
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    return JobRow(
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        queue=intern(spec["queue"]),
        phase=intern(status.get("phase", "Pending")),
        reason=intern(status.get("reason") or ""),
        message=intern(status.get("message") or ""),
        cluster=intern(status.get("cluster") or ""),
        user=intern((metadata.get("annotations") or {}).get(SUBMITTER, "")),
        gpus=(spec.get("gpu") or {}).get("count", 1 if spec.get("gpu") else 0),
        priority=spec.get("priority", 0),
        tasks=(status.get("array") or {}).get("progress", ""),
        created_at=instant(metadata.get("creationTimestamp")) or _LONG_AGO,
        started_at=instant(status.get("startedAt")),
        finished_at=instant(status.get("finishedAt")),
        is_held=bool(spec.get("held")),
    )


class JobBook:
    """Counts over all jobs, and the order in which they were made."""

    def __init__(self) -> None:
        self.phases: Counter[tuple[str, str, str]] = Counter()
        """Jobs by namespace, queue and phase."""
        self.reasons: Counter[tuple[str, str, str]] = Counter()
        """Waiting jobs by namespace, queue and reason."""
        self.places: Counter[tuple[str, str]] = Counter()
        """Jobs that have a place, by namespace and cluster."""
        self._of_cluster: dict[str, set[str]] = {}
        self._ordered: list[tuple[datetime, str]] = []
        self._come: set[tuple[datetime, str]] = set()
        self._gone: set[tuple[datetime, str]] = set()

    def turn(self, key: str, old: JobRow | None, new: JobRow | None) -> None:
        """Take in one change."""
        if old is not None:
            self._count(old, -1)
            self._leave(old.cluster, key)
        if new is not None:
            self._count(new, 1)
            self._of_cluster.setdefault(new.cluster, set()).add(key)
        if old is not None and new is not None and old.created_at == new.created_at:
            return
        if old is not None:
            self._drop((old.created_at, key))
        if new is not None:
            self._come.add((new.created_at, key))
        if len(self._come) + len(self._gone) > max(_LOOSE, len(self._ordered) // 2):
            self._settle()

    def _count(self, row: JobRow, by: int) -> None:
        _add(self.phases, (row.namespace, row.queue, row.phase), by)
        if row.phase == "Pending":
            _add(self.reasons, (row.namespace, row.queue, row.reason), by)
        if row.phase in HOLDING and row.cluster:
            _add(self.places, (row.namespace, row.cluster), by)

    def _leave(self, cluster: str, key: str) -> None:
        there = self._of_cluster[cluster]
        there.discard(key)
        if not there:
            del self._of_cluster[cluster]

    def _drop(self, made: tuple[datetime, str]) -> None:
        if made in self._come:
            self._come.remove(made)
        else:
            self._gone.add(made)

    def _settle(self) -> None:
        """Put what came and went in order."""
        if self._gone:
            self._ordered = [made for made in self._ordered if made not in self._gone]
            self._gone.clear()
        if self._come:
            self._ordered.extend(sorted(self._come))
            self._ordered.sort()  # two runs that are in order are merged: a comparison each
            self._come.clear()

    def of_cluster(self, cluster: str) -> Iterable[str]:
        """Give the keys of the jobs that are or were last in a cluster."""
        return self._of_cluster.get(cluster, set())

    def newest_first(self) -> Iterable[str]:
        """Give the keys of all jobs, the newest first."""
        self._settle()
        return map(_KEY, reversed(self._ordered))

    def phase_counts(self, namespaces: frozenset[str] | None, queue: str = "") -> Counter[str]:
        """Count jobs by phase in the namespaces that somebody sees (None: all), of one queue if it is given."""
        found: Counter[str] = Counter()
        for (namespace, of_queue, phase), count in self.phases.items():
            if (namespaces is None or namespace in namespaces) and queue in ("", of_queue):
                found[phase] += count
        return found


def _add(counter: Counter[Any], key: tuple[str, ...], by: int) -> None:
    counter[key] += by
    if not counter[key]:
        del counter[key]


JOBS: Shelf[JobRow] = Shelf(Job, read_job, JobBook)
