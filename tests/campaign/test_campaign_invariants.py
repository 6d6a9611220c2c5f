"""Each guarantee's question finds what contradicts it, and nothing in what does not."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from campaign.evidence import (
    Attempt,
    BadRequest,
    Evidence,
    PolicyClaim,
    PolicySample,
    Read,
    Register,
    RunFiles,
    SubmittedJob,
    Tampering,
    Trespass,
    read_attempts,
)
from campaign.invariants import QUESTIONS, judge

WAIT, FAILOVER = SubmittedJob("w", "Wait", 1), SubmittedJob("f", "Failover", 1)
SENT = [b"a 0\n", b"a 1\n", b"a 2\n"]
OLD, NEW = {"NetworkPolicy/a": {"port": 1}}, {"NetworkPolicy/a": {"port": 2}}
THEIRS = {"NetworkPolicy/theirs": {"port": 9}}


def attempt(job: str, run: str, began: float, last: float, word: str = "end", *, task: str = "0") -> Attempt:
    return Attempt(job, run, task, f"{run}-{began}", began, last, word)


def run_files(lines: list[bytes], **told: object) -> RunFiles:
    content = b"".join(lines)
    row = {"source": "a", "sha256": hashlib.sha256(content).hexdigest()}
    ledger = {"received": len(SENT), "sources": [row], **told}
    return RunFiles("run.0", {"a": SENT}, {"a": content}, ledger, ledger)


def seen(*held: dict[str, dict[str, int]]) -> Evidence:
    """Give a cluster that was looked at every ten seconds, while two versions were committed."""
    samples = [PolicySample("c", 10.0 * number, policies) for number, policies in enumerate(held)]
    return Evidence(samples=samples, versions=[OLD, NEW])


BAD = BadRequest("a job without a queue", "spec.queue", 422, "spec.queue: is missing", left_behind=False)

HOLDS: dict[str, tuple[str, Evidence]] = {
    "an attempt that begins after the other has ended": (
        "G1",
        Evidence(attempts=[attempt("f", "f-1", 0, 9, "tick"), attempt("f", "f-2", 10, 20)], jobs=[FAILOVER]),
    ),
    "two tasks of one run at once": (
        "G1",
        Evidence(attempts=[attempt("w", "w-1", 0, 9), attempt("w", "w-1", 1, 9, task="1")], jobs=[WAIT]),
    ),
    "two runs at once of a job that may be duplicated": (
        "G1",
        Evidence(
            attempts=[attempt("d", "d-1", 0, 9), attempt("d", "d-2", 1, 9)], jobs=[SubmittedJob("d", "Duplicate", 1)]
        ),
    ),
    "work that ended": ("G2", Evidence(attempts=[attempt("w", "w-1", 0, 9)], jobs=[WAIT])),
    "work that the campaign killed": (
        "G2",
        Evidence(attempts=[attempt("w", "w-1", 0, 9, "tick")], jobs=[replace(WAIT, was_hit=True)]),
    ),
    "work of lossPolicy Failover that was told to end": (
        "G2",
        Evidence(attempts=[attempt("f", "f-1", 0, 9, "told")], jobs=[FAILOVER]),
    ),
    "every reading once": ("G3", Evidence(runs=[run_files(SENT)])),
    "policies that follow the commits": ("G4", replace(seen(THEIRS, OLD | THEIRS, NEW | THEIRS), foreign=THEIRS)),
    "a policy that is put back after somebody deleted it": (
        "G4",
        replace(seen(NEW, {}, NEW), tamperings=[Tampering("c", "NetworkPolicy/a", 9.0)]),
    ),
    "a proof of a moment when all was there": (
        "G4",
        replace(seen(NEW, NEW), claims=[PolicyClaim("c", "Realized", 5.0, 6.0)]),
    ),
    "the last number that was acknowledged": (
        "G5",
        Evidence(reads=[Read(Register("r", 7), 0, 7)]),
    ),
    "a number of which no answer came": (
        "G5",
        Evidence(reads=[Read(Register("r", 7, (8, 9)), 1, 9)]),
    ),
    "a trespass that came to nothing": ("G6", Evidence(trespasses=[Trespass("cluster a", "listened to b", "")])),
    "a refusal that names the field": ("G7", Evidence(bad_requests=[BAD])),
    "nothing that is still under way": ("Settled", Evidence(settled=3)),
}
EXEMPT = {
    "two runs at once of a job that may be duplicated",
    "work that the campaign killed",
    "work of lossPolicy Failover that was told to end",
}
BREAKS: dict[str, tuple[str, Evidence, str]] = {
    "two runs at once": (
        "G1",
        Evidence(attempts=[attempt("f", "f-1", 0, 12, "tick"), attempt("f", "f-2", 10, 20)], jobs=[FAILOVER]),
        "job f: f-1/0 and f-2/0 ran together for 2.0 s",
    ),
    "one task of a run twice at once": (
        "G1",
        Evidence(attempts=[attempt("w", "w-1", 0, 9), attempt("w", "w-1", 3, 12)], jobs=[WAIT]),
        "ran together for 6.0 s",
    ),
    "waiting work that was told to end": (
        "G2",
        Evidence(attempts=[attempt("w", "w-1", 0, 9, "told")], jobs=[WAIT]),
        "was told to end after 9.0 s",
    ),
    "work that fell silent": (
        "G2",
        Evidence(attempts=[attempt("w", "w-1", 0, 9, "tick")], jobs=[WAIT]),
        "was heard no more",
    ),
    "work that was done twice": (
        "G2",
        Evidence(attempts=[attempt("w", "w-1", 0, 9), attempt("w", "w-2", 10, 19)], jobs=[WAIT]),
        "began 2 times though nothing of it was killed",
    ),
    "a reading that is missing": ("G3", Evidence(runs=[run_files(SENT[:2])]), "1 missing, 0 twice"),
    "a reading that is there twice": ("G3", Evidence(runs=[run_files([*SENT, SENT[2]])]), "0 missing, 1 twice"),
    "readings out of order": ("G3", Evidence(runs=[run_files(SENT[::-1])]), "out of order"),
    "a ledger that has counted others": ("G3", Evidence(runs=[run_files(SENT, received=2)]), "says 2 received"),
    "a ledger with the sum of other bytes": ("G3", Evidence(runs=[run_files(SENT, sources=[])]), "checksums"),
    "a ledger with a gap": ("G3", Evidence(runs=[run_files(SENT, gaps=1)]), "gaps: 1"),
    "a policy that went": ("G4", seen(NEW, {}), "c: NetworkPolicy/a is gone"),
    "a policy that went back to an older commit": ("G4", seen(NEW, OLD), "says less than it did"),
    "somebody else's policy that was pruned": (
        "G4",
        replace(seen(NEW | THEIRS, NEW), foreign=THEIRS),
        "which is somebody else's",
    ),
    "a proof of a moment when a policy was not there": (
        "G4",
        replace(seen({}, {}), claims=[PolicyClaim("c", "Realized", 5.0, 6.0)]),
        "Realized was proven for 5.0, when NetworkPolicy/a was not so",
    ),
    "a proof out of the future": (
        "G4",
        replace(seen(NEW, NEW), claims=[PolicyClaim("c", "Realized", 9.0, 6.0)]),
        "proven 3.0 s after it was said",
    ),
    "a change by hand that is never put back": (
        "G4",
        replace(seen(NEW, *[{}] * 12), tamperings=[Tampering("c", "NetworkPolicy/a", 9.0)]),
        "is gone since 10.0",
    ),
    "a write that one hub has forgotten": (
        "G5",
        Evidence(reads=[Read(Register("r", 7, (8,)), 1, 6)]),
        "r: hub 1 gives 6; acknowledged was 7",
    ),
    "an object that is not there any more": (
        "G5",
        Evidence(reads=[Read(Register("job j", 1), 0, None)]),
        "hub 0 gives nothing",
    ),
    "a trespasser who heard something": (
        "G6",
        Evidence(trespasses=[Trespass("cluster a", "listened to b", "heard desired.x")]),
        "cluster a listened to b: heard desired.x",
    ),
    "something malformed that was taken": ("G7", Evidence(bad_requests=[replace(BAD, code=201)]), "answered 201"),
    "a refusal that names nothing": (
        "G7",
        Evidence(bad_requests=[replace(BAD, message="no")]),
        "does not name spec.queue",
    ),
    "a crash": ("G7", Evidence(bad_requests=[replace(BAD, code=500)]), "answered 500"),
    "a refusal that left something behind": (
        "G7",
        Evidence(bad_requests=[replace(BAD, left_behind=True)]),
        "something is there now",
    ),
    "a job that never ends": ("Settled", Evidence(unsettled=["job j has not ended"]), "job j has not ended"),
}


@pytest.mark.parametrize("name", HOLDS)
def test_the_question_accepts(name: str) -> None:
    guarantee, evidence = HOLDS[name]
    found, observations = QUESTIONS[guarantee](evidence)
    assert list(found) == []
    assert observations > 0 or name.endswith(("killed", "told to end", "duplicated")), (
        "what was not looked at proves nothing"
    )


@pytest.mark.parametrize("name", BREAKS)
def test_the_question_finds(name: str) -> None:
    guarantee, evidence, text = BREAKS[name]
    found, observations = QUESTIONS[guarantee](evidence)
    assert any(text in line for line in found), list(found)
    assert observations > 0


def test_the_judge_asks_every_question_once() -> None:
    assert [verdict.guarantee for verdict in judge(Evidence())] == [*QUESTIONS]


def test_a_line_that_a_kill_cut_off_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "j~j-1~0~77").write_text("begin 1.000\ntick 1.200\nti")
    assert read_attempts(tmp_path) == [Attempt("j", "j-1", "0", "77", 1.0, 1.2, "tick")]
