"""The steps that a script starts with srun, as far as they stand there in numbers: none may have more than the job.

Owns what is seen before the job runs; srun.sh refuses the rest when it is called.
"""

import re
import shlex
from collections.abc import Iterator

from atoll.cli.slurm.meaning import Demand
from atoll.cli.slurm.script import Script

_CALL = re.compile(r"^\s*(?:\w+=\S*\s+|exec\s+|time\s+)*srun\s+(.*)$")
_LONG = {"-n": "--ntasks", "-N": "--nodes", "-c": "--cpus-per-task", "-G": "--gpus"}
_COUNTED = frozenset({"--ntasks", "--nodes", "--cpus-per-task", "--gpus", "--gpus-per-node"})
# Options of srun without a value, after which the next word may be the command.
_FLAGS = frozenset(
    {"-u", "--unbuffered", "--overlap", "--exact", "--exclusive", "-v", "--verbose", "-Q", "--quiet", "-s",
     "--oversubscribe", "-K", "--kill-on-bad-exit", "-l", "--label", "--pty", "-Z", "--no-allocate"}
)  # fmt: skip


def excess(script: Script, demand: Demand) -> Iterator[str]:
    """Name each line whose srun asks for more than the job has, in numbers that stand there."""
    has = {
        "--nodes": 1,
        "--ntasks": demand.tasks,
        "--cpus-per-task": demand.cpus,
        "--gpus": demand.gpus,
        "--gpus-per-node": demand.gpus,
    }
    for number, call in _calls(script.text):
        for option, asked in _asked(call):
            if asked > has[option]:
                yield (
                    f"line {number}: srun {option}={asked}: is more than the job has, {has[option]}; "
                    f"ask for it in the #SBATCH lines{' (a script has one node here)' if option == '--nodes' else ''}"
                )


def _calls(text: str) -> Iterator[tuple[int, str]]:
    """Give the line number and the words after srun, where a line begins with it; lines that go on are joined."""
    number = 1
    for joined in re.split(r"(?<!\\)\n", text):
        if match := _CALL.match(joined.replace("\\\n", " ")):
            yield number, match[1]
        number += joined.count("\n") + 1


def _asked(call: str) -> Iterator[tuple[str, int]]:
    """Give the options before the command whose value is a number."""
    words = iter(_split(call))
    for word in words:
        if not word.startswith("-") or word == "--":
            return
        name, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
        if not equals and name not in _FLAGS:
            value = next(words, "")
        option, number = _LONG.get(name, name), value.rpartition(":")[2]
        if option in _COUNTED and re.fullmatch("[0-9]{1,9}", number):
            yield option, int(number)


def _split(call: str) -> list[str]:
    try:
        return shlex.split(call, comments=True)
    except ValueError:  # a quote that ends on a later line: the words before it are whole
        return re.split("['\"]", call, maxsplit=1)[0].split()
