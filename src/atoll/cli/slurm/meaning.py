"""What the options of a batch job ask for, together: script, environment and command line, the later over the earlier.

Owns how options combine and what of Slurm's allocation one pod can be. Every problem is told at once, with its place.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from atoll.cli.slurm import values
from atoll.cli.slurm.options import Fate
from atoll.cli.slurm.script import Given
from atoll.cli.slurm.site import Site
from atoll.federation.errors import InvalidInput

_T = TypeVar("_T")
REFUSED = "nothing was submitted, because:"
"""What stands before the problems of a script."""
# Options that say one thing in several ways: on a later layer, one takes the place of all (slurm_opt.c, arg_set_mem).
_RIVALS = (
    frozenset({"mem", "mem-per-cpu", "mem-per-gpu"}),
    frozenset({"gpus", "gpus-per-node", "gpus-per-task", "gres"}),
    frozenset({"cpus-per-task", "cpus-per-gpu"}),
    frozenset({"requeue", "no-requeue"}),
)


@dataclass(frozen=True)
class Demand:
    """A batch job, understood. Amounts are of the whole job, or of each task of an array; None where none was given."""

    name: str
    queue: str
    tasks: int = 1
    cpus: int = 1
    cpus_per_task: int | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    gpus: int = 0
    gpu_model: str | None = None
    time_seconds: int | None = None
    array: values.Array | None = None
    node_labels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    folder: str | None = None
    output: Given | None = None
    error: Given | None = None
    partition: str | None = None
    account: str | None = None
    comment: str | None = None
    priority: int = 0
    moves_when_lost: bool = False
    is_held: bool = False
    after: tuple[values.After, ...] = ()
    ends_if_never: bool = False


def understand(layers: Sequence[Sequence[Given]], site: Site, *, default_name: str) -> tuple[Demand, tuple[str, ...]]:
    """Give what is asked for, and a line for each option that is left out without harm.

    Raises:
        InvalidInput: `problems` names every option that cannot be kept, where it stands, and what to write instead.
    """
    reader = _Reader(_merged(layers))
    demand = reader.demand(site, default_name)
    if reader.problems:
        raise InvalidInput(REFUSED, reader.problems)
    return demand, tuple(reader.notes)


def _merged(layers: Sequence[Sequence[Given]]) -> dict[str, Given]:
    """Take the last of each option; one that stands for others ends them, unless they are of the same layer."""
    merged: dict[str, Given] = {}
    for layer in layers:
        own = {given.option.name: given for given in layer}
        for rivals in _RIVALS:
            if rivals & own.keys():
                merged = {name: given for name, given in merged.items() if name not in rivals}
        merged |= own
    return merged


class _Reader:
    """Reads options one by one, and goes on after each that is wrong."""

    def __init__(self, given: Mapping[str, Given]) -> None:
        self._given = given
        self.problems: list[str] = []
        self.notes: list[str] = []
        for one in given.values():
            if one.option.fate is Fate.REFUSED:
                self.problems.append(f"{one}: Atoll cannot keep this: {one.option.advice}")
            elif one.option.fate is Fate.NOTED:
                self.notes.append(f"{one} is left out: {one.option.advice}")

    def demand(self, site: Site, default_name: str) -> Demand:
        tasks = self._tasks()
        gpus, model = self._gpus(tasks)
        cpus = self._cpus(tasks, gpus)
        self._exclude("requeue", "no-requeue")
        return Demand(
            name=self._text("job-name") or default_name,
            queue=self._queue(site),
            tasks=tasks,
            cpus=cpus,
            cpus_per_task=self._read("cpus-per-task", values.count),
            memory_bytes=self._memory(cpus, gpus),
            disk_bytes=self._read("tmp", values.memory),
            gpus=gpus,
            gpu_model=model,
            time_seconds=self._read("time", values.seconds),
            array=self._read("array", values.array),
            node_labels=self._labels(site),
            variables=self._variables(site),
            image=self._read("container-image", values.image),
            folder=self._read("chdir", values.path),
            output=self._given.get("output"),
            error=self._given.get("error"),
            partition=self._text("partition"),
            account=self._text("account"),
            comment=self._text("comment"),
            priority=self._priority(),
            moves_when_lost="requeue" in self._given,
            is_held="hold" in self._given,
            after=self._after(),
            ends_if_never=self._read("kill-on-invalid-dep", values.yes_or_no) or False,
        )

    def _text(self, name: str) -> str | None:
        return self._given[name].value if name in self._given else None

    def _read(self, name: str, parse: Callable[[str], _T]) -> _T | None:
        """Parse an option's value; None if it was not given or is wrong, which is told once."""
        if name not in self._given:
            return None
        try:
            return parse(self._given[name].value)
        except InvalidInput as error:
            self._refuse(name, str(error))
            return None

    def _refuse(self, name: str, why: str) -> None:
        problem = f"{self._given[name]}: {why}"
        if problem not in self.problems:
            self.problems.append(problem)

    def _exclude(self, *names: str) -> None:
        given = [name for name in names if name in self._given]
        if len(given) > 1:
            self._refuse(given[1], f"--{given[0]} is given, too: write one of them")

    def _tasks(self) -> int:
        nodes = self._read("nodes", values.nodes) or 1
        per_node = self._read("ntasks-per-node", values.count)
        tasks = self._read("ntasks", values.count)
        if nodes > 1:
            self._refuse("nodes", "a script has one node here: write --nodes=1, with all of its tasks on that node")
        elif per_node is not None and tasks is not None and tasks > per_node:
            why = f"needs {-(-tasks // per_node)} nodes for {tasks} tasks, and a script has one here"
            self._refuse("ntasks-per-node", f"{why}: write --ntasks-per-node={tasks}")
        return tasks or per_node or 1

    def _cpus(self, tasks: int, gpus: int) -> int:
        self._exclude("cpus-per-task", "cpus-per-gpu")
        per_gpu = self._read("cpus-per-gpu", values.count)
        if per_gpu and not gpus:
            self._refuse("cpus-per-gpu", "there are no GPUs: write --cpus-per-task, or --gpus")
        return per_gpu * gpus if per_gpu and gpus else tasks * (self._read("cpus-per-task", values.count) or 1)

    def _gpus(self, tasks: int) -> tuple[int, str | None]:
        """Give the job's GPUs and their model; what several options say must be one and the same."""
        told: list[tuple[str, str | None, int]] = []
        for name, parse in (("gpus", values.gpus), ("gpus-per-node", values.gpus), ("gres", values.gres)):
            found = self._read(name, parse)
            told += [(name, *found)] if found else []
        if each := self._read("gpus-per-task", values.gpus):
            told.append(("gpus-per-task", each[0], each[1] * tasks))
        models = list(dict.fromkeys(model for _, model, _ in told if model))
        if len(models) > 1:
            self._refuse(told[-1][0], f"GPUs of one model only: {' or '.join(models)}")
        if len({number for _, _, number in told}) > 1:
            numbers = ", ".join(f"--{name} {number}" for name, _, number in told)
            self._refuse(told[-1][0], f"the job's GPUs differ ({numbers}): write one of them")
        return (told[0][2] if told else 0), (models[0] if models else None)

    def _priority(self) -> int:
        priority = (self._read("priority", values.whole) or 0) - (self._read("nice", values.lowering) or 0)
        return max(-values.MAX_COUNT, min(values.MAX_COUNT, priority))

    def _after(self) -> tuple[values.After, ...]:
        after = self._read("dependency", values.dependencies) or ()
        if any(each.per_task for each in after) and "array" not in self._given:
            self._refuse("dependency", "aftercorr is for arrays: write --array with the same indexes, or afterok")
        return after

    def _memory(self, cpus: int, gpus: int) -> int | None:
        self._exclude(*(name for name in ("mem", "mem-per-cpu", "mem-per-gpu") if name in self._given))
        if per_cpu := self._read("mem-per-cpu", values.memory):
            return per_cpu * cpus
        if per_gpu := self._read("mem-per-gpu", values.memory):
            if not gpus:
                self._refuse("mem-per-gpu", "there are no GPUs: write --mem, or --gpus")
            return per_gpu * gpus
        return self._read("mem", values.memory)

    def _queue(self, site: Site) -> str:
        try:
            return site.queue_of(self._text("partition"))
        except InvalidInput as error:
            if "partition" in self._given:
                self._refuse("partition", str(error))
            else:
                self.problems.append(str(error))
            return ""

    def _labels(self, site: Site) -> dict[str, str]:
        labels: dict[str, str] = {}
        for feature in self._read("constraint", values.features) or ():
            try:
                key, value = site.label_of(feature)
            except InvalidInput as error:
                self._refuse("constraint", str(error))
                continue
            if labels.setdefault(key, value) != value:
                self._refuse("constraint", f"no node has {key}={labels[key]} and {key}={value}: choose one")
        return labels

    def _variables(self, site: Site) -> dict[str, str]:
        told = self._read("export", values.exports)
        if told is None:
            return {}
        if told.is_all:
            self.notes.append(
                f"{self._given['export']}: variables of this machine stay here, since a container has its image's; "
                "name those that the script needs"
            )
        missing = [name for name in told.names if name not in site.environment]
        if missing:
            self._refuse("export", f"{', '.join(missing)} is not set here: write NAME=VALUE")
        return {name: site.environment.get(name, "") for name in told.names} | dict(told.values or {})
