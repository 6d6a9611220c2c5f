"""How people know the tasks of an array: from 0 on, or by the indexes that they gave to sbatch."""

from atoll.cli.slurm import values
from atoll.cli.slurm.job import ARRAY_ANNOTATION
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import Job
from atoll.federation.tasks import Tasks


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


def known_as(job: Job, tasks: Tasks) -> Tasks:
    """Give tasks as who submitted the job knows them."""
    indexes = job.metadata.annotations.get(ARRAY_ANNOTATION)
    if not indexes:
        return tasks
    wanted = set(tasks)
    return Tasks.of(each for number, each in enumerate(values.array(indexes).ids) if number in wanted)
