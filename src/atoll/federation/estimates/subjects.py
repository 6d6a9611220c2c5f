"""Whose run times belong together: the same image and command in the same namespace, doing as many tasks."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from atoll.federation.resources import Job, JobSpec
from atoll.federation.resources.submitter import SUBMITTER

# Deeper than any workload kind has its pod templates.
_MOST_DEPTH = 12
_WORDS = 1024
_DIGIT = re.compile(rb"[0-9]")
# What was learned in another form than this is not found any more, and makes room as the longest unused.
_FORM = "by command"


@dataclass(frozen=True)
class Subject:
    """What a job is to those who learn from it.

    `images` stands for its images and the number of its tasks, `command` for what those are told to do.
    """

    namespace: str
    images: str
    command: str
    user: str

    @property
    def key(self) -> str:
        """Under which the history of its images is kept."""
        return f"{self.namespace}/{self.images}"


def subject_of(job: Job) -> Subject:
    """Tell what a job is to those who learn from it."""
    workload = job.spec.workload.manifest()
    submitter = job.metadata.annotations.get(SUBMITTER, "")
    return Subject(job.metadata.namespace or "", _digest(_images(job.spec)), command_of(workload), submitter)


def command_of(workload: Mapping[str, Any]) -> str:
    """Give a short word for what a workload's containers are told to do; empty if nothing, which the image then knows.

    Numbers of as many digits count as equal in it: they are days, parts and seeds. Words are few, so that a million
    jobs of one template, each with names of its own, are not a million sorts of work: of two commands, one pair in a
    thousand shares a word.
    """
    told = [[each.get("command"), each.get("args")] for each in _containers(workload.get("spec"), _MOST_DEPTH)]
    if not any(part for each in told for part in each):
        return ""
    template = _DIGIT.sub(b"#", orjson.dumps(told))
    return f"{int.from_bytes(blake2b(template, digest_size=2).digest()) % _WORDS:03x}"


def _images(spec: JobSpec) -> list[object]:
    asked = spec.workload.spec
    images = [each.get("image") for each in _containers(spec.workload.manifest(), _MOST_DEPTH)] or [asked.get("image")]
    tasks = [asked.get(name) for name in ("completions", "parallelism")]
    return [_FORM, spec.workload.kind, images, tasks, spec.array.count if spec.array is not None else None]


def _digest(value: object) -> str:
    return blake2b(orjson.dumps(value), digest_size=8).hexdigest()


def _containers(value: object, depth: int) -> Iterator[Mapping[str, Any]]:
    """Find the containers of all pod templates, whatever the kind is. People wrote it, so nothing is assumed of it."""
    if depth == 0:
        return
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name == "containers" and isinstance(inner, list | tuple):
                yield from (each for each in inner if isinstance(each, Mapping))
            else:
                yield from _containers(inner, depth - 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _containers(inner, depth - 1)
