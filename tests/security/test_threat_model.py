"""docs/security.md names a test for each control: every one of them exists, and no line of a table goes without."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
_NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
_HELD_BY_NONE = "**no test**"


def test_every_test_that_the_page_names_exists() -> None:
    """By its file and its name: a test that was renamed is named anew here."""
    named = _NAMED.findall(PAGE)
    assert len(named) > 80
    for path, name in named:
        text = (ROOT / path).read_text() if (ROOT / path).exists() else ""
        assert re.search(rf"^\s*(async )?def {name}\(" if name else ".", text, re.MULTILINE), f"{path}::{name}"


def test_every_line_of_a_threat_has_a_control_and_a_test_or_says_that_it_has_none() -> None:
    rows = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line]
    threats = [row for row in rows if row[0].strip() != "attempt"]
    assert len(threats) > 40
    for row in threats:
        assert len(row) == 3 and row[1].strip(), row
        assert _NAMED.search(row[2]) or _HELD_BY_NONE in row[2], row


def test_the_page_names_whole_tests_and_not_files() -> None:
    """A file may lose the one test that mattered; only those that are about nothing else may be named whole."""
    whole = {path for path, name in _NAMED.findall(PAGE) if not name}
    assert whole <= {"tests/security/test_fuzzed_parsers.py", "tests/security/test_threat_model.py"}
