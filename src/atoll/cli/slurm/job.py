"""The Atoll Job of a batch script: one pod, or one for each task of an array. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from atoll.cli.slurm import container, steps
from atoll.cli.slurm.files import kept_file, shell_word
from atoll.cli.slurm.meaning import REFUSED, Demand, understand
from atoll.cli.slurm.options import Takes
from atoll.cli.slurm.script import Given, Script
from atoll.cli.slurm.site import Site
from atoll.cli.slurm.values import After
from atoll.federation.capacity import format_bytes, format_duration
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import GROUP_VERSION

NUMBER_LABEL = "atoll.dev/slurm-job-id"
ARRAY = "array"
ARRAY_ANNOTATION = f"atoll.dev/slurm-{ARRAY}"
"""The indexes of an array, by which another one finds out whether it has the same."""
_EPOCH_FIELD = "metadata.annotations['atoll.dev/epoch']"
# What a job of which no memory is known is taken for, on each CPU; it is no limit. Slurm would give it the whole node.
_MEMORY_PER_CPU = 1024 * 1024 * 1024
_MAX_NAME = 40

Json = dict[str, Any]
Mounts = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Surroundings:
    """What Slurm has no words for: where the job goes, its image and its data, as (dataset, path)."""

    namespace: str
    image: str
    inputs: Mounts = ()
    outputs: Mounts = ()
    arguments: tuple[str, ...] = ()
    user: str = ""


@dataclass(frozen=True)
class Batch:
    """A batch job that was understood. `manifest_of` gives the Job once it has a number."""

    script: Script
    demand: Demand
    around: Surroundings
    files: container.Files
    notes: tuple[str, ...]
    flags: frozenset[str] = frozenset()
    names: Mapping[int, str] = field(default_factory=dict)

    def knowing(self, names: Mapping[int, str]) -> "Batch":
        """Give the same batch with the names of the jobs that it comes after, by their numbers.

        Raises:
            InvalidInput: there is no job of a number.
        """
        unknown = sorted({each.number for each in self.demand.after} - names.keys())
        if unknown:
            numbers, namespace = ", ".join(map(str, unknown)), self.around.namespace
            raise InvalidInput(REFUSED, [f"--dependency: there is no job {numbers} in namespace {namespace}"])
        return replace(self, names=names)

    def beside(self, arrays: Mapping[int, str]) -> "Batch":
        """Give the same batch if the arrays whose tasks it follows one by one have the same indexes.

        Raises:
            InvalidInput: one has others, or is no array.
        """
        own = self.demand.array.text if self.demand.array is not None else ""
        wrong = [each.number for each in self.demand.after if each.per_task and arrays.get(each.number, "") != own]
        if wrong:
            told = [f"{number} has {arrays.get(number) or 'none'}" for number in wrong]
            why = f"--dependency: aftercorr is for arrays of the same indexes: this has {own}, {', '.join(told)}"
            raise InvalidInput(REFUSED, [why])
        return self

    def asks_for(self, flag: str) -> bool:
        """Tell whether an option without a value was given that is for who submits, such as wait."""
        return flag in self.flags

    def manifest_of(self, number: int) -> Json:
        """Give the Job; its name ends in the number by which Slurm's tools know it.

        Where it comes after others, `knowing` has their names.
        """
        demand, around = self.demand, self.around
        told = {"account": demand.account, "comment": demand.comment, "job-name": demand.name}
        if demand.array is not None:
            told[ARRAY] = demand.array.text
        metadata = {
            "name": f"{_slug(demand.name)}-{number}",
            "namespace": around.namespace,
            "labels": {NUMBER_LABEL: str(number)},
            "annotations": {f"atoll.dev/slurm-{key}": value for key, value in told.items() if value},
        }
        spec: Json = {
            "queue": demand.queue,
            "priority": demand.priority,
            "inputs": _mounts(around.inputs),
            "outputs": _mounts(around.outputs),
            **_durations(demand),
            "workload": {"apiVersion": "batch/v1", "kind": "Job", "spec": self._workload(number)},
        }
        if demand.gpus:
            models = [demand.gpu_model] if demand.gpu_model else []
            spec["gpu"] = {"count": demand.gpus, "models": models}
        if demand.after:
            spec["dependsOn"] = [self._dependency(each) for each in demand.after]
        if demand.ends_if_never:
            spec["ifNeverSatisfied"] = "Cancel"
        if demand.array is not None:
            count, at_once = demand.array.count, demand.array.at_once
            spec["array"] = {"count": count, **({} if at_once is None else {"maxParallel": min(count, at_once)})}
        if demand.is_held:
            spec["held"] = True
        if demand.moves_when_lost:
            spec["lossPolicy"] = "Failover"
        return {"apiVersion": GROUP_VERSION, "kind": "Job", "metadata": metadata, "spec": spec}

    def _dependency(self, after: After) -> Json:
        each_for_its_own = {"perTask": True} if after.per_task else {}
        return {"job": self.names[after.number], "condition": after.condition, **each_for_its_own}

    def _workload(self, number: int) -> Json:
        demand, array = self.demand, self.demand.array
        pod: Json = {
            "restartPolicy": "Never",
            "containers": [self._container(number)],
            "volumes": [{"name": "spool", "emptyDir": {}}],
        }
        if demand.node_labels:
            pod["nodeSelector"] = dict(demand.node_labels)
        if array is not None and demand.time_seconds:
            pod["activeDeadlineSeconds"] = demand.time_seconds  # Slurm limits each task, not the array
        return {"template": {"spec": pod}}

    def _container(self, number: int) -> Json:
        demand, around = self.demand, self.around
        values = container.variables(demand, user=around.user)
        environment: list[Json] = [{"name": name, "value": value} for name, value in values.items()]
        environment.append({"name": "ATOLL_EPOCH", "valueFrom": {"fieldRef": {"fieldPath": _EPOCH_FIELD}}})
        folder = _folder(demand, around)
        return {
            "name": "main",
            "image": demand.image or around.image,
            "command": container.command(self.script.interpreter, number, demand.array, self.files),
            "args": container.arguments(self.script.text, around.arguments),
            "env": environment,
            "resources": _resources(demand),
            "volumeMounts": [{"name": "spool", "mountPath": container.SPOOL}],
            **({"workingDir": folder} if folder else {}),
        }


def prepare(script: Script, layers: Sequence[Sequence[Given]], site: Site, around: Surroundings, *, name: str) -> Batch:
    """Understand a script with what its environment and the command line say.

    Args:
        layers: the environment's and the command line's options; the script's own come before them.
        name: what the job is called if nobody says.

    Raises:
        InvalidInput: something cannot be kept; `problems` names all of it.
    """
    try:
        demand, notes = understand([script.given, *layers], site, default_name=name)
    except InvalidInput as error:
        raise InvalidInput(REFUSED, [*script.problems, *error.problems]) from error
    if problems := (*script.problems, *steps.excess(script, demand)):
        raise InvalidInput(REFUSED, problems)
    folder, paths = _folder(demand, around), [path for _, path in around.outputs]
    words: list[str | None] = []
    further = [*notes, *script.hints]
    for given in (demand.output, demand.error):
        path, note = kept_file(given, folder, paths)
        further += [note] if note else []
        words.append(_word(given, path, demand, around) if given and path else None)
    files = container.Files(words[0], words[1], is_error_apart=demand.error is not None)
    given_at_all = (given.option for layer in (script.given, *layers) for given in layer)
    flags = frozenset(option.name for option in given_at_all if option.takes is Takes.NOTHING)
    return Batch(script, demand, around, files, tuple(further), flags)


def _word(given: Given, path: str, demand: Demand, around: Surroundings) -> str:
    try:
        return shell_word(path, job_name=demand.name, user=around.user)
    except InvalidInput as error:
        raise InvalidInput(REFUSED, [f"{given}: {error}"]) from error


def _folder(demand: Demand, around: Surroundings) -> str | None:
    """Give the folder to run in: relative paths of a Slurm script are of a folder that outlives the job."""
    return demand.folder or (around.outputs[0][1] if around.outputs else None)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:_MAX_NAME].strip("-") or "job"


def _mounts(mounts: Mounts) -> list[Mapping[str, str]]:
    return [{"dataset": dataset, "mountPath": path} for dataset, path in mounts]


def _durations(demand: Demand) -> Json:
    limit, array = demand.time_seconds, demand.array
    if limit is None:
        return {}
    if array is None:
        return {"timeLimit": format_duration(limit)}
    waves = -(-array.count // (array.at_once or array.count))
    return {"expectedDuration": format_duration(limit * waves)}


def _resources(demand: Demand) -> Json:
    memory = format_bytes(demand.memory_bytes or demand.cpus * _MEMORY_PER_CPU)
    requests = {"cpu": str(demand.cpus), "memory": memory}
    if demand.disk_bytes:
        requests["ephemeral-storage"] = format_bytes(demand.disk_bytes)
    limits = {"limits": {"memory": memory}} if demand.memory_bytes else {}
    return {"requests": requests, **limits}
