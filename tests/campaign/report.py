"""What a campaign says at its end: faults by kind, seeds, what was checked how often, failures; as JSON and Markdown.

Owns the shape, which campaigns with real processes and on virtual time share. Pure.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CLAIMS: Mapping[str, str] = {
    "G1": "at most one Run of a Job is running, unless its lossPolicy is Duplicate",
    "G2": "no healthy work is stopped because a connection was",
    "G3": "a reading acknowledged to its sender ends exactly once in its dataset, and the ledger proves it",
    "G4": "no cluster enforces less than the policy set says; enforced is shown only with proof and its age",
    "G5": "what the hub acknowledged survives the hub",
    "G6": "an agent or gateway reads and writes only what is its own",
    "G7": "bad input gets a clear error that names the field, and changes nothing",
    "Settled": "once every fault is over, everything comes to its end: jobs, datasets, policies, clusters",
}
"""The guarantees as DESIGN has them, and what would make all of them empty if it did not hold."""


@dataclass(frozen=True)
class Finding:
    """Something that must not be: of which guarantee, and what was seen."""

    guarantee: str
    text: str


@dataclass(frozen=True)
class Failure:
    """A finding, the seed under which it was made, and what had been done by then, the oldest first."""

    guarantee: str
    seed: int
    text: str
    history: tuple[str, ...] = ()


@dataclass
class Report:
    """What one campaign did and found. `federation` and `machine` are a sentence each."""

    name: str
    federation: str
    machine: str
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0
    seeds: list[int] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    observations: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    """What happened beside, counted: jobs, readings, processes that ended by themselves."""

    @property
    def is_green(self) -> bool:
        """Whether nothing was found though everything was looked at."""
        return not self.failures and not self.unseen

    @property
    def unseen(self) -> list[str]:
        """Name the guarantees of which nothing was observed: nothing is said of them."""
        return [name for name in CLAIMS if not self.observations.get(name)]

    def count_faults(self, kinds: Iterable[str]) -> None:
        for kind in kinds:
            self.faults[kind] = self.faults.get(kind, 0) + 1

    def count(self, guarantee: str, observations: int) -> None:
        """Add to how often a guarantee was looked at."""
        self.observations[guarantee] = self.observations.get(guarantee, 0) + observations

    def note(self, what: str, count: int) -> None:
        """Add to something that was counted beside."""
        self.notes[what] = self.notes.get(what, 0) + count

    def fail(self, seed: int, findings: Iterable[Finding], history: tuple[str, ...]) -> None:
        self.failures += [Failure(found.guarantee, seed, found.text, history) for found in findings]

    def document(self) -> dict[str, Any]:
        """Give the report as JSON has it."""
        return {
            "name": self.name,
            "federation": self.federation,
            "machine": self.machine,
            "startedAt": self.started_at.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 1),
            "seeds": self.seeds,
            "faults": dict(sorted(self.faults.items())),
            "checked": {
                name: {"claim": claim, "observations": self.observations[name]}
                for name, claim in CLAIMS.items()
                if name in self.observations
            },
            "notes": self.notes,
            "unseen": self.unseen,
            "failures": [asdict(failure) for failure in self.failures],
        }

    def markdown(self) -> str:
        """Give the report for people."""
        found = "nothing found" if self.is_green else f"{len(self.failures)} failures"
        unseen = f"; nothing was observed of {', '.join(self.unseen)}" if self.unseen else ""
        lines = [
            f"{self.federation}. {self.machine}. {self.started_at:%Y-%m-%d %H:%M} UTC, {self.seconds:.0f} s, "
            f"{_seeds(self.seeds)}: **{found}{unseen}**.",
            "",
            *_table(("fault", "times"), sorted(self.faults.items())),
            "",
            *_table(
                ("guarantee", "claim", "observations"),
                [(name, claim, self.observations[name]) for name, claim in CLAIMS.items() if name in self.observations],
            ),
            "",
            *_table(("beside", "count"), sorted(self.notes.items())),
        ]
        for seed in dict.fromkeys(failure.seed for failure in self.failures):
            found = [failure for failure in self.failures if failure.seed == seed]
            lines += ["", f"**Seed {seed}**", "", *(f"- {failure.guarantee}: {failure.text}" for failure in found)]
            lines += ["", "```text", *found[0].history, "```"]
        return "\n".join(lines).rstrip() + "\n"

    def write(self, path: Path) -> None:
        """Write it beside each other as PATH.json and PATH.md."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json").write_text(json.dumps(self.document(), indent=2) + "\n")
        path.with_suffix(".md").write_text(self.markdown())


def _seeds(seeds: list[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    found = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *found] if found else []
