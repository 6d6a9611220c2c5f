"""What a campaign collects to judge by: values only, read from files, API servers and answers to our own requests.

Nothing here is what the program says of its own success, but for the claims that are to be held against the rest.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Attempt:
    """One process that a job ran, by what it wrote down itself: of which run and task, when it was, and how it ended.

    `last_word` is end if it was done, told if it was asked to end, and tick or begin if it was heard no more.
    """

    job: str
    run: str
    task: str
    process: str
    began: float
    last: float
    last_word: str


@dataclass(frozen=True)
class SubmittedJob:
    """A job that was asked for: what its owner knows of it, and what was done to it on purpose."""

    name: str
    loss_policy: str
    tasks: int
    was_acknowledged: bool = True
    was_hit: bool = False
    """A process of it was killed by the campaign itself."""
    was_cancelled: bool = False


@dataclass(frozen=True)
class RunFiles:
    """A run of instruments: what the broker acknowledged by topic, the files by topic, and the two ledgers."""

    name: str
    published: Mapping[str, Sequence[bytes]]
    files: Mapping[str, bytes]
    ledger: Json
    dataset: Json


@dataclass(frozen=True)
class PolicySample:
    """The policies of one cluster as its own API server held them: what each says, by kind and name."""

    cluster: str
    at: float
    held: Mapping[str, Json]


@dataclass(frozen=True)
class PolicyClaim:
    """What the hub said about a cluster: the rung, and when that was last proven (Unix seconds)."""

    cluster: str
    rung: str
    proven_at: float
    said_at: float


@dataclass(frozen=True)
class Tampering:
    """A policy that the campaign changed or deleted by hand, past Git."""

    cluster: str
    policy: str
    at: float


@dataclass(frozen=True)
class Register:
    """One object that somebody writes numbers into, and what the hub answered.

    `acknowledged` is the last number that it said is stored; `unknown` are later ones of which no answer came.
    """

    name: str
    acknowledged: int | None
    unknown: tuple[int, ...] = ()


@dataclass(frozen=True)
class Read:
    """What a hub gave for a register, None for nothing, and what was known of the register then."""

    register: Register
    hub: int
    value: int | None


@dataclass(frozen=True)
class Trespass:
    """One thing that a member tried with its own credentials and that is another's; what came of it."""

    who: str
    what: str
    got: str
    """What it got or changed; empty if it was refused."""


@dataclass(frozen=True)
class BadRequest:
    """Something malformed that was sent: the answer, and whether anything is there now that was not before."""

    what: str
    field: str
    code: int
    message: str
    left_behind: bool


@dataclass
class Evidence:
    """All of one seed."""

    attempts: Sequence[Attempt] = ()
    jobs: Sequence[SubmittedJob] = ()
    runs: Sequence[RunFiles] = ()
    samples: Sequence[PolicySample] = ()
    claims: Sequence[PolicyClaim] = ()
    tamperings: Sequence[Tampering] = ()
    versions: Sequence[Mapping[str, Json]] = ()
    """The policies as each commit has them, the oldest first: what each says, by kind and name."""
    foreign: Mapping[str, Json] = field(default_factory=dict)
    """Policies that are somebody else's, the same in every cluster."""
    reads: Sequence[Read] = ()
    trespasses: Sequence[Trespass] = ()
    bad_requests: Sequence[BadRequest] = ()
    unsettled: Sequence[str] = ()
    """What had not come to its end long after the last fault."""
    settled: int = 0
    """What had."""


def read_attempts(folder: Path) -> list[Attempt]:
    """Read what the processes of jobs wrote down (worker.py); a line that a kill cut off does not count."""
    found = []
    for path in sorted(folder.iterdir()):
        lines = re.findall(r"^(\w+) (\d+\.\d+)$", path.read_text(), re.MULTILINE)
        if lines:
            job, run, task, process = path.name.split("~")
            word, last = lines[-1]
            found.append(Attempt(job, run, task, process, float(lines[0][1]), float(last), word))
    return found


def moment(text: str) -> float:
    """Give an instant of the wire in Unix seconds."""
    return datetime.fromisoformat(text).timestamp()
