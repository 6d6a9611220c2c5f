"""No command ends in a traceback: what nobody foresaw is a line, a file to report, and more for who asks for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from atoll.cli.failure import report
from atoll.federation.errors import Unavailable

PLANT = """
import atoll.cli.contexts as contexts
def show(output):
    raise ZeroDivisionError("planted")
contexts.show = show
import sys
sys.argv = ["atoll", "context", "list"]
from atoll.cli.main import run
run()
"""


def planted(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in which something breaks that nobody thought of."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder), **variables}
    command = [sys.executable, "-c", PLANT]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)


def test_what_nobody_foresaw_is_a_line_and_a_file(tmp_path: Path) -> None:
    """The traceback is in the file; on the terminal it is for who sets ATOLL_DEBUG."""
    done = planted(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert lines[0] == "error: this is a bug in Atoll: ZeroDivisionError: planted"
    assert "Traceback" not in done.stderr
    path = Path(lines[1].rpartition(" ")[2])
    assert "ZeroDivisionError: planted" in path.read_text()
    assert path.read_text().startswith("atoll ")
    assert "Traceback" in planted(tmp_path, ATOLL_DEBUG="1").stderr


def test_what_was_foreseen_is_one_line_and_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert report(ExceptionGroup("several tasks", [Unavailable("NATS is away")])) == 1
    assert capsys.readouterr().err == "error: NATS is away\n"
    assert list(tmp_path.iterdir()) == []
