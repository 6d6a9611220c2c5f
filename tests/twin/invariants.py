"""What must hold of every history, judged by what truly happened: what ran in the clusters, what NATS stored, what was
acknowledged to people. Status fields are only compared with that. Pure.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator

import orjson

from twin.kubelet import Execution
from twin.policies import FOREIGN, PolicyWitness
from twin.violations import Violation, broken_programs
from twin.world import World

# A hand's own write is seen within so long.
_HAND_SECONDS = 0.01


CLAIMS = {
    "G1": "at most one attempt of a job runs at once, unless it says Duplicate; a job that waits is done once",
    "G2": "no work of a job that waits was stopped",
    "G4": "no policy of a set was ever missing or went back, but by hand; what is others' was left alone",
    "G5": "every job that was acknowledged is there at the end",
    "truth": "a job that is called Succeeded ran to its end",
    "converged": "every job is done when all has been in order for long",
    "alive": "no program ended, and no task failed, but for what was done to it",
}


def violations(world: World) -> tuple[list[Violation], Counter[str]]:
    """Give everything that must not have happened, and how often each guarantee was looked at."""
    observations = Counter({"alive": len(world.programs), "G5": len(world.acknowledged)})
    executions = [one for member in world.members.values() for one in member.kubelet.executions]
    by_job: dict[str, list[Execution]] = {work.name: [] for work in world.story.work}
    for one in executions:
        by_job.setdefault(one.labels.get("atoll.dev/job", ""), []).append(one)
    found: list[Violation] = []
    for work in world.story.work:
        ran = by_job[work.name]
        observations.update(("G1", "truth", "converged"))
        observations["G2"] += len(ran) if work.loss_policy == "Wait" else 0
        if work.loss_policy != "Duplicate":
            found += _at_most_one(work.name, ran)
        if work.loss_policy == "Wait":
            found += _never_stopped(work.name, ran)
        found += _done(world, work.name, ran, is_once=work.loss_policy == "Wait")
    for member in world.members.values():
        observations["G4"] += len(member.policies.sights)
        found += _never_less(member.name, member.policies)
        found += _foreign_are_left(member.name, member.policies)
        if not world.holds_policies(member):
            found.append(Violation("converged", f"{member.name} holds {member.policies.held} at the end"))
    found += _runs_stay_where_they_are(world)
    found += broken_programs(world)
    return found, observations


def _at_most_one(job: str, executions: Iterable[Execution]) -> Iterator[Violation]:
    for one, other in itertools.combinations(executions, 2):
        if one.runs_at(other.began) or other.runs_at(one.began):
            yield Violation("G1", f"{job} ran twice at once: {_told(one)}; {_told(other)}")


def _never_stopped(job: str, executions: Iterable[Execution]) -> Iterator[Violation]:
    for one in executions:
        if one.outcome == "stopped":
            yield Violation("G2", f"{job} was stopped though nobody asked for it: {_told(one)}")


def _done(world: World, job: str, executions: list[Execution], *, is_once: bool) -> Iterator[Violation]:
    stored, done = world.stored("jobs").get(job), [one for one in executions if one.outcome == "done"]
    if job in world.acknowledged and stored is None:
        yield Violation("G5", f"{job} was acknowledged at {world.acknowledged[job]:.2f} s and is gone")
        return
    phase = (stored or {}).get("status", {}).get("phase", "nothing")
    if phase != "Succeeded":
        yield Violation("converged", f"{job} is {phase} when all has been in order for long")
    elif not done:
        yield Violation("truth", f"{job} is Succeeded and never ran to its end")
    if is_once and len(done) > 1:
        yield Violation("G1", f"{job} was done {len(done)} times: {'; '.join(map(_told, done))}")


def _never_less(cluster: str, policies: PolicyWitness) -> Iterator[Violation]:
    """What every commit holds never goes, and never goes back to an older commit, but in the moment of a hand."""
    newest = 0
    for sight in policies.sights:
        if sight.name != "base" or any(abs(sight.at - at) < _HAND_SECONDS for at in policies.touched_at):
            continue
        if sight.event == "DELETED":
            yield Violation("G4", f"{cluster} was without policy base at {sight.at:.2f} s")
        elif sight.port < newest:
            yield Violation("G4", f"{cluster} went back to port {sight.port} at {sight.at:.2f} s")
        newest = max(newest, sight.port)


def _foreign_are_left(cluster: str, policies: PolicyWitness) -> Iterator[Violation]:
    for sight in policies.sights:
        if sight.name in FOREIGN and sight.event != "ADDED":
            yield Violation("G4", f"{cluster}: policy {sight.name} is not Atoll's and was {sight.event.lower()}")


def _runs_stay_where_they_are(world: World) -> Iterator[Violation]:
    """No run is ever of two clusters, and no job has two runs of one epoch."""
    places: dict[str, str] = {}
    epochs: dict[tuple[str, int], str] = {}
    for stream, stored in world.journal.entries:
        if stream != "STATE" or not stored.subject.startswith("state.atoll_dev.runs.") or not stored.payload:
            continue
        run = orjson.loads(stored.payload)
        name, spec = run["metadata"]["name"], run["spec"]
        if places.setdefault(name, spec["cluster"]) != spec["cluster"]:
            yield Violation("G1", f"{name} was placed on {places[name]} and on {spec['cluster']}")
        if epochs.setdefault((spec["job"], spec["epoch"]), name) != name:
            yield Violation("G1", f"epoch {spec['epoch']} of {spec['job']} was given twice")


def _told(one: Execution) -> str:
    end = "still running" if one.ended is None else f"{one.ended:.2f} s, {one.outcome}"
    return f"{one.labels.get('atoll.dev/run', one.pod)} on {one.cluster} {one.began:.2f} s to {end}"
