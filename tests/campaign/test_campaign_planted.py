"""A campaign finds each bug that it is there to find: else its success would say nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from campaign.bugs import BUGS
from campaign.report import CLAIMS
from exactly_once.lab import has_mosquitto
from rig.hosts import why_not


def test_there_is_a_bug_for_every_guarantee() -> None:
    assert {bug.guarantee for bug in BUGS.values()} == set(CLAIMS)


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.skipif(not has_mosquitto(), reason="needs the mosquitto broker (apt-get install mosquitto)")
@pytest.mark.parametrize("name", BUGS)
def test_the_campaign_finds_a_planted_bug(name: str, tmp_path: Path) -> None:
    if BUGS[name].needs_hosts and (lack := why_not()):
        pytest.skip(lack)
    command = [sys.executable, "-m", "campaign", "--planted", name, "--home", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
