"""Trigger: when a dataset completes, create a Job from a template; exactly one per completed version."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from atoll.federation.resources.base import Condition, Labels, LabelSelector, Model, NonNegative, Resource
from atoll.federation.resources.job import JobSpec

NamePattern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9*]([-a-z0-9.*]*[a-z0-9*])?$", max_length=253)]


class TriggerSource(Model):
    """Which datasets of its namespace count: by name (`*` is any run of characters) and by labels."""

    name: NamePattern = "*"
    selector: LabelSelector = LabelSelector()


class JobTemplate(Model):
    """The Job to create. `{dataset}` and `{version}` in its name and in any string of its spec are replaced."""

    name: str = Field(
        description="Such as picks-{dataset}; -v{version} is added if the template does not name the version."
    )
    labels: Labels = Field(default_factory=dict)
    spec: dict[str, object] = Field(description="A JobSpec; checked with placeholders filled in by a sample name.")


class TriggerSpec(Model):
    """When what is created."""

    on: TriggerSource = TriggerSource()
    job: JobTemplate
    suspend: bool = False


class TriggerStatus(Model):
    """What it has done."""

    fired: NonNegative = 0
    last_job: str | None = None
    conditions: tuple[Condition, ...] = ()
    observed_generation: int | None = None


class Trigger(Resource):
    """When a dataset completes, create a Job."""

    description: ClassVar[str] = "Creates a job each time a matching dataset completes."

    kind: Literal["Trigger"] = "Trigger"
    spec: TriggerSpec
    status: TriggerStatus = TriggerStatus()


def fill(template: object, dataset: str, version: int) -> object:
    """Replace `{dataset}` and `{version}` in every string of a JSON value."""
    match template:
        case str():
            return template.replace("{dataset}", dataset).replace("{version}", str(version))
        case dict():
            return {key: fill(value, dataset, version) for key, value in template.items()}
        case list() | tuple():
            return [fill(value, dataset, version) for value in template]
    return template


def job_spec(template: JobTemplate, dataset: str, version: int) -> JobSpec:
    """Make the JobSpec for one completed dataset version.

    Raises:
        pydantic.ValidationError: the filled-in spec is no valid JobSpec.
    """
    return JobSpec.model_validate(fill(template.spec, dataset, version))
