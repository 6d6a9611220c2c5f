"""How people know the tasks of an array: from 0 on, or by the indexes that they gave to sbatch."""

import re
from collections.abc import Iterable, Iterator, Sequence

from atoll.cli.slurm import values
from atoll.cli.slurm.job import ARRAY_ANNOTATION
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import Job
from atoll.federation.tasks import Tasks

# What agents write before a line of a task (edge/member/logs.py).
_PREFIX = re.compile(rb"\[(\d+)\] ")


def number_of(job: Job, task: int) -> int:
    """Give the number of a task from 0 on.

    Raises:
        InvalidInput: no task of sbatch's array has that index.
    """
    indexes = job.metadata.annotations.get(ARRAY_ANNOTATION)
    if not indexes:
        return task
    number = next((number for number, each in enumerate(values.array(indexes).ids) if each == task), None)
    if number is None:
        raise InvalidInput(f"--task {task}: job/{job.metadata.name} is the array {indexes}: give one of these")
    return number


def known_lines(job: Job, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Give the lines of a log with the tasks before them as who submitted the job knows them: `[4] …`."""
    indexes = job.metadata.annotations.get(ARRAY_ANNOTATION)
    if not indexes:
        yield from chunks
        return
    ids = tuple(values.array(indexes).ids)
    left = b""
    for chunk in chunks:
        *whole, left = (left + chunk).splitlines(keepends=True) or [b""]
        if left.endswith((b"\n", b"\r")):
            whole, left = [*whole, left], b""
        yield b"".join(_renamed(line, ids) for line in whole)
    yield _renamed(left, ids)


def _renamed(line: bytes, ids: Sequence[int]) -> bytes:
    found = _PREFIX.match(line)
    return b"[%d] " % ids[int(found[1])] + line[found.end() :] if found and int(found[1]) < len(ids) else line


def known_as(job: Job, tasks: Tasks) -> Tasks:
    """Give tasks as who submitted the job knows them."""
    indexes = job.metadata.annotations.get(ARRAY_ANNOTATION)
    if not indexes:
        return tasks
    wanted = set(tasks)
    return Tasks.of(each for number, each in enumerate(values.array(indexes).ids) if number in wanted)
