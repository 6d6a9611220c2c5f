"""The container of a batch job: how the script gets into it, what runs it, and the variables that Slurm would set.

Owns the shell programs beside it. Kubernetes replaces $(NAME) in arguments and variables: all text is guarded from it.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import PurePosixPath

from atoll.cli.slurm.meaning import Demand
from atoll.cli.slurm.values import Array

SPOOL = "/var/spool/atoll"
"""Where job.sh keeps the script, as slurmd has it below /var/spool."""
# Linux takes 128 KiB for one argument (execve(2), MAX_ARG_STRLEN); a character has four bytes at most.
_PART_CHARACTERS = 24_000
_MEBIBYTE = 1024 * 1024
# What Kubernetes' expansion would change (third_party/forked/golang/expansion): $$ is a dollar, $( may be a reference.
_EXPANDED = re.compile(r"\$\$+|\$(?=\()")


@dataclass(frozen=True)
class Files:
    """The files that are kept of what a script prints, as words of sh; an error file apart may be in the log only."""

    output: str | None = None
    error: str | None = None
    is_error_apart: bool = False


def command(interpreter: Sequence[str], number: int, array: Array | None, files: Files) -> list[str]:
    """Give the command of the container: job.sh, told what is this job's own."""
    runs = " ".join(f"{run.first}:{run.step}:{run.count}" for run in array.runs) if array else ""
    lines = [
        f"atoll_id={number}",
        f"atoll_runs={shlex.quote(runs)}",
        f"atoll_error_apart={'yes' if files.is_error_apart else ''}",
        f'interpret() {{ exec {_executed(interpreter)} "$@"; }}',
        f"output_file() {{ printf %s {files.output}; }}" if files.output else "output_file() { :; }",
        f"error_file() {{ printf %s {files.error}; }}" if files.error else "error_file() { :; }",
    ]
    return ["/bin/sh", "-c", guarded("\n".join([*lines, _program("job.sh")])), "slurm_script"]


def arguments(text: str, given: Sequence[str]) -> list[str]:
    """Give the arguments of the container: the programs beside the script, its text in parts, and its arguments."""
    parts = [text[at : at + _PART_CHARACTERS] for at in range(0, len(text), _PART_CHARACTERS)]
    words = [_program("srun.sh"), _program("scontrol.sh"), str(len(parts)), *parts, *given]
    return [guarded(word) for word in words]


def variables(demand: Demand, *, user: str) -> dict[str, str]:
    """Give the variables that are known before the job runs; sbatch(1), "output environment variables"."""
    tasks, cpus = str(demand.tasks), str(demand.cpus)
    known = {
        "ENVIRONMENT": "BATCH",
        "SLURM_JOB_NAME": demand.name,
        "SLURM_JOB_PARTITION": demand.partition or demand.queue,
        "SLURM_JOB_ACCOUNT": demand.account,
        "SLURM_JOB_USER": user,
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_NNODES": "1",
        "SLURM_NTASKS": tasks,
        "SLURM_NPROCS": tasks,
        "SLURM_TASKS_PER_NODE": tasks,
        "SLURM_NODEID": "0",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_CPUS_ON_NODE": cpus,
        "SLURM_JOB_CPUS_PER_NODE": cpus,
        "SLURM_CPUS_PER_TASK": str(demand.cpus_per_task) if demand.cpus_per_task else None,
        "SLURM_MEM_PER_NODE": str(demand.memory_bytes // _MEBIBYTE) if demand.memory_bytes else None,
        **_of_gpus(demand.gpus),
        **_of_array(demand.array),
    }
    own = {name: value for name, value in known.items() if value is not None}
    return {name: guarded(value) for name, value in {**demand.variables, **own}.items()}


def guarded(text: str) -> str:
    """Write a text so that it is the same after Kubernetes has replaced references in it."""
    return _EXPANDED.sub(lambda match: match[0] * 2, text)


def _of_gpus(count: int) -> Mapping[str, str]:
    return {f"SLURM_{name}": str(count) for name in ("GPUS", "GPUS_ON_NODE", "GPUS_PER_NODE")} if count else {}


def _of_array(array: Array | None) -> Mapping[str, str]:
    if array is None:
        return {}
    first, last = array.runs[0], array.runs[-1]
    told = {"COUNT": array.count, "MIN": first.first, "MAX": last.last, "STEP": first.step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in told.items()}


def _executed(interpreter: Sequence[str]) -> str:
    """Write the interpreter for sh; what a login bash reads makes PATH anew, without srun, so it is put back."""
    program, flags = interpreter[0], "".join(interpreter[1:])
    is_login = flags == "--login" or re.fullmatch("-[a-z]*l[a-z]*", flags)
    if PurePosixPath(program).name != "bash" or not is_login:
        return shlex.join(interpreter)
    others = "" if flags == "--login" else flags.replace("l", "")
    again = shlex.join([program, *([others] if len(others) > 1 else [])])
    return shlex.join([program, "-l", "-c", f'PATH={SPOOL}/bin:$PATH exec {again} "$@"', program])


@cache
def _program(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text()
