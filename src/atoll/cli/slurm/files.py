"""The files that `--output` and `--error` name: which of them are kept, and their names with Slurm's patterns in sh.

A container has no file system that others read but its outputs: a file is kept if it is below one of them.
"""

import posixpath
import re
import shlex
from collections.abc import Sequence

from atoll.cli.slurm.script import Given
from atoll.federation.errors import InvalidInput

# sbatch(1), "filename pattern"; a number between pads with zeros, to ten digits at most.
_PATTERN = re.compile(r"%(?:%|([0-9]{0,2})([A-Za-z]))")
_MAX_DIGITS = 10
# What %a is where there is no array (slurm.h, NO_VAL).
_NO_TASK = "${SLURM_ARRAY_TASK_ID:-4294967294}"
_VARIABLES = {"j": "$SLURM_JOB_ID", "J": "$SLURM_JOB_ID", "A": "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}", "a": _NO_TASK,
              "N": "$SLURMD_NODENAME"}  # fmt: skip
_FIXED = {"n": "0", "t": "0", "s": "batch"}


def kept_file(given: Given | None, folder: str | None, outputs: Sequence[str]) -> tuple[str | None, str | None]:
    """Give the path of a file if it is below one of the output paths, and a note where it is not. Pure."""
    if given is None or given.value == "/dev/null":
        return None, None
    path = posixpath.normpath(posixpath.join(folder or "", given.value))
    if any(path.startswith(f"{output.rstrip('/')}/") for output in outputs):
        return path, None
    remedy = "to keep a file, give --output-dataset DATASET:/PATH and a name below /PATH"
    return None, f"{given} becomes no file: atoll job logs shows what would stand in it; {remedy}"


def shell_word(path: str, *, job_name: str, user: str) -> str:
    """Write a path with patterns as a word of sh.

    Raises:
        InvalidInput: a pattern is not one of sbatch's.
    """
    fixed = _FIXED | {"x": job_name.replace("/", "_"), "u": user}
    word, at = "", 0
    for match in _PATTERN.finditer(path):
        word += _quoted(path[at : match.start()])
        at, letter = match.end(), match[2]
        digits = min(int(match[1] or 0), _MAX_DIGITS)
        if letter is None:
            word += "%"
        elif letter in _VARIABLES:
            value = f'"{_VARIABLES[letter]}"'
            word += f"$(printf %0{digits}d {value})" if digits and letter != "N" else value
        elif letter in fixed:
            word += _quoted(fixed[letter].zfill(digits))
        else:
            raise InvalidInput(f"{match[0]} is no pattern of sbatch")
    return word + _quoted(path[at:])


def _quoted(text: str) -> str:
    return shlex.quote(text) if text else ""
