"""Admission of the kinds: kubeapi's Strategy over the rules in federation/resources.

Owns the order (rules, defaults, immutable fields, names, references) and their translation into causes; the rules
themselves stand with the kinds. It reads what exists only through `Existing`. An unknown field is refused like any
other fault, whatever `fieldValidation` asks for: a misspelt field that is dropped would run somebody's job without it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from atoll.federation.errors import InvalidInput
from atoll.federation.placement.demand import duration_of_job, pods_of_job
from atoll.federation.resources import Job, JobSpec, Kind, Resource, Stream, Trigger
from atoll.federation.resources.stream import impossible_level
from atoll.federation.resources.trigger import SAMPLE, job_spec
from atoll.federation.resources.validation import FieldProblem, changed_immutable, parse, status_problems
from atoll.federation.resources.workload import Workload
from atoll.federation.workloads import LEVEL_LABEL, breaches
from atoll.hub.references import Existing, missing
from atoll.kubeapi.errors import Cause
from atoll.kubeapi.resource import Object, Prepared

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
# Kinds whose name is more than a DNS subdomain may say: Cilium bounds a cluster's name (pkg/clustermesh/types), a
# gateway's is one token of a stream name, and a job's becomes the label value `<job>-<epoch>` of at most 63 characters.
_LONGEST_NAME = {"Cluster": 32, "Gateway": 63, "Job": 57}
_LABEL_NAMES = frozenset({"Cluster", "Gateway"})
_PARTS = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
# On whatever has a member behind it: the object goes when that is one no more (controllers/departures.py).
MEMBERSHIP_FINALIZER = "atoll.dev/membership"
_MEMBERS = frozenset({"Cluster", "Gateway"})


@dataclass(frozen=True)
class KindStrategy:
    """Admission of one kind."""

    kind: Kind
    existing: Existing

    def prepare(self, new: Object, old: Object | None) -> Prepared:
        """Default and check an object; every broken rule is named at once."""
        if old is not None and new.keys() == _PARTS and new["spec"] == old.get("spec"):
            return Prepared(new, self._status_only(new, old))
        resource, problems = parse(self.kind, new)
        if resource is None:
            return Prepared(new, _causes(problems))
        spec = resource.wire().get("spec", {})
        _fill(new.setdefault("spec", {}), spec)
        if old is None and self.kind.name in _MEMBERS:
            metadata = new["metadata"]
            metadata["finalizers"] = sorted({*metadata.get("finalizers", ()), MEMBERSHIP_FINALIZER})
        causes = self._created(resource) if old is None else self._updated(resource, spec, old)
        return Prepared(new, causes)

    def _status_only(self, new: Object, old: Object) -> tuple[Cause, ...]:
        """Check what is written most, a status: the spec beside it was checked when it was stored."""
        if new["status"] == old.get("status"):
            return ()
        return _causes(status_problems(self.kind, new["status"]))

    def _created(self, resource: Resource) -> tuple[Cause, ...]:
        return (*_name(resource), *missing(resource, self.existing), *_senseless(resource), *self._isolated(resource))

    def _updated(self, resource: Resource, spec: Mapping[str, Any], old: Object) -> tuple[Cause, ...]:
        """Check what may not change, and references only where the spec is new: what they named may be gone by now."""
        before, _ = parse(self.kind, old)
        was = before.wire().get("spec", {}) if before is not None else old.get("spec", {})
        if was == spec:
            return ()
        changed = _causes(changed_immutable(self.kind, {"spec": was}, {"spec": spec}))
        kept = before is not None and _workload(before) == _workload(resource)
        isolated = () if kept else self._isolated(resource)
        return (*changed, *missing(resource, self.existing), *_senseless(resource), *isolated)

    def _isolated(self, resource: Resource) -> Iterator[Cause]:
        """Check what the pods of a job would have of their node, by the level of its namespace."""
        workload, path = _workload(resource)
        if workload is None:
            return
        namespace = resource.metadata.namespace or "default"
        level = self.existing.pod_security(namespace)
        for field, problem in breaches(workload.manifest(), level, path):
            yield Cause(
                field,
                f"{problem}: namespace {namespace!r} has the pod security level {level}; "
                f"an operator may change it by its label {LEVEL_LABEL}",
                "FieldValueForbidden",
            )


def _causes(problems: tuple[FieldProblem, ...]) -> tuple[Cause, ...]:
    return tuple(Cause(problem.field, problem.message, problem.reason) for problem in problems)


def _name(resource: Resource) -> tuple[Cause, ...]:
    name, kind = resource.metadata.name, resource.kind
    longest = _LONGEST_NAME.get(kind, 253)
    if len(name) > longest:
        return (Cause("metadata.name", f"{name!r}: a {kind}'s name has at most {longest} characters"),)
    if kind in _LABEL_NAMES and name and not _LABEL.fullmatch(name):
        return (Cause("metadata.name", f"{name!r}: a {kind}'s name is a DNS label: a-z, 0-9 and '-', no dots"),)
    return ()


def _workload(resource: Resource) -> tuple[Workload | None, str]:
    """Give the workload that an object carries, and where."""
    match resource:
        case Job():
            return resource.spec.workload, "spec.workload"
        case Trigger():
            return job_spec(resource.spec.job, SAMPLE).workload, "spec.job.spec.workload"
    return None, ""


def _senseless(resource: Resource) -> tuple[Cause, ...]:
    """Find what could never work: what a job's pods ask for is read as the scheduler will read it."""
    match resource:
        case Stream():
            problem = impossible_level(resource.spec)
            return (Cause("spec.dataset", problem),) if problem else ()
        case Job():
            return _unreadable(resource.spec, "spec")
        case Trigger():
            return _unreadable(job_spec(resource.spec.job, SAMPLE), "spec.job.spec")
    return ()


def _unreadable(spec: JobSpec, path: str) -> tuple[Cause, ...]:
    try:
        pods_of_job(spec)
        duration_of_job(spec)
    except InvalidInput as error:
        field, _, message = str(error).partition(": ")  # placement says `spec.<path>: <what is wrong>`
        return (Cause(path + field.removeprefix("spec"), message),)
    return ()


def _fill(given: Any, full: Any) -> None:
    """Write scalar defaults into what was given. Lists and maps that were left out stay out: empty ones say nothing."""
    if isinstance(given, dict) and isinstance(full, Mapping):
        for key, value in full.items():
            if key in given:
                _fill(given[key], value)
            elif isinstance(value, str | int | float | bool):
                given[key] = value
    elif isinstance(given, list) and isinstance(full, list):
        for one, other in zip(given, full, strict=True):
            _fill(one, other)
