"""Triggers: a dataset version that completes creates exactly one Job per matching Trigger.

Owns those Jobs' creation and Trigger.status. The Job's name follows from trigger, dataset and version, so that a crash
between any two steps creates nothing twice; that it was created is then marked on the Dataset, so that deleting the
Job does not bring it back.
"""

import fnmatch
import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from atoll.federation.errors import Conflict, InvalidInput
from atoll.federation.resources import Dataset, Job, ObjectMeta, Trigger, TriggerStatus
from atoll.federation.resources.job import JobSpec
from atoll.federation.resources.submitter import SUBMITTER, submitter_of
from atoll.federation.resources.trigger import fill, job_spec
from atoll.federation.resources.validation import problems
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.runtime import DONE, Key, Objects, Outcome, RequeueAfter, Source, own_key

TRIGGER_LABEL, DATASET_LABEL = "atoll.dev/trigger", "atoll.dev/dataset"
_MARK_PREFIX = "trigger.atoll.dev/"
# A job that is refused (its queue was deleted, say) is tried again at this pace: the completed version waits for it.
_REFUSED_SECONDS = 15.0
# creationTimestamp counts whole seconds: a version that completes in the second of the trigger's creation counts.
_RESOLUTION = timedelta(seconds=1)


def matches(trigger: Trigger, dataset: Dataset) -> bool:
    """Tell whether a trigger means a dataset as it is now: completed since the trigger exists, by name and labels."""
    completed, created = dataset.status.completed_at, trigger.metadata.creation_timestamp
    if not dataset.status.complete or completed is None or trigger.spec.suspend:
        return False
    if created is not None and completed + _RESOLUTION < created:
        return False
    pattern = re.compile(fnmatch.translate(trigger.spec.on.name))
    return bool(pattern.match(dataset.metadata.name)) and trigger.spec.on.selector.matches(dataset.metadata.labels)


def job_name(trigger: Trigger, dataset: Dataset) -> str:
    """Name the Job of one completed version."""
    template, version = trigger.spec.job.name, dataset.status.version
    name = str(fill(template, dataset.metadata.name, version))
    return name if "{version}" in template else f"{name}-v{version}"


def make_job(trigger: Trigger, dataset: Dataset) -> Job:
    """Make the Job of one completed version.

    Raises:
        InvalidInput: the template, filled in, is no valid job.
    """
    name = job_name(trigger, dataset)
    labels = {**trigger.spec.job.labels, TRIGGER_LABEL: trigger.metadata.name, DATASET_LABEL: dataset.metadata.name}
    try:
        spec = job_spec(trigger.spec.job, dataset.metadata.name, dataset.status.version)
        metadata = ObjectMeta(
            name=name,
            namespace=trigger.metadata.namespace,
            labels={key: value for key, value in labels.items() if len(value) <= 63},
            annotations={"atoll.dev/dataset-version": str(dataset.status.version), **_submitter(trigger)},
        )
        return Job(metadata=metadata, spec=spec)
    except ValidationError as error:
        found = problems(error, JobSpec, prefix="spec.job.spec")
        raise InvalidInput("; ".join(f"{item.field}: {item.message}" for item in found), found) from error


def _submitter(trigger: Trigger) -> dict[str, str]:
    """Make the job that of whoever wrote last what the trigger runs: nobody asks again when it fires."""
    name = submitter_of(trigger)
    return {SUBMITTER: name} if name else {}


def _mark(trigger: str) -> str:
    """Name the annotation of a trigger; the part after the slash has at most 63 characters."""
    if len(trigger) <= 63:
        return _MARK_PREFIX + trigger
    return f"{_MARK_PREFIX}{trigger[:52].rstrip('.-')}-{hashlib.sha256(trigger.encode()).hexdigest()[:10]}"


def fired_versions(dataset: Dataset, trigger: str) -> tuple[int, ...]:
    """Give the versions of a dataset that a trigger has made jobs for."""
    text = dataset.metadata.annotations.get(_mark(trigger), "")
    return tuple(int(part) for part in text.split(",") if part)


def with_mark(dataset: Dataset, trigger: str) -> Dataset:
    """Note on a dataset that a trigger has made the job of its current version."""
    versions = sorted({*fired_versions(dataset, trigger), dataset.status.version})
    annotations = {**dataset.metadata.annotations, _mark(trigger): ",".join(map(str, versions))}
    return dataset.model_copy(update={"metadata": dataset.metadata.model_copy(update={"annotations": annotations})})


class TriggerController:
    """Creates Jobs for completed datasets, and keeps Trigger.status."""

    name = "triggers"

    def __init__(self, context: Context) -> None:
        self._context = context

    def sources(self) -> Sequence[Source]:
        """Watch triggers, and datasets of their namespace."""
        context = self._context
        return (Objects(context.client, Trigger, own_key), Objects(context.client, Dataset, self._triggers_of))

    async def _triggers_of(self, dataset: Dataset) -> Iterable[Key]:
        if not dataset.status.complete:
            return []
        found = await self._context.client.list(Trigger, dataset.metadata.namespace)
        return [(trigger.metadata.namespace or "", trigger.metadata.name) for trigger in found]

    async def reconcile(self, key: Key) -> Outcome:
        """Make the jobs that one trigger owes."""
        context, (namespace, name) = self._context, key
        trigger = await context.client.get(Trigger, namespace, name)
        if trigger is None or trigger.metadata.deletion_timestamp is not None:
            return DONE
        refused: str | None = None
        newest: str | None = None
        for dataset in await context.client.list(Dataset, namespace):
            if matches(trigger, dataset) and dataset.status.version not in fired_versions(dataset, name):
                try:
                    newest = await self._fire(trigger, dataset)
                except InvalidInput as error:
                    refused = f"{dataset.metadata.name}: {error}"
        await self._write_status(trigger, newest, refused)
        return DONE if refused is None else RequeueAfter(_REFUSED_SECONDS)

    async def _fire(self, trigger: Trigger, dataset: Dataset) -> str:
        """Create one job, then mark it; both may have happened already."""
        context, job = self._context, make_job(trigger, dataset)
        try:
            created = await context.client.create(job)
        except Conflict:
            created = None
        await context.client.update(with_mark(dataset, trigger.metadata.name))
        if created is not None:
            about = f"{dataset.metadata.name} version {dataset.status.version} is complete: created job {created.key}"
            await context.events.record(trigger, "Fired", about)
        return job.metadata.name

    async def _write_status(self, trigger: Trigger, newest: str | None, refused: str | None) -> None:
        context, name = self._context, trigger.metadata.name
        datasets = await context.client.list(Dataset, trigger.metadata.namespace)
        fired = sum(len(fired_versions(dataset, name)) for dataset in datasets)
        status = trigger.status.model_copy(
            update=self._fields(trigger, max(fired, trigger.status.fired), newest, refused)
        )
        await context.client.update_status(trigger.model_copy(update={"status": status}))
        if refused is not None:
            await context.events.record(trigger, "JobRefused", refused, is_warning=True)

    def _fields(self, trigger: Trigger, fired: int, newest: str | None, refused: str | None) -> dict[str, Any]:
        status: TriggerStatus = trigger.status
        conditions = with_condition(
            status.conditions,
            "Ready",
            refused is None,
            reason="JobRefused" if refused is not None else "Watching",
            message=refused or "",
            now=self._context.clock(),
        )
        return {
            "fired": fired,
            "last_job": newest or status.last_job,
            "conditions": conditions,
            "observed_generation": trigger.metadata.generation,
        }
