"""Lines of a log are those that the program wrote: nothing from outside can end one, begin one, or steer a terminal."""

import json
import os
import subprocess
import sys

_PROGRAM = """
from atoll.cli.logs import configure_logging
import structlog

configure_logging("info")
log = structlog.get_logger("x")
hostile = "a\\n2026-01-01T00:00:00Z [info     ] root logged in\\r\\x1b[2J\\x9b2J\\u202e"
log.info("took in a reading", topic=hostile, bare="a\\x1b[2Jb")
log.info(hostile)
try:
    raise ValueError(hostile)
except ValueError:
    log.exception("failed")
"""


def logged(form: str) -> list[str]:
    """Give the lines of a process that logs something hostile in every place that there is."""
    environment = {**os.environ, "ATOLL_LOG_FORMAT": form}
    done = subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, check=True)
    return done.stderr.decode().split("\n")[:-1]


def test_no_line_on_a_terminal_begins_with_what_somebody_else_wrote() -> None:
    lines = logged("console")
    heads = [line for line in lines if not line.startswith("  ")]
    assert len(heads) == 3 and not any(head.startswith("2026-01-01") for head in heads)
    assert all(character.isprintable() for line in lines for character in line)
    assert "bare=a\\u001b[2Jb" in heads[0]


def test_a_line_of_json_is_one_record() -> None:
    records = [json.loads(line) for line in logged("json")]
    assert [record["level"] for record in records] == ["info", "info", "error"]
    assert "root logged in" in records[0]["topic"]
