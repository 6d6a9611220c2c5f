"""Turns what went wrong into lines on stderr and an exit code.

A traceback goes to a file; to the terminal only for who sets $ATOLL_DEBUG to 1.
"""

import os
import platform
import sys
import tempfile
import traceback
from pathlib import Path

from atoll import __version__
from atoll.cli.visible import visible
from atoll.federation.errors import AtollError, InvalidInput

DEBUG_VARIABLE = "ATOLL_DEBUG"


def report(error: Exception) -> int:
    """Tell a person what went wrong and what to do; give the exit code."""
    if os.environ.get(DEBUG_VARIABLE) == "1":
        _say("".join(traceback.format_exception(error)).rstrip())
    error = _cause(error)
    if isinstance(error, InvalidInput):
        _say(f"error: {error}", *(f"  {problem}" for problem in error.problems))
    elif isinstance(error, AtollError):
        _say(f"error: {error}")
    elif isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        _say(f"error: {error.strerror or error}{where}")
    else:
        _say(*_bug(error))
    return 1


def _cause(error: Exception) -> Exception:
    """Take the one failure out of the groups that tasks wrap it in; of several failures the group stays."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _bug(error: Exception) -> tuple[str, ...]:
    path = _write_traceback(error)
    return (
        f"error: this is a bug in Atoll: {type(error).__name__}: {error}",
        f"  Please report it with the file {path}" if path else "  Please report it.",
        "  atoll support-bundle collects what helps to find it, without secrets.",
    )


def _write_traceback(error: Exception) -> Path | None:
    try:
        with tempfile.NamedTemporaryFile("w", prefix="atoll-bug-", suffix=".txt", delete=False) as file:
            file.write(f"atoll {__version__}, Python {platform.python_version()}, {platform.platform()}\n")
            file.write(f"{' '.join(sys.argv)}\n\n")
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return None
    return Path(file.name)


def _say(*lines: str) -> None:
    for line in lines:
        sys.stderr.write(visible(line) + "\n")
