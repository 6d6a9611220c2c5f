"""What goes on, kept from cycle to cycle: after any history it is what a look at everything at once gives."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_world import A100, NOW, cluster, job, queue, run, shape, snapshot

from atoll.federation.placement import view_of_cluster
from atoll.federation.resources import JobStatus
from atoll.federation.resources.run import Preempted
from atoll.hub.scheduler.cycle import Memory
from atoll.hub.scheduler.usage import capacity, occupations, queue_tree

NAMES, CLUSTERS, QUEUES = ("a", "b"), ("here", "there"), ("lab", "lab.x", "other")
jobs = st.fixed_dictionaries(
    {
        "queue": st.sampled_from(QUEUES),
        "cpus": st.sampled_from((1, 2)),
        "gpus": st.sampled_from((0, 1, 2)),
        "priority": st.integers(0, 2),
        "phase": st.sampled_from(("Pending", "Placed", "Running", "Succeeded")),
        "gracePeriod": st.sampled_from((None, "5s")),
        "many": st.sampled_from(({}, {"array": {"count": 3}}, {"workload": {"parallelism": 2}})),
    }
)
runs = st.fixed_dictionaries(
    {
        "phase": st.sampled_from(("Pending", "Starting", "Running", "Running", "Committing", "Failed")),
        "where": st.sampled_from(CLUSTERS),
        "started_seconds_ago": st.sampled_from((None, 60, 5000)),
        "is_leaving": st.booleans(),
    }
)
names = st.sampled_from(NAMES)
changes = st.one_of(
    st.tuples(st.just("job"), names, st.none() | jobs),
    st.tuples(st.just("run"), names, runs),
    st.tuples(st.just("run"), names, st.none()),
    st.tuples(st.just("reported"), st.sampled_from(CLUSTERS), st.none() | st.sets(names)),
    st.tuples(st.just("quota"), st.sampled_from(QUEUES), st.sampled_from(({}, {"limit": {"gpuModels": {"A100": 4}}}))),
    st.tuples(st.just("time"), st.just(""), st.integers(1, 4000)),
)


class World:
    """Objects that change one by one; those that did not are the very same."""

    def __init__(self):
        self.seconds, self.jobs, self.runs = 0, {}, {}
        self.clusters = {name: self._cluster(name, None) for name in CLUSTERS}
        self.queues = {name: self._queue(name, {}) for name in QUEUES}

    def change(self, kind, name, to):
        match kind:
            case "job":
                self.jobs.pop(name, None)
                if to is not None:
                    self.jobs[name] = self._job(name, to)
            case "run":
                self.runs.pop(name, None)
                if to is not None:
                    self.runs[name] = self._run(name, to)
            case "reported":
                self.clusters[name] = self._cluster(name, to)
            case "quota":
                self.queues[name] = self._queue(name, to)
            case "time":
                self.seconds += to

    def see(self):
        runs = [self.runs[name] for name in sorted(self.runs)]
        seen = snapshot(*self.jobs.values(), *runs, *self.clusters.values(), *self.queues.values())
        return replace(seen, taken_at=NOW + timedelta(seconds=self.seconds))

    def _job(self, name, asked):
        asked = {key: value for key, value in asked.items() if value is not None}
        phase, many = asked.pop("phase"), asked.pop("many", {})
        attempts = 0 if phase == "Pending" else 1
        status = JobStatus(phase=phase, attempts=attempts, run=f"{name}-1" if attempts else None)
        return job(name, status=status, **many, **asked)

    def _run(self, name, asked):
        asked = dict(asked)
        is_leaving = asked.pop("is_leaving")
        made = run(job(name), **asked)
        if not is_leaving:
            return made
        why = Preempted(by="lab/z", ground="Borrowed", message="m", lost_seconds=1.0, at=NOW)
        return made.model_copy(update={"spec": made.spec.model_copy(update={"preempted": why})})

    def _cluster(self, name, counted):
        runs = None if counted is None else tuple(f"lab/{each}-1" for each in sorted(counted))
        return cluster(name, shape(gpus=4, nodes=2), shape(cpus=16), counted_runs=runs)

    def _queue(self, name, quota):
        return queue(name, quota=quota, **({"parent": "lab"} if name == "lab.x" else {}))


def followed(memory, seen):
    """Let a memory take in a snapshot; give what follows from what goes on."""
    memory.book.follow(seen)
    memory.standing.follow(memory.book, seen.jobs)
    standing = memory.standing
    views, tree = standing.views(seen), standing.tree(seen.queues)
    told = {
        "nodes": [view.shapes for view in views],
        "ends": [sorted(each.occupations.ends) for each in views],
        "used": tree.used,
        "direct": tree.direct,
        "running": dict(+tree.running),
        "holders": sorted((each.job, each.queue, each.vector) for each in tree.holders),
        "capacity": standing.capacity(),
        "lowest": standing.lowest_priority,
        "leaving": [each.key for each in standing.leaving("lab/z")],
        "departing": [each.key for each in standing.departing()],
        "submitters": dict(standing.submitters()),
    }
    return told, views


@given(st.lists(st.lists(changes, min_size=1, max_size=6), min_size=1, max_size=8))
@settings(max_examples=120, deadline=None)
def test_what_is_kept_of_runs_is_what_one_who_begins_anew_has(history):
    """Jobs, runs, reports and quotas change at random; every few changes a cycle looks."""
    world, memory = World(), Memory()
    for step in history:
        for change in step:
            world.change(*change)
        seen = world.see()
        kept, views = followed(memory, seen)
        fresh, _ = followed(Memory(), seen)
        assert kept == fresh
        check_beside_a_look_at_everything(kept, views, seen)


def check_beside_a_look_at_everything(kept, views, seen):
    """Compare with what is read out of the snapshot, run by run."""
    tree, held = queue_tree(seen), occupations(seen)
    assert (kept["used"], kept["direct"], kept["running"]) == (tree.used, tree.direct, dict(+tree.running))
    assert kept["holders"] == sorted((each.job, each.queue, each.vector) for each in tree.holders)
    assert kept["capacity"] == capacity(seen.clusters)
    for view, each in zip(views, seen.clusters, strict=True):
        plain = view_of_cluster(each, held.get(view.name, ()))
        assert view.shapes == plain.shapes
        found = {
            stay.run: (stay.pods, stay.is_counted, pytest.approx(stay.ends_in_seconds)) for stay in view.occupations
        }
        assert {stay.run: (stay.pods, stay.is_counted, stay.ends_in_seconds) for stay in plain.occupations} == found
        assert view.occupations.columns.amounts[:, 2].sum() == sum(stay.resources.gpus for stay in plain.occupations)


def test_a_look_costs_nothing_where_nothing_has_changed():
    """The nodes of a cluster are laid out once, and again only when its agent reports or its runs change."""
    world, memory = World(), Memory()
    world.change("job", "a", {"queue": "lab", "cpus": 1, "gpus": 1, "phase": "Running"})
    world.change("run", "a", {"phase": "Running", "where": "here", "started_seconds_ago": 60, "is_leaving": False})
    world.change("reported", "here", set())
    _, before = followed(memory, world.see())
    world.change("time", "", 60)
    _, after = followed(memory, world.see())
    assert all(old.shapes is new.shapes for old, new in zip(before, after, strict=True))
    assert [end - 60 for end, _, _ in before[0].occupations.ends] == [end for end, _, _ in after[0].occupations.ends]
    world.change("reported", "here", {"a"})
    _, reported = followed(memory, world.see())
    assert [each.shapes is old.shapes for each, old in zip(reported, after, strict=True)] == [False, True]
    assert A100 in {each.gpu_model for each in reported[0].shapes}
