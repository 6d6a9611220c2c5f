"""What a trigger owes: which jobs, for which version, segments or time, and under which names. Pure.

A job's name follows from what it is for, so that a crash between any two steps creates nothing twice.
"""

import fnmatch
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from atoll.federation.cron import due
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import Dataset, Job, ObjectMeta, Trigger
from atoll.federation.resources.dataset import VersionStatus
from atoll.federation.resources.job import JobSpec
from atoll.federation.resources.submitter import SUBMITTER, submitter_of
from atoll.federation.resources.trigger import fill, job_spec
from atoll.federation.resources.validation import problems

TRIGGER_LABEL, DATASET_LABEL = "atoll.dev/trigger", "atoll.dev/dataset"
_MARK_PREFIX, _SEGMENTS_PREFIX = "trigger.atoll.dev/", "segments.trigger.atoll.dev/"
# creationTimestamp counts whole seconds: a version that completes in the second of the trigger's creation counts.
_RESOLUTION = timedelta(seconds=1)
# A time that is dealt with later than this was missed: a hub that takes over needs some seconds.
_LATE = timedelta(minutes=1)
_MOST_MISSED = 100


@dataclass(frozen=True)
class Firing:
    """One job that is owed. `segments` is set where it is for so many segments, `at` where it is for a time."""

    name: str
    values: Mapping[str, str]
    dataset: Dataset | None = None
    version: int | None = None
    segments: int | None = None
    at: datetime | None = None

    @property
    def about(self) -> str:
        """Say what it is for."""
        if self.dataset is None:
            return f"it is {self.at:%Y-%m-%d %H:%M} UTC"
        what = f"{self.dataset.metadata.name} version {self.version}"
        return f"{what} has {self.segments} segments" if self.segments is not None else f"{what} is complete"


def owed_by_dataset(trigger: Trigger, dataset: Dataset) -> tuple[Firing, ...]:
    """Give the jobs that a trigger owes for a dataset: its versions in order, then what its growing one has."""
    spec = trigger.spec
    if spec.suspend or spec.schedule is not None or not _means(trigger, dataset):
        return ()
    return (*_for_versions(trigger, dataset), *_for_segments(trigger, dataset))


def owed_by_schedule(trigger: Trigger, now: datetime) -> tuple[Firing, ...]:
    """Give the jobs that a trigger owes for times that have come; times before its creation do not count."""
    schedule, began = trigger.spec.schedule, since_of(trigger, now)
    if schedule is None or trigger.spec.suspend:
        return ()
    times = due(schedule.cron, schedule.time_zone, after=began, until=now, most=_MOST_MISSED)
    if schedule.missed == "Skip":
        times = tuple(at for at in times if now - at <= _LATE)
    elif schedule.missed == "Latest":
        times = (*(at for at in times[:-1] if now - at <= _LATE), *times[-1:])
    return tuple(_at(trigger, at, schedule.time_zone) for at in times)


def since_of(trigger: Trigger, now: datetime) -> datetime:
    """Give the instant up to which a schedule has been dealt with."""
    return trigger.status.last_scheduled_at or trigger.metadata.creation_timestamp or now


def dealt_with(trigger: Trigger, now: datetime) -> datetime | None:
    """Give the newest time that has come, which is dealt with whether it made a job or not; None if none has yet."""
    schedule = trigger.spec.schedule
    if schedule is None:
        return None
    times = due(schedule.cron, schedule.time_zone, after=since_of(trigger, now), until=now, most=1)
    return times[-1] if times else trigger.status.last_scheduled_at


def make_job(trigger: Trigger, firing: Firing) -> Job:
    """Make the job that is owed.

    Raises:
        InvalidInput: the template, filled in, is no valid job.
    """
    labels = {**trigger.spec.job.labels, TRIGGER_LABEL: trigger.metadata.name}
    annotations = _submitter(trigger)
    if firing.dataset is not None:
        labels[DATASET_LABEL] = firing.dataset.metadata.name
        annotations["atoll.dev/dataset-version"] = str(firing.version)
    try:
        spec = job_spec(trigger.spec.job, firing.values)
        metadata = ObjectMeta(
            name=firing.name,
            namespace=trigger.metadata.namespace,
            labels={key: value for key, value in labels.items() if len(value) <= 63},
            annotations=annotations,
        )
        return Job(metadata=metadata, spec=spec)
    except ValidationError as error:
        found = problems(error, JobSpec, prefix="spec.job.spec")
        raise InvalidInput("; ".join(f"{item.field}: {item.message}" for item in found), found) from error


# --- what was done, marked on the dataset


def fired_versions(dataset: Dataset, trigger: str) -> tuple[int, ...]:
    """Give the versions of a dataset that a trigger has made jobs for."""
    text = dataset.metadata.annotations.get(_mark(_MARK_PREFIX, trigger), "")
    spans = (part.partition("-") for part in text.split(",") if part)
    return tuple(number for first, _, last in spans for number in range(int(first), int(last or first) + 1))


def fired_segments(dataset: Dataset, trigger: str, version: int) -> int:
    """Give up to how many segments of a version a trigger has made jobs."""
    text = dataset.metadata.annotations.get(_mark(_SEGMENTS_PREFIX, trigger), "")
    marked, _, count = text.partition(":")
    return int(count) if marked == str(version) and count.isdigit() else 0


def with_mark(dataset: Dataset, trigger: str, firing: Firing) -> Dataset:
    """Note on a dataset that a trigger has made a job, so that deleting the job does not bring it back."""
    if firing.segments is not None:
        mark = {_mark(_SEGMENTS_PREFIX, trigger): f"{firing.version}:{firing.segments}"}
    else:
        versions = sorted({*fired_versions(dataset, trigger), firing.version or 0})
        mark = {_mark(_MARK_PREFIX, trigger): ",".join(_spans(versions))}
    annotations = {**dataset.metadata.annotations, **mark}
    return dataset.model_copy(update={"metadata": dataset.metadata.model_copy(update={"annotations": annotations})})


def _spans(versions: list[int]) -> Iterator[str]:
    """Write ascending numbers as `1-4,7`: a dataset of years has thousands of versions."""
    first = last = versions[0]
    for number in [*versions[1:], 0]:
        if number == last + 1:
            last = number
            continue
        yield str(first) if first == last else f"{first}-{last}"
        first = last = number


def _mark(prefix: str, trigger: str) -> str:
    """Name the annotation of a trigger; the part after the slash has at most 63 characters."""
    if len(trigger) <= 63:
        return prefix + trigger
    return f"{prefix}{trigger[:52].rstrip('.-')}-{hashlib.sha256(trigger.encode()).hexdigest()[:10]}"


# --- what is owed


def _means(trigger: Trigger, dataset: Dataset) -> bool:
    if dataset.metadata.deletion_timestamp is not None:
        return False
    pattern = re.compile(fnmatch.translate(trigger.spec.on.name))
    return bool(pattern.match(dataset.metadata.name)) and trigger.spec.on.selector.matches(dataset.metadata.labels)


def _for_versions(trigger: Trigger, dataset: Dataset) -> Iterator[Firing]:
    """Versions that completed since the trigger exists, also those that the next one has overtaken."""
    done, created = set(fired_versions(dataset, trigger.metadata.name)), trigger.metadata.creation_timestamp
    for version in reversed(_complete(dataset)):
        is_new = created is None or (version.completed_at or created) + _RESOLUTION >= created
        if is_new and version.version not in done:
            yield _of(trigger, dataset, version.version)


def _complete(dataset: Dataset) -> tuple[VersionStatus, ...]:
    status = dataset.status
    listed = tuple(each for each in status.versions if each.complete and each.completed_at is not None)
    if listed or not status.complete or status.completed_at is None:
        return listed
    return (VersionStatus(version=status.version, complete=True, completed_at=status.completed_at),)


def _for_segments(trigger: Trigger, dataset: Dataset) -> Iterator[Firing]:
    every, status = trigger.spec.on.segments, dataset.status
    if every is None or status.complete or not status.version:
        return
    done = fired_segments(dataset, trigger.metadata.name, status.version)
    for count in range(done - done % every + every, status.ledger.segments + 1, every):
        yield _of(trigger, dataset, status.version, segments=count)


def _of(trigger: Trigger, dataset: Dataset, version: int, *, segments: int | None = None) -> Firing:
    template = trigger.spec.job.name
    count = segments if segments is not None else dataset.status.ledger.segments
    values = {"dataset": dataset.metadata.name, "version": str(version), "segments": str(count), "time": ""}
    name = str(fill(template, values))
    name += "" if "{version}" in template else f"-v{version}"
    name += "" if segments is None or "{segments}" in template else f"-s{segments}"
    return Firing(name, values, dataset, version, segments)


def _at(trigger: Trigger, at: datetime, zone: str) -> Firing:
    # UTC in names: in the night when clocks go back an hour comes twice. The zone's own time is for people to read.
    values = {"time": f"{at:%Y%m%dt%H%M}"}
    template = trigger.spec.job.name
    name = str(fill(template, values)) + ("" if "{time}" in template else f"-{values['time']}")
    return Firing(name, {**values, "localTime": f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%dT%H:%M}"}, at=at)


def _submitter(trigger: Trigger) -> dict[str, str]:
    """Make the job that of whoever wrote last what the trigger runs: nobody asks again when it fires."""
    name = submitter_of(trigger)
    return {SUBMITTER: name} if name else {}
