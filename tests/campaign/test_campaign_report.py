"""The report says what was done, how often everything was looked at, and each failure with its seed and history."""

import json
from pathlib import Path

from campaign.report import CLAIMS, Finding, Report


def report() -> Report:
    made = Report("campaign", "2 hubs", "2 cores", seconds=61.0, seeds=[7])
    made.count_faults(["hub killed", "hub killed", "NATS server killed"])
    for guarantee in CLAIMS:
        made.count(guarantee, 12)
    made.note("jobs", 5)
    return made


def test_a_report_without_failures_is_green() -> None:
    assert report().is_green
    assert "**nothing found**" in report().markdown()
    assert "| hub killed | 2 |" in report().markdown()


def test_a_failure_stands_in_both_forms_with_its_seed_and_what_had_been_done(tmp_path: Path) -> None:
    made = report()
    made.fail(7, [Finding("G1", "two at once")], ("1.0 s hub killed",))
    made.write(tmp_path / "found")
    told = json.loads((tmp_path / "found.json").read_bytes())
    assert not made.is_green
    assert told["failures"] == [{"guarantee": "G1", "seed": 7, "text": "two at once", "history": ["1.0 s hub killed"]}]
    assert told["checked"]["G1"]["observations"] == 12
    text = (tmp_path / "found.md").read_text()
    assert "**Seed 7**\n\n- G1: two at once" in text
    assert "1.0 s hub killed" in text


def test_a_guarantee_of_which_nothing_was_observed_is_no_success() -> None:
    made = report()
    made.observations["G6"] = 0
    assert not made.is_green
    assert "nothing was observed of G6" in made.markdown()
