"""The book of jobs that wait, kept from cycle to cycle: who is alike, in which order, and whom nothing can start yet.

Owns the order within a group (the time since when a job waits, then its name), and what has to happen before a job that
is set aside is looked at again. It is fed with what has changed; a cycle costs nothing for a job that did not change.
Pure, and used by one cycle at a time.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from atoll.federation.resources import FINISHED_RUN_PHASES, Job, Run
from atoll.hub.scheduler.admission import blocked_by_jobs
from atoll.hub.scheduler.brief import Ask, Block, Brief, Briefing
from atoll.hub.scheduler.dependencies import awaited, circles, judged
from atoll.hub.scheduler.snapshot import Snapshot, job_key


@dataclass(eq=False)
class Group:
    """Jobs of one queue that ask for the same, in the order in which they shall start: (since, key)."""

    ask: Ask
    members: list[tuple[float, str]] = field(default_factory=list)

    def add(self, members: Iterable[tuple[float, str]]) -> None:
        """Let jobs wait here."""
        self.members += members
        self.members.sort()  # both parts are in order nearly always, or one is short

    def discard(self, since: float, key: str) -> bool:
        """Take a job out; tell whether it was here."""
        at = self.position(since, key)
        if at is None:
            return False
        del self.members[at]
        return True

    def position(self, since: float, key: str) -> int | None:
        """Tell where in the order a job stands; None if it does not wait here."""
        at = bisect_left(self.members, (since, key))
        return at if at < len(self.members) and self.members[at] == (since, key) else None


@dataclass
class Book:
    """Every job that has not ended, in brief, and where it waits.

    Attributes:
        groups: the jobs that may start as far as they themselves are concerned.
        aside: those that people or other jobs hold back, and why.
        wanted: how many are pending, and neither cancelled nor being deleted.
        changed: jobs of which something else may be to be said than before the last snapshot: they came, they or
            their runs changed, or those did that they wait for.
    """

    groups: dict[Ask, Group] = field(default_factory=dict)
    aside: dict[str, Block] = field(default_factory=dict)
    wanted: int = 0
    changed: set[str] = field(default_factory=set)
    _briefing: Briefing = field(default_factory=Briefing)
    _briefs: dict[str, Brief] = field(default_factory=dict)
    _jobs: dict[str, Job] = field(default_factory=dict)
    _touched: set[str] = field(default_factory=set)
    _left: set[str] = field(default_factory=set)
    _runs: dict[str, Run] = field(default_factory=dict)
    _displaced: set[str] = field(default_factory=set)
    _attempts: dict[str, dict[str, Run]] = field(default_factory=lambda: defaultdict(dict))
    _awaited: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _awaited_by: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _circular: set[str] = field(default_factory=set)
    _joining: dict[Ask, list[tuple[float, str]]] = field(default_factory=lambda: defaultdict(list))

    def __bool__(self) -> bool:
        """Tell whether anybody waits."""
        return bool(self.groups or self.aside)

    def put(self, key: str, obj: Mapping[str, Any] | None) -> None:
        """Know a job as it is now, in its JSON form; None: it is gone."""
        before = self._briefs.get(key)
        if before is not None and key not in self._left:
            self._leave(key, before)
        self._left.add(key)
        brief = None if obj is None else self._briefing.read(obj)
        if brief is not None:
            self._briefs[key] = brief
        elif before is not None:
            del self._briefs[key]
        self.wanted += (brief is not None and brief.is_wanted) - (before is not None and before.is_wanted)

    def put_run(self, key: str, run: Run | None) -> None:
        """Know a run as it is now; None: it is gone, or bears on nothing any more."""
        known = self._runs.pop(key, None)
        if known is not None:
            self._forget_attempt(known)
        if run is not None:
            self._runs[key] = run
            self._attempts[job_key(run)][key] = run
            self._touched.add(job_key(run))
            if run.status.is_displaced:
                self._displaced.add(key)

    def _forget_attempt(self, run: Run) -> None:
        job = job_key(run)
        self._touched.add(job)
        self._displaced.discard(run.key)
        attempts = self._attempts[job]
        del attempts[run.key]
        if not attempts:
            del self._attempts[job]

    def follow(self, snapshot: Snapshot) -> None:
        """Take in what has changed since the snapshot before: an object that is the same one did not."""
        if not snapshot.is_fed:
            self._follow_jobs(snapshot.jobs)
            self._follow_runs(snapshot.runs)
        left, self._left = self._left, set()
        touched, self._touched = self._touched | left, set()
        for each in tuple(touched) if self._awaited_by else ():
            touched |= self._awaited_by.get(each, set())
        touched.update(job for job in {job_key(self._runs[key]) for key in self._displaced} if self._doubles(job))
        if not self._circular.isdisjoint(touched):
            touched |= self._circular
        for key in touched - left:
            self._leave(key)
        dependent = [key for key in touched if self._stand(key, snapshot)]
        self.changed = touched
        self._judge(dependent, snapshot.jobs)
        self._join()

    def _follow_jobs(self, jobs: Mapping[str, Job]) -> None:
        known = self._jobs
        for key, job in jobs.items():
            if known.get(key) is not job:
                self.put(key, job.wire())
        for key in known.keys() - jobs.keys() if len(known) else ():
            self.put(key, None)
        self._jobs = dict(jobs)

    def _follow_runs(self, runs: Iterable[Run]) -> None:
        found = {run.key: run for run in runs}
        for key, run in found.items():
            if self._runs.get(key) is not run:
                self.put_run(key, run)
        for key in self._runs.keys() - found.keys():
            self.put_run(key, None)

    @property
    def size(self) -> int:
        """Count the jobs that have not ended."""
        return len(self._briefs)

    @property
    def awaited(self) -> Collection[str]:
        """Name the jobs that others wait for."""
        return self._awaited_by.keys()

    @property
    def attempted(self) -> Collection[str]:
        """Name the jobs that have runs which bear on anything."""
        return self._attempts.keys()

    def attempts(self, key: str) -> Collection[Run]:
        """Give the runs of a job that bear on anything."""
        runs = self._attempts.get(key)
        return () if runs is None else runs.values()

    def epoch(self, key: str) -> int:
        """Give the number of a job's next attempt."""
        epochs = (run.spec.epoch for run in self._attempts.get(key, {}).values())
        return max(self._briefs[key].attempts, *epochs, 0) + 1

    def brief(self, key: str) -> Brief | None:
        """Give what is known of a job; None if it has ended."""
        return self._briefs.get(key)

    def order(self, key: str) -> tuple[int, float, str]:
        """Tell where a job stands among those of its queue: by priority, by the time since when it waits, by name."""
        brief = self._briefs[key]
        return (-brief.ask.priority, brief.since, key)

    def _leave(self, key: str, brief: Brief | None = None) -> None:
        """Take a job out of where it waits, with whom it waits for."""
        self.aside.pop(key, None)
        brief = brief or self._briefs.get(key)
        group = None if brief is None else self.groups.get(brief.ask)
        if brief is not None and group is not None and group.discard(brief.since, key) and not group.members:
            del self.groups[brief.ask]
        for other in self._awaited.pop(key, ()):
            self._awaited_by[other].discard(key)
            if not self._awaited_by[other]:
                del self._awaited_by[other]

    def _stand(self, key: str, snapshot: Snapshot) -> bool:
        """Put a job where it belongs now; True if that depends on other jobs and is still to be judged."""
        brief = self._briefs.get(key)
        if brief is None:
            return False
        if not brief.is_wanted or (key in self._attempts and self._is_busy(key, brief, snapshot)):
            return False
        if brief.awaits:
            self._awaited[key] = awaited(snapshot.jobs[key])
            for other in self._awaited[key]:
                self._awaited_by[other].add(key)
        if brief.block is not None:
            self.aside[key] = brief.block
        elif brief.awaits:
            return True
        else:
            self._joining[brief.ask].append((brief.since, key))
        return False

    def _join(self) -> None:
        """Let those wait in their groups who came to stand in one."""
        for ask, members in self._joining.items():
            group = self.groups.get(ask)
            if group is None:
                group = self.groups[ask] = Group(ask)
            group.add(members)
        self._joining.clear()

    def _judge(self, keys: Iterable[str], jobs: Mapping[str, Job]) -> None:
        """Put jobs that depend on others aside, or among those that may start.

        A circle is closed by a job that came or changed: it is looked for among whom these wait for.
        """
        standing = {key: judged(jobs[key], jobs) for key in keys}
        known = dict(standing)
        reached = list(standing.values())
        while reached:
            waits = {each.job for job in reached for each in job.status.dependencies if each.state == "Waiting"}
            reached = [judged(jobs[key], jobs) for key in sorted(waits - known.keys()) if self._awaits(key)]
            known.update((job.key, job) for job in reached)
        circular = circles(known.values())
        self._circular = (self._circular - standing.keys()) | circular.keys()
        self.changed.update(known)
        for key, job in known.items():
            block = blocked_by_jobs(job, circular)
            if block is not None:
                self.aside[key] = block
            elif key in standing:
                brief = self._briefs[key]
                self._joining[brief.ask].append((brief.since, key))

    def _awaits(self, key: str) -> bool:
        return key in self.aside and self._briefs[key].awaits and self._briefs[key].block is None

    # --- at most one run of a job (G1)

    def _is_busy(self, key: str, brief: Brief, snapshot: Snapshot) -> bool:
        """Tell whether a run of the job is unfinished, or news to its status.

        A run that has ended while the job controller was busy may have succeeded: the job must not run again. Only
        beside a run that may be left behind another one begins, where the job asks for that.
        """
        for run in self._attempts.get(key, {}).values():
            if run.status.phase not in FINISHED_RUN_PHASES and not (brief.doubles and _is_left_behind(run, snapshot)):
                return True
            if run.spec.epoch > brief.attempts and any(each.uid == brief.uid for each in run.metadata.owner_references):
                return True
        return False

    def _doubles(self, key: str) -> bool:
        """Tell whether it depends on a cluster, too, if a job that has a run left behind may have another."""
        brief = self._briefs.get(key)
        return brief is not None and brief.doubles


def _is_left_behind(run: Run, snapshot: Snapshot) -> bool:
    """Tell whether another run may begin beside this one: not once its own cluster takes work again."""
    if not run.status.is_displaced:
        return False
    where = next((cluster for cluster in snapshot.clusters if cluster.metadata.name == run.spec.cluster), None)
    return where is None or where.spec.draining or where.status.phase not in ("Ready", "Degraded")
