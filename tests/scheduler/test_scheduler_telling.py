"""Whom cycles tell why he waits: few at a time, all in the end, and nobody for nothing."""

from scheduler_world import cluster, job, queue, shape, snapshot

from atoll.hub.scheduler.cycle import Memory, run_cycle
from atoll.hub.scheduler.telling import MOST_TOLD, Telling

HERE = cluster("here", shape())
CORDONED = HERE.model_copy(update={"spec": HERE.spec.model_copy(update={"unschedulable": True})})


class World:
    """Jobs, whose statuses say what they were told, and what one hub remembers of its cycles."""

    def __init__(self, *jobs):
        self.jobs = {each.key: each for each in jobs}
        self.revision = 0
        self.restart()

    def restart(self):
        """Begin as a hub does that begins to lead."""
        self.memory, self.telling = Memory(), Telling()

    def cycle(self, here=HERE, *, is_written=True):
        """Run one cycle; name those that it tells."""
        told = self.telling.of(run_cycle(snapshot(*self.jobs.values(), here, queue()), self.memory))
        for each in told if is_written else ():
            self.revision += 1
            metadata = each.job.metadata.model_copy(update={"resource_version": str(self.revision)})
            update = {"reason": each.reason, "message": each.message, "decision": each.record()}
            status = each.job.status.model_copy(update=update)
            self.jobs[each.job.key] = each.job.model_copy(update={"metadata": metadata, "status": status})
        return [each.job.metadata.name for each in told]


def test_many_jobs_are_told_in_parts_and_all_of_them_again_when_the_reason_changes():
    """Each cycle tells a bounded number, those that wait longest first; then there is silence."""
    names = [f"j{number:03}" for number in range(MOST_TOLD + 120)]
    world = World(*(job(name, cpus=99, age_seconds=1000 - number) for number, name in enumerate(names)))
    for here in (HERE, CORDONED):
        assert world.cycle(here) == names[:MOST_TOLD]
        assert world.telling.is_behind
        assert world.cycle(here) == names[MOST_TOLD:]
        assert not world.telling.is_behind
        assert world.cycle(here) == []
    world.restart()
    assert world.cycle(CORDONED) == [], "a hub that begins to lead finds that all were told"


def test_a_job_whose_telling_was_lost_is_told_again():
    """Whether a write has happened is seen by what is stored, and not remembered."""
    world = World(job("large", cpus=99))
    assert world.cycle(is_written=False) == ["large"]
    assert world.cycle() == ["large"]
    assert world.cycle() == []


def test_only_who_came_is_told_beside_those_who_were_told_the_same_before():
    """What stands in the way of its group has not changed."""
    world = World(job("old", cpus=99))
    assert world.cycle() == ["old"]
    young = job("young", cpus=99, age_seconds=1)
    world.jobs[young.key] = young
    assert world.cycle() == ["young"]


def test_a_job_that_should_have_started_and_could_not_is_told_why_it_waits_then():
    """Its run was not made, and meanwhile the cluster takes no work any more; nothing of the job has changed."""
    world = World(job("picks"))
    assert world.cycle() == []
    assert world.cycle(CORDONED) == ["picks"]


def test_a_job_that_is_held_is_told_so_and_one_that_is_released_is_not_told_that_it_starts():
    """A block of its own is said at once; who starts is told by his run."""
    world = World(job("picks", held=True))
    assert world.cycle() == ["picks"]
    assert world.jobs["lab/picks"].status.reason == "Held"
    released = world.jobs["lab/picks"]
    spec = released.spec.model_copy(update={"held": False})
    metadata = released.metadata.model_copy(update={"resource_version": "99"})
    world.jobs["lab/picks"] = released.model_copy(update={"spec": spec, "metadata": metadata})
    assert world.cycle() == []
