"""Lives the histories of many seeds, shortens those that break a guarantee, and reports what was seen."""

import argparse
import contextlib
import logging
import os
import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import orjson
import structlog

from twin import invariants, lab_judge, lab_story, shims
from twin import story as federation_story
from twin.bugs import BUGS
from twin.history import History
from twin.lab import Lab
from twin.shrinking import MOST_TRIES, shortened
from twin.story import Story
from twin.violations import Violation
from twin.world import World

_FAILED = 3
_Verdict = tuple[list[Violation], Counter[str]]


@dataclass(frozen=True)
class Kind:
    """A kind of histories: how a seed's story is told and lived, and what is asked of it."""

    what: str
    told: Callable[[int], Story]
    world: Callable[[Any, Path], History]
    judged: Callable[[Any], _Verdict]
    claims: Mapping[str, str]


KINDS = {
    "federation": Kind(
        "two hubs, NATS, two clusters with their agents, in one process on virtual time",
        federation_story.told,
        World,
        invariants.violations,
        invariants.CLAIMS,
    ),
    "readings": Kind(
        "instruments, brokers, gateways, NATS and a sink, in one process on virtual time",
        lab_story.told,
        Lab,
        lab_judge.judged,
        lab_judge.CLAIMS,
    ),
}


@dataclass(frozen=True)
class Outcome:
    """One history that was lived."""

    kind: Kind
    story: Story
    violations: tuple[Violation, ...]
    digest: str
    seconds: float
    cpu_seconds: float
    observations: Counter[str]


def lived(story: Story, kind: Kind) -> Outcome:
    """Live a story in a folder of its own; on a disk in memory where there is one."""
    began = shims.cpu_seconds()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="atoll-twin-", dir=memory if memory.is_dir() else None) as folder:
        world = kind.world(story, Path(folder)).live()
        found, observations = kind.judged(world)
    return Outcome(
        kind,
        story,
        tuple(found),
        world.journal.digest.hexdigest(),
        world.clock.now,
        shims.cpu_seconds() - began,
        observations,
    )


def shortest(outcome: Outcome, tries: int) -> Outcome:
    """Give the shortest history that breaks one of the guarantees that a history broke, found in so many tries."""
    broken = {each.guarantee for each in outcome.violations}
    best = outcome

    def still_fails(story: Story) -> bool:
        nonlocal best
        found = lived(story, outcome.kind)
        if fails := any(each.guarantee in broken for each in found.violations):
            best = found
        return fails

    shortened(outcome.story, still_fails, most_tries=tries)
    return best


@dataclass
class Campaign:
    """What the histories of many seeds have shown."""

    kind: Kind
    started_at: datetime
    tries: int = MOST_TRIES
    seeds: list[int] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    observations: Counter[str] = field(default_factory=Counter)
    cpu_seconds: float = 0.0
    virtual_seconds: float = 0.0
    failures: list[tuple[Violation, Story]] = field(default_factory=list)

    def take(self, outcome: Outcome) -> None:
        """Count a history."""
        self.seeds.append(outcome.story.seed)
        self.faults.update(fault.kind for fault in outcome.story.faults)
        self.observations.update(outcome.observations)
        self.cpu_seconds += outcome.cpu_seconds
        self.virtual_seconds += outcome.seconds
        if outcome.violations:
            best = shortest(outcome, self.tries)
            self.failures.append((best.violations[0], best.story))

    def report(self, seconds: float) -> dict[str, Any]:
        """Give all of it as one value, in the form that the campaign of real processes has, too."""
        claims = self.kind.claims
        return {
            "name": "twin",
            "startedAt": self.started_at.isoformat(timespec="seconds"),
            "seconds": round(seconds, 1),
            "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
            "federation": self.kind.what,
            "seeds": self.seeds,
            "cpuSeconds": round(self.cpu_seconds, 1),
            "virtualSeconds": round(self.virtual_seconds),
            "faults": dict(sorted(self.faults.items())),
            "checked": {
                name: {"claim": claim, "observations": self.observations[name]} for name, claim in claims.items()
            },
            "failures": [
                {
                    "guarantee": violation.guarantee,
                    "seed": story.seed,
                    "text": violation.text,
                    "history": str(story).splitlines(),
                }
                for violation, story in self.failures
            ],
        }


def main(arguments: Sequence[str]) -> int:
    """Live histories as the command line says; give the exit code."""
    wanted = _parsed(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    if wanted.planted and not _all_found():
        return _FAILED
    planted = BUGS[wanted.bug].planted() if wanted.bug else contextlib.nullcontext()
    kind = KINDS[wanted.kind or (BUGS[wanted.bug].kind if wanted.bug else "federation")]
    began, campaign = shims.real_seconds(), Campaign(kind, datetime.now(UTC), wanted.tries)
    with planted, contextlib.closing(_outcomes(kind, wanted.seeds, wanted.jobs)) as outcomes:
        for outcome in outcomes:
            if wanted.each:
                _tell_one(outcome)
            campaign.take(outcome)
            is_late = shims.real_seconds() - began > wanted.minutes * 60
            if is_late or (campaign.failures and wanted.first):
                break
    _tell(campaign.failures)
    report = orjson.dumps(campaign.report(shims.real_seconds() - began))
    (wanted.report.write_bytes if wanted.report else sys.stdout.buffer.write)(report + b"\n")
    return _FAILED if campaign.failures else 0


def _outcomes(kind: Kind, seeds: Iterable[int], jobs: int) -> Iterator[Outcome]:
    """Live the histories of seeds, in as many processes, and give them in the order of the seeds."""
    if jobs == 1:
        yield from (_lived_seed(kind, seed) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs, get_context("fork")) as pool:  # with what is planted here
        try:
            yield from pool.map(partial(_lived_seed, kind), seeds)
        finally:
            pool.shutdown(cancel_futures=True)


def _lived_seed(kind: Kind, seed: int) -> Outcome:
    return lived(kind.told(seed), kind)


def _all_found() -> bool:
    """Plant each mistake, and live the history that shows it; tell whether all were found."""
    is_found = True
    for name, bug in BUGS.items():
        kind = KINDS[bug.kind]
        with bug.planted():
            outcome = lived(kind.told(bug.seed), kind)
        seen = next((each for each in outcome.violations if each.guarantee == bug.breaks), None)
        print(f"{name}: " + (f"seed {bug.seed} breaks {seen}" if seen else "NOT FOUND"), flush=True)
        is_found = is_found and seen is not None
    return is_found


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m twin", description=__doc__)
    parser.add_argument("--seeds", type=_seeds, default=range(1, 101), help="such as 7 or 1-5000")
    parser.add_argument("--kind", choices=KINDS, help="which histories; else those of the bug, or of federations")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no further history after so long")
    parser.add_argument("--jobs", type=int, default=1, help="processes that live histories side by side")
    parser.add_argument("--bug", choices=BUGS, help="plant a mistake, which must be found")
    parser.add_argument("--planted", action="store_true", help="first plant every mistake: each must be found")
    parser.add_argument("--tries", type=int, default=MOST_TRIES, help="histories lived to shorten one that fails")
    parser.add_argument("--first", action="store_true", help="stop at the first history that breaks a guarantee")
    parser.add_argument("--each", action="store_true", help="print a line for each history, with its digest")
    parser.add_argument("--report", type=Path, help="where the report goes, as JSON; else to standard output")
    return parser.parse_args(arguments)


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _tell_one(outcome: Outcome) -> None:
    said = "; ".join(map(str, outcome.violations)) or "held"
    print(f"seed {outcome.story.seed} {outcome.digest[:16]} {outcome.cpu_seconds:.2f} s of CPU: {said}", flush=True)


def _tell(failures: Iterable[tuple[Violation, Story]]) -> None:
    for violation, story in failures:
        print(f"seed {story.seed} breaks {violation}\nwhen this happens:\n{story}", flush=True)
