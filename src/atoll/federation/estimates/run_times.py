"""How long work like a job's has run: the newest runs of its kind, and what they say of the next one.

Work is counted in seconds on a GPU as fast as the one that speeds are relative to, so that runs on different models add
up; where enough runs were on one model, it is their own time that counts for it, and no data sheet.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field

from atoll.federation.estimates.robust import coarse, quantile
from atoll.federation.resources.base import Model

MOST_SAMPLES = 32
"""More would let a change of the work show only after weeks; fewer, and one odd day is a quarter of what is known."""
# A number that rests on fewer is an anecdote: a default says at least that nobody knows.
_LEAST_RUNS = 3
_NO_COMMAND = "?"
ANY_COMMAND = "*"
"""Whatever the images are told: for a job of which the user says how long it runs, and only speeds are asked for."""
# Of another command, images tell something only if runs of so many commands lie within this factor of each other.
# Fewer, or wider: three `echo` would tell how long `sleep 600` takes. What is over at once agrees without any work.
_LEAST_COMMANDS, _MOST_SPREAD, _LEAST_WORK_SECONDS = 5, 2.0, 10.0
_HALF_LIFE_SECONDS = 14 * 86400.0
# Nothing is learned from what is longer: no work runs a year, but clocks have been off by decades.
_LONGEST_SECONDS = 366 * 86400.0
# Agents tell whole seconds, as Kubernetes does: what ended in the second in which it began ran about this long.
_SHORTEST_SECONDS = 1.0


class Sample(Model):
    """One run that succeeded. `speed` is that of its GPU beside the reference, as far as data sheets tell."""

    run: str
    user: str = ""
    command: str = ""
    seconds: Annotated[float, Field(ge=_SHORTEST_SECONDS, le=_LONGEST_SECONDS)]
    model: str = ""
    speed: Annotated[float, Field(gt=0, le=1000)] = 1.0
    ended_at: AwareDatetime


class History(Model):
    """The newest runs of the same images, the oldest first."""

    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class RunTime:
    """What a job like this is expected to run, in seconds on the reference GPU; nine of ten runs within low and high.

    `speeds` are by GPU product, beside the reference, where enough runs were on it. On how many runs a number rests
    makes it no other number: run times that differ in that alone are equal.
    """

    seconds: float
    low_seconds: float
    high_seconds: float
    runs: int = field(compare=False)
    speeds: tuple[tuple[str, float], ...] = ()


def ran_seconds(started_at: datetime | None, finished_at: datetime | None) -> float | None:
    """Give how long a run went on by its agent's clock; None where that tells nothing, as after a jump of the clock."""
    if started_at is None or finished_at is None:
        return None
    seconds = (finished_at - started_at).total_seconds()
    return max(seconds, _SHORTEST_SECONDS) if 0 <= seconds <= _LONGEST_SECONDS else None


def with_sample(history: History, sample: Sample) -> History:
    """Add a run; the same history if the run is known, or older than all that is kept."""
    if any(each.run == sample.run for each in history.samples):
        return history
    samples = sorted((*history.samples, sample), key=lambda each: (each.ended_at, each.run))[-MOST_SAMPLES:]
    return History(samples=tuple(samples)) if sample in samples else history


def learned(history: History, user: str, *, command: str = "") -> RunTime | None:
    """Tell what a job of a user may expect: from that user's runs of the same command, else from everybody's of the
    namespace. Runs of the same images with other commands only count if it does not seem to matter what they are told.
    """
    alike = [each for each in history.samples if command in (each.command, ANY_COMMAND)]
    own = [each for each in alike if each.user == user]
    for samples in (own, alike):
        if len(samples) >= _LEAST_RUNS:
            return _run_time(samples)
    return _whatever_told(history.samples)


def _whatever_told(samples: Sequence[Sample]) -> RunTime | None:
    """Tell how long images run, where many commands agree on that."""
    if len({each.command for each in samples}) < _LEAST_COMMANDS:
        return None
    found = _run_time(samples)
    agrees = found.high_seconds <= _MOST_SPREAD * found.low_seconds
    return found if agrees and found.seconds >= _LEAST_WORK_SECONDS else None


def differs(before: History | None, after: History | None) -> bool:
    """Tell whether a history teaches anybody something else than before."""
    return _lessons(before) != _lessons(after)


def _lessons(history: History | None) -> dict[tuple[str, str], RunTime]:
    """Give what each user may expect of each command; somebody without runs stands for all such, and so does a command
    that nobody gives."""
    if history is None:
        return {}
    users = {"", *(each.user for each in history.samples)}
    commands = {_NO_COMMAND, ANY_COMMAND, *(each.command for each in history.samples)}
    sorts = [(user, command) for user in users for command in commands]
    found = {sort: learned(history, sort[0], command=sort[1]) for sort in sorts}
    return {sort: run_time for sort, run_time in found.items() if run_time is not None}


def _run_time(samples: Sequence[Sample]) -> RunTime:
    newest = max(each.ended_at for each in samples)
    weighed = [(each, 0.5 ** ((newest - each.ended_at).total_seconds() / _HALF_LIFE_SECONDS)) for each in samples]
    by_model: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for each, weight in weighed:
        if each.model:
            by_model[each.model].append((each.seconds, weight))
    work = [(each.seconds * each.speed, weight) for each, weight in weighed]
    seconds = quantile(work, 0.5)
    speeds = {
        model: coarse(seconds / quantile(times, 0.5)) for model, times in by_model.items() if len(times) >= _LEAST_RUNS
    }
    return RunTime(
        seconds=coarse(seconds),
        low_seconds=coarse(quantile(work, 0.05)),
        high_seconds=coarse(quantile(work, 0.95)),
        runs=len(samples),
        speeds=tuple(sorted(speeds.items())),
    )
