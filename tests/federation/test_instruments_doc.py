"""The examples of docs/instruments.md are what a Stream takes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from atoll.federation.resources.catalog import find
from atoll.federation.resources.stream_reading import EndOfRun, RunSpec
from atoll.federation.resources.validation import parse

TEXT = (Path(__file__).parents[2] / "docs" / "instruments.md").read_text()
WHOLE, *PARTS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
ROWS = re.findall(r"^\| `(\{.*?\})` \|", TEXT, re.MULTILINE)


def problems_of(manifest: dict[str, Any]) -> object:
    kind = find("Stream")
    assert kind is not None
    return parse(kind, manifest)[1]


def test_the_first_example_is_a_whole_stream() -> None:
    assert problems_of(yaml.safe_load(WHOLE)) == ()


@pytest.mark.parametrize("part", PARTS)
def test_each_further_example_is_part_of_one(part: str) -> None:
    manifest = yaml.safe_load(WHOLE)
    manifest["spec"] |= yaml.safe_load(part)
    assert problems_of(manifest) == ()


def test_each_row_of_the_tables_is_a_run_or_the_end_of_one() -> None:
    values = [yaml.safe_load(row) for row in ROWS if ":" in row]
    starts = [
        value
        for value in values
        if (set(value) <= {"topic", "field"} and "start" in str(value)) or set(value) == {"field"}
    ]
    ends = [value for value in values if value not in starts]
    assert (len(starts), len(ends)) == (3, 6)
    assert all(RunSpec.model_validate(value) for value in starts)
    assert all(EndOfRun.model_validate(value) for value in ends)
