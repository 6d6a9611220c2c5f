"""Histories of both kinds on virtual time: seeds hold, a seed is one history, and every planted mistake is found."""

import os
import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

_TESTS = Path(__file__).parents[1]
# How many histories fit into the time that this suite has; `make campaign` lives thousands.
_SEEDS = {"federation": 3, "readings": 8}
_MISTAKES = 10


def twin(*arguments: str) -> tuple[int, str]:
    """Run the twin in a process of its own, whose clocks are virtual; give its exit code and what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(_TESTS)}
    command = [sys.executable, "-m", "twin", *arguments]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=580)
    assert done.returncode in (0, 3), done.stderr
    return done.returncode, done.stdout


def digests(printed: str) -> dict[str, str]:
    return dict(re.findall(r"^seed (\d+) ([0-9a-f]+) ", printed, re.MULTILINE))


@pytest.mark.timeout(600)  # it computes for some twenty seconds, on a machine that may have much else to do
def test_no_guarantee_is_broken_every_mistake_is_found_and_a_seed_is_one_history(tmp_path: Path) -> None:
    printed = {kind: held(kind, seeds, tmp_path / f"{kind}.json") for kind, seeds in _SEEDS.items()}
    code, found = twin("--planted", "--seeds", "1", "--each", "--kind", "readings")
    assert code == 0, found
    assert len(re.findall(r": seed \d+ breaks \w", found)) == _MISTAKES
    # In another process, after other histories, and with other addresses in memory.
    assert digests(found)["1"] == digests(printed["readings"])["1"]
    code, again = twin("--seeds", "1", "--each", "--jobs", "2")
    assert code == 0, again
    assert digests(again).items() <= digests(printed["federation"]).items()


def held(kind: str, seeds: int, report: Path) -> str:
    """Live histories of which each must hold, and in which everything must have been looked at."""
    code, printed = twin("--kind", kind, "--seeds", f"1-{seeds}", "--each", "--report", str(report))
    assert code == 0, printed
    said = orjson.loads(report.read_bytes())
    assert said["seeds"] == list(range(1, seeds + 1))
    assert all(checked["observations"] for checked in said["checked"].values()), said["checked"]
    return printed


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_a_failure_is_told_by_its_seed_and_the_few_faults_that_it_takes() -> None:
    code, printed = twin("--seeds", "346", "--bug", "the agent's lease never ends")
    assert code == 3
    history = printed.partition("when this happens:\n")[2].partition("{")[0]
    assert len([line for line in history.splitlines() if " s  " in line and "submitted" not in line]) == 1
