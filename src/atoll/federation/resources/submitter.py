"""Submitter: whose a job is, and who may submit to a queue.

Owns the annotations that say whose it is, and the part of a Queue that names people. The hub writes the annotation from
whom it has authenticated, and takes none from a request.
"""

from typing import Annotated

from pydantic import Field

from atoll.federation.resources.base import Model, Resource
from atoll.federation.resources.job import Job

SUBMITTER = "atoll.dev/submitter"
QUEUE = "atoll.dev/queue"
"""On a Run, beside the submitter: what it takes is charged to these even when its job is gone."""
# As RoleBinding bounds the names of its subjects.
SubjectName = Annotated[str, Field(min_length=1, max_length=253)]


class Submitters(Model):
    """Who may submit to a queue; nobody named means that it is not limited here."""

    users: tuple[SubjectName, ...] = Field(default=(), description="Users by the names under which the hub knows them.")
    groups: tuple[SubjectName, ...] = Field(default=(), description="Groups whose members may submit.")

    @property
    def is_empty(self) -> bool:
        """Whether nobody is named."""
        return not self.users and not self.groups


def charged_to(job: Job) -> dict[str, str]:
    """Give the annotations of a run of a job."""
    user = submitter_of(job)
    return {QUEUE: job.spec.queue, **({SUBMITTER: user} if user else {})}


def submitter_of(resource: Resource) -> str:
    """Name the user whose a job, a run or a trigger is; empty if it is older than the annotation."""
    return resource.metadata.annotations.get(SUBMITTER, "")
