"""A federation and its work, made of a trace by a seeded rule: clusters, links, datasets, queues, arrivals.

What the trace does not say is chosen here, and only here: where clusters are and what their uplinks carry, which data
tasks read and where it lies, in whose queue they stand, and what their people expect of their run times. Equal options
give an equal scenario.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.placement.simulator.openb import Size, Trace, TraceNode, TraceTask

GIB = 2**30
# Nodes of one model are dealt to so many clusters, which makes 13 in all; the other models are one cluster each.
_CLUSTERS_OF_MODEL = {"G2": 4, "T4": 3, "P100": 2}
_REGIONS = ("eu", "us", "ap")
# 1, 2.5 and 10 Gbit/s.
_UPLINKS = (125e6, 312.5e6, 1250e6)
# The weights of queues; tasks come to a queue in proportion to it, in bursts.
_WEIGHTS = {"queue-1": 1, "queue-2": 2, "queue-3": 3, "queue-4": 4}
# A task is of the same queue and the same project as the one before, so often.
_STICKS = 0.9
# What people write for an expected duration.
_WRITTEN = (60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


@dataclass(frozen=True)
class Options:
    """How a scenario is made.

    Attributes:
        seed: of everything that is left to chance.
        load: what tasks ask for beside what there is, of the resource that is scarcest; arrivals are compressed to it.
        tasks: how many of the trace's tasks, taken evenly; None: all.
        shrink: one node in so many of each model is there.
        longest_seconds: a task that lived longer ends then: some lived for months, beside which no other would count.
        reading: the part of tasks that read a dataset.
        datasets: how many there are; sizes and popularity fall as Zipf says.
        largest_bytes: of the largest dataset.
        naming: the part of GPU tasks that name one or two models, as in the trace's gpuspec33 variant.
        estimate_error: how far expected durations are off, as the sigma of a log-normal factor.
    """

    seed: int = 1
    load: float = 0.9
    tasks: int | None = 400
    shrink: int = 72
    longest_seconds: int = 7200
    reading: float = 0.7
    datasets: int = 60
    largest_bytes: int = 200 * GIB
    naming: float = 0.33
    estimate_error: float = 0.5


@dataclass(frozen=True)
class Site:
    """A cluster: its nodes, all of one GPU model, and the bytes/s of its uplink."""

    name: str
    region: str
    model: str
    nodes: tuple[TraceNode, ...]
    uplink: float


@dataclass(frozen=True)
class Data:
    """A dataset and where it lies at first."""

    name: str
    bytes: int
    homes: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """One task: no models means any GPU, and none of it for a task without."""

    name: str
    size: Size
    models: tuple[str, ...]
    inputs: tuple[str, ...]
    queue: str
    arrives: float
    runs_seconds: float
    expected_seconds: int


@dataclass(frozen=True)
class Scenario:
    """All of it; tasks are in the order in which they arrive."""

    sites: tuple[Site, ...]
    data: Mapping[str, Data]
    weights: Mapping[str, int]
    tasks: tuple[Task, ...]

    @property
    def capacity(self) -> Size:
        """What all nodes have."""
        return total(node.size for site in self.sites for node in site.nodes)


def total(sizes: Iterable[Size]) -> Size:
    """Sum up."""
    result = Size(0, 0, 0)
    for size in sizes:
        result = result + size
    return result


def make_scenario(trace: Trace, options: Options) -> Scenario:
    """Make the federation and its work."""
    chance = Random(options.seed)
    sites = tuple(_sites(trace.nodes, options, chance))
    chosen = [task for task in _evenly(trace.tasks, options.tasks) if _is_runnable(task, sites)]
    data = tuple(_data(sites, options, chance))
    tasks = _tasks(chosen, _arrivals(chosen, sites, options), _Chooser(chance, options, sites, data))
    return Scenario(sites, {each.name: each for each in data}, _WEIGHTS, tuple(tasks))


def _evenly(items: Sequence[TraceTask], count: int | None) -> list[TraceTask]:
    if count is None or count >= len(items):
        return list(items)
    return [items[number * len(items) // count] for number in range(count)]


def _is_runnable(task: TraceTask, sites: Sequence[Site]) -> bool:
    return any(node.size.holds(task.size) for site in sites for node in site.nodes)


def _sites(nodes: Sequence[TraceNode], options: Options, chance: Random) -> list[Site]:
    """Split nodes by model, and large models further; every cluster has a node at least."""
    of_model: dict[str, list[TraceNode]] = {}
    for node in nodes:
        of_model.setdefault(node.model, []).append(node)
    sites: list[Site] = []
    for model, all_nodes in sorted(of_model.items()):
        parts = _CLUSTERS_OF_MODEL.get(model, 1)
        kept = all_nodes[:: options.shrink]
        kept = kept if len(kept) >= parts else all_nodes[:parts]
        for part in range(parts):
            name, region = f"{model.lower()}-{part}", _REGIONS[len(sites) % len(_REGIONS)]
            sites.append(Site(name, region, model, tuple(kept[part::parts]), chance.choice(_UPLINKS)))
    return sites


def _data(sites: Sequence[Site], options: Options, chance: Random) -> list[Data]:
    """Lay datasets over clusters, more of them where there are more GPUs; one in four has a second copy."""
    gpus = [sum(node.size.gpus for node in site.nodes) for site in sites]
    names = [site.name for site in sites]
    sizes = [int(options.largest_bytes / rank) for rank in range(1, options.datasets + 1)]
    chance.shuffle(sizes)  # the most popular is not the largest
    found = []
    for number, size in enumerate(sizes):
        copies = 2 if chance.random() < 0.25 else 1
        homes = dict.fromkeys(chance.choices(names, gpus, k=copies))
        found.append(Data(f"data-{number}", size, tuple(homes)))
    return found


def _arrivals(tasks: Sequence[TraceTask], sites: Sequence[Site], options: Options) -> list[float]:
    """Compress the trace's arrivals so that the scarcest resource is asked for as much as the load says.

    The first hundredth of the tasks came over months: they are there from the beginning.
    """
    capacity = total(node.size for site in sites for node in site.nodes)
    lengths = [min(task.lived_seconds, options.longest_seconds) for task in tasks]
    asked = [
        sum(getattr(task.size, each) * length for task, length in zip(tasks, lengths, strict=True))
        / getattr(capacity, each)
        for each in ("millicores", "memory_bytes", "gpus")
    ]
    begin, end = tasks[len(tasks) // 100].created_seconds, tasks[-1].created_seconds
    factor = max(asked) / options.load / max(1, end - begin)
    return [max(0, task.created_seconds - begin) * factor for task in tasks]


@dataclass
class _Chooser:
    """Chooses what the trace does not say of a task; tasks that come together are of one project."""

    chance: Random
    options: Options
    sites: Sequence[Site]
    data: Sequence[Data]
    queue: str = ""
    inputs: tuple[str, ...] = ()
    is_chosen: bool = False

    def turn(self) -> None:
        """Go on to the next task: mostly of the same project."""
        if self.is_chosen and self.chance.random() < _STICKS:
            return
        self.is_chosen = True
        self.queue = self.chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        popularity = [1 / rank for rank in range(1, len(self.data) + 1)]
        count = (self.chance.random() < self.options.reading) * self.chance.choice((1, 1, 2))
        self.inputs = tuple(dict.fromkeys(each.name for each in self.chance.choices(self.data, popularity, k=count)))

    def models(self, size: Size) -> tuple[str, ...]:
        """Choose the models that a task names, of those that can hold it: common ones more often."""
        if not size.gpus or self.chance.random() >= self.options.naming:
            return ()
        gpus: Counter[str] = Counter()
        for site in self.sites:
            gpus[site.model] += sum(node.size.gpus for node in site.nodes if node.size.holds(size))
        fitting = sorted(model for model, count in gpus.items() if count)
        return tuple(dict.fromkeys(self.chance.choices(fitting, [gpus[model] for model in fitting], k=2)))

    def expected(self, seconds: float) -> int:
        """Guess a duration as people do: off by a factor, and rounded up to what one writes."""
        guess = seconds * self.chance.lognormvariate(0, self.options.estimate_error)
        return next((written for written in _WRITTEN if written >= guess), _WRITTEN[-1])


def _tasks(chosen: Sequence[TraceTask], arrivals: Sequence[float], chooser: _Chooser) -> list[Task]:
    tasks = []
    for task, arrives in zip(chosen, arrivals, strict=True):
        chooser.turn()
        seconds = float(min(task.lived_seconds, chooser.options.longest_seconds))
        tasks.append(
            Task(
                name=task.name,
                size=task.size,
                models=chooser.models(task.size),
                inputs=chooser.inputs,
                queue=chooser.queue,
                arrives=arrives,
                runs_seconds=seconds,
                expected_seconds=chooser.expected(seconds),
            )
        )
    return tasks
