"""A campaign finds each bug that it is there to find: else its success would say nothing."""

from pathlib import Path

import pytest

from campaign.bugs import BUGS
from campaign.planting import campaign_with, is_found
from campaign.report import CLAIMS
from exactly_once.lab import has_mosquitto


def test_there_is_a_bug_for_every_guarantee() -> None:
    assert {bug.guarantee for bug in BUGS.values()} == {name for name in CLAIMS if name.startswith("G")}


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.skipif(not has_mosquitto(), reason="needs the mosquitto broker (apt-get install mosquitto)")
@pytest.mark.parametrize("name", BUGS)
def test_the_campaign_finds_a_planted_bug(name: str, tmp_path: Path) -> None:
    report = campaign_with(name, tmp_path, machine="a test", say=print)
    assert is_found(name, report), report.markdown()
