"""Trigger: when a dataset completes, grows, or a time comes, create a Job from a template; exactly one for each."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from atoll.federation.cron import check_expression
from atoll.federation.resources.base import Condition, Labels, LabelSelector, Model, NonNegative, Resource
from atoll.federation.resources.job import JobSpec
from atoll.federation.resources.schedule import checked_zone

NamePattern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9*]([-a-z0-9.*]*[a-z0-9*])?$", max_length=253)]
Concurrency = Literal["Allow", "Forbid", "Replace"]
# What only a dataset can fill: a schedule has none.
_OF_DATASETS = ("{dataset}", "{version}", "{segments}")


class TriggerSource(Model):
    """Which datasets of its namespace count: by name (`*` is any run of characters) and by labels."""

    name: NamePattern = "*"
    selector: LabelSelector = LabelSelector()
    segments: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Create a job each time so many more segments of a growing version are closed, and one when it is "
        "complete; absent: only then. Inputs of such jobs say `when: Available`.",
    )


class TriggerSchedule(Model):
    """Times at which a job is created, whatever datasets do."""

    cron: str = Field(description="Minute, hour, day, month, weekday, as in cron: `30 2 * * 1-5`.", max_length=256)
    time_zone: str = Field(default="UTC", description="Zone of these times, by its IANA name.")
    missed: Literal["Skip", "Latest", "All"] = Field(
        default="Latest",
        description="What becomes of times at which no hub led for more than a minute: no job, one for the newest of "
        "them, or one for each, at most 100.",
    )

    _zone = field_validator("time_zone")(checked_zone)

    @field_validator("cron")
    @classmethod
    def _is_an_expression(cls, value: str) -> str:
        check_expression(value)
        return value


class JobTemplate(Model):
    """The Job to create. Placeholders in its name and in any string of its spec are replaced.

    `{dataset}` and `{version}`; `{segments}`, how many were closed then; for a schedule `{time}`, in UTC and fit for a
    name, such as 20261123t0230, and `{localTime}`, in its own zone, such as 2026-11-23T03:30.
    """

    name: str = Field(
        description="Such as picks-{dataset}; -v{version} is added if the template does not name the version, "
        "and for a schedule -{time}."
    )
    labels: Labels = Field(default_factory=dict)
    spec: dict[str, object] = Field(description="A JobSpec; checked with placeholders filled in by a sample name.")


class TriggerSpec(Model):
    """When what is created."""

    on: TriggerSource = TriggerSource()
    schedule: TriggerSchedule | None = Field(
        default=None, description="Create jobs at certain times, and not by datasets; `on` is left out then."
    )
    job: JobTemplate
    concurrency: Concurrency = Field(
        default="Allow",
        description="While a job of this trigger has not ended: Allow creates the next one beside it; Forbid waits "
        "with that of a dataset and leaves out that of a time; Replace cancels it.",
    )
    suspend: bool = Field(default=False, description="Create nothing; times that pass meanwhile are not made up for.")

    @model_validator(mode="after")
    def _is_of_one_sort(self) -> "TriggerSpec":
        if self.schedule is None:
            return self
        if self.on != TriggerSource():
            raise ValueError("on and schedule: give one of them; make two Triggers for both")
        used = [word for word in _OF_DATASETS if word in f"{self.job.name} {self.job.spec}"]
        if used:
            raise ValueError(f"job: {used[0]} has no meaning with a schedule, which is of no dataset; use {{time}}")
        return self


class TriggerFiring(Model):
    """One job that was created."""

    job: str = Field(description="Its name.")
    at: datetime = Field(description="When it was created.")
    dataset: str | None = Field(default=None, description="For which dataset; absent for a schedule.")
    version: NonNegative | None = Field(default=None, description="Version of the dataset; absent for a schedule.")
    scheduled_at: datetime | None = Field(default=None, description="For which time; absent for a dataset.")


class TriggerStatus(Model):
    """What it has done."""

    fired: NonNegative = 0
    last_job: str | None = None
    history: tuple[TriggerFiring, ...] = Field(default=(), description="The newest ten jobs, the newest first.")
    last_scheduled_at: datetime | None = Field(
        default=None, description="The newest time that was dealt with; absent before the first, and without schedule."
    )
    next_scheduled_at: datetime | None = Field(
        default=None, description="When the next job is due; absent without schedule, and while suspended."
    )
    conditions: tuple[Condition, ...] = ()
    observed_generation: int | None = None


class Trigger(Resource):
    """When a dataset completes, create a Job."""

    description: ClassVar[str] = "Creates a job each time a matching dataset completes or grows, or a time comes."

    kind: Literal["Trigger"] = "Trigger"
    spec: TriggerSpec
    status: TriggerStatus = TriggerStatus()


def fill(template: object, values: Mapping[str, str]) -> object:
    """Replace each `{name}` of the values in every string of a JSON value."""
    match template:
        case str():
            for name, value in values.items():
                template = template.replace(f"{{{name}}}", value)
            return template
        case dict():
            return {key: fill(value, values) for key, value in template.items()}
        case list() | tuple():
            return [fill(value, values) for value in template]
    return template


SAMPLE: Mapping[str, str] = {
    "dataset": "sample",
    "version": "1",
    "segments": "1",
    "time": "20261123t0230",
    "localTime": "2026-11-23T02:30",
}
"""Values by which a template is checked when it is written."""


def job_spec(template: JobTemplate, values: Mapping[str, str]) -> JobSpec:
    """Make the JobSpec for one firing.

    Raises:
        pydantic.ValidationError: the filled-in spec is no valid JobSpec.
    """
    return JobSpec.model_validate(fill(template.spec, values))
