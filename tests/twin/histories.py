"""Lives the histories of many seeds, shortens those that break a guarantee, and reports what was seen."""

import argparse
import contextlib
import logging
import os
import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import structlog

from twin import shims
from twin.bugs import BUGS
from twin.invariants import CLAIMS, Violation, violations
from twin.shrinking import MOST_TRIES, shortened
from twin.story import Story, told
from twin.world import World

_FAILED = 3


@dataclass(frozen=True)
class Outcome:
    """One history that was lived."""

    story: Story
    violations: tuple[Violation, ...]
    digest: str
    seconds: float
    cpu_seconds: float
    observations: Counter[str]


def lived(story: Story) -> Outcome:
    """Live a story in a folder of its own; on a disk in memory where there is one."""
    began = shims.cpu_seconds()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="atoll-twin-", dir=memory if memory.is_dir() else None) as folder:
        world = World(story, Path(folder)).live()
        found, observations = violations(world)
    return Outcome(
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
        found = lived(story)
        if fails := any(each.guarantee in broken for each in found.violations):
            best = found
        return fails

    shortened(outcome.story, still_fails, most_tries=tries)
    return best


@dataclass
class Campaign:
    """What the histories of many seeds have shown."""

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
        return {
            "name": "twin",
            "startedAt": self.started_at.isoformat(timespec="seconds"),
            "seconds": round(seconds, 1),
            "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
            "federation": "two hubs, NATS, two clusters with their agents, in one process on virtual time",
            "seeds": self.seeds,
            "cpuSeconds": round(self.cpu_seconds, 1),
            "virtualSeconds": round(self.virtual_seconds),
            "faults": dict(sorted(self.faults.items())),
            "checked": {
                name: {"claim": claim, "observations": self.observations[name]} for name, claim in CLAIMS.items()
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
    began, campaign = shims.real_seconds(), Campaign(datetime.now(UTC), wanted.tries)
    with planted:
        for seed in wanted.seeds:
            outcome = lived(told(seed))
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


def _all_found() -> bool:
    """Plant each mistake, and live the history that shows it; tell whether all were found."""
    is_found = True
    for name, bug in BUGS.items():
        with bug.planted():
            outcome = lived(told(bug.seed))
        seen = next((each for each in outcome.violations if each.guarantee == bug.breaks), None)
        print(f"{name}: " + (f"seed {bug.seed} breaks {seen}" if seen else "NOT FOUND"), flush=True)
        is_found = is_found and seen is not None
    return is_found


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m twin", description=__doc__)
    parser.add_argument("--seeds", type=_seeds, default=range(1, 101), help="such as 7 or 1-5000")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no further history after so long")
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
