"""The values of sbatch's options, as sbatch reads them: counts, times, memory, GPUs, arrays, variables.

Owns their grammar. Every function raises InvalidInput that says what should have been written, and nothing else.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from atoll.federation.errors import InvalidInput

MAX_TASKS = 100_000
"""Tasks of one array: Kubernetes' limit for an Indexed Job whose indexes fail one by one (KEP-3850)."""
_MAX_INDEX = 4_000_000  # Slurm's largest MaxArraySize allows one more (slurm.conf(5))
_MAX_RUNS = 1_000  # of an array: the task counts through them at its start
MAX_COUNT = 1_000_000
_MAX_GPUS = 4096  # of one pod (the Job kind)
_MAX_SECONDS = 2**31 - 1  # of a pod's deadline (Kubernetes, ValidatePodSpec)
_MEBIBYTE = 1024 * 1024
_UNITS = {"K": 1024, "": _MEBIBYTE, "M": _MEBIBYTE, "G": 1024 * _MEBIBYTE, "T": 1024 * 1024 * _MEBIBYTE}

_COUNT = re.compile(r"[0-9]{1,7}")
_NODES = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7}))?")
_TIME = re.compile(r"(?:([0-9]{1,6})-)?([0-9]{1,9})(?::([0-9]{1,6}))?(?::([0-9]{1,6}))?")
_MEMORY = re.compile(r"([0-9]{1,12})([KMGT]?)B?", re.IGNORECASE)
_GPUS = re.compile(r"(?:([A-Za-z][A-Za-z0-9_.\-]*)(?::|$))?([0-9]{1,4})?")
_RANGE = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7})(?::([0-9]{1,7}))?)?")
_ARRAY = re.compile(r"\[?([0-9,:\-]+)\]?(?:%([0-9]{1,7}))?")
_NUMBER = re.compile(r"[0-9]{1,10}")
_CONDITIONS = {"afterok": "Succeeded", "afternotok": "Failed", "afterany": "Finished", "aftercorr": "Succeeded"}
_PER_TASK = "aftercorr"
_FEATURES = re.compile(r"[A-Za-z0-9_.\-]+(?:[&,][A-Za-z0-9_.\-]+)*")
_ASSIGNMENT = re.compile(r"""((?:[^,"']|"[^"]*"|'[^']*')*)(?:,|$)""")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Run:
    """Task ids at equal distances: `count` of them from `first` on, `step` apart."""

    first: int
    step: int
    count: int

    @property
    def last(self) -> int:
        """The largest id."""
        return self.first + self.step * (self.count - 1)


@dataclass(frozen=True)
class Array:
    """The tasks of an array in rising order, and how many may run at once; None where nobody said."""

    runs: tuple[Run, ...]
    at_once: int | None = None

    @property
    def count(self) -> int:
        """How many tasks there are."""
        return sum(run.count for run in self.runs)

    @property
    def text(self) -> str:
        """The ids as they are written: equal texts mean equal ids."""
        return ",".join(_written(run) for run in self.runs)

    @property
    def ids(self) -> Iterator[int]:
        """Every task's id."""
        return (run.first + run.step * index for run in self.runs for index in range(run.count))


def _written(run: Run) -> str:
    if run.count == 1:
        return str(run.first)
    return f"{run.first}-{run.last}" + (f":{run.step}" if run.step > 1 else "")


def yes_or_no(text: str) -> bool:
    """Read yes or no."""
    if text not in ("yes", "no"):
        raise InvalidInput("should be yes or no")
    return text == "yes"


def count(text: str) -> int:
    """Read a count of at least 1."""
    if not _COUNT.fullmatch(text) or not 1 <= int(text) <= MAX_COUNT:
        raise InvalidInput(f"should be a whole number, 1 to {MAX_COUNT}")
    return int(text)


def whole(text: str) -> int:
    """Read a priority."""
    if not re.fullmatch(r"-?[0-9]{1,7}", text) or abs(int(text)) > MAX_COUNT:
        raise InvalidInput(f"should be a whole number, -{MAX_COUNT} to {MAX_COUNT}")
    return int(text)


def nodes(text: str) -> int:
    """Read how many nodes are wanted at least: N or MIN-MAX."""
    match = _NODES.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= int(match[2] or match[1]):
        raise InvalidInput("should be a number of nodes, or least-most")
    return int(match[1])


def seconds(text: str) -> int | None:
    """Read a time limit: minutes, m:s, h:m:s, d-h, d-h:m or d-h:m:s; None is no limit, as 0 is to Slurm."""
    if text.upper() in ("UNLIMITED", "INFINITE", "-1"):
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise InvalidInput("should be minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]]")
    days, first, second, third = (int(part or 0) for part in match.groups())
    if match[1] is not None:
        total = ((days * 24 + first) * 60 + second) * 60 + third
    elif match[4] is not None:
        total = (first * 60 + second) * 60 + third
    else:
        total = first * 60 + second
    # Slurm counts minutes: seconds are rounded up to the next (sbatch(1), --time).
    if total > _MAX_SECONDS - 60:
        raise InvalidInput("should be less than 24855 days; UNLIMITED is no limit")
    return -(-total // 60) * 60 or None


def memory(text: str) -> int:
    """Read an amount of memory as bytes; a number alone is MiB, and K, M, G and T are powers of 1024."""
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise InvalidInput("should be a number with K, M, G or T, such as 16G; a number alone is MiB")
    amount = int(match[1]) * _UNITS[match[2].upper()]
    if not amount:
        raise InvalidInput(
            "0 is all memory of a node, which differs from cluster to cluster: say how much, such as 64G"
        )
    if amount >= 2**63:
        raise InvalidInput("is more than Kubernetes can count")
    return amount


def gpus(text: str) -> tuple[str | None, int]:
    """Read GPUs as (model, count): 2, a100:2, a100."""
    if "," in text:
        raise InvalidInput("names several models: a pod has GPUs of one, so name one")
    match = _GPUS.fullmatch(text)
    if not text or match is None:
        raise InvalidInput("should be a number, or a model and a number, such as 2 or a100:2")
    if int(match[2] or 1) > _MAX_GPUS:
        raise InvalidInput(f"should be {_MAX_GPUS} GPUs at most")
    return match[1], int(match[2] or 1)


def gres(text: str) -> tuple[str | None, int]:
    """Read generic resources, of which only GPUs are known, as (model, count): gpu:2, gpu:a100:2, gpu, NONE."""
    if text.upper() == "NONE":
        return None, 0
    entries = [entry.strip().removeprefix("gres/").removeprefix("gres:") for entry in text.split(",")]
    for entry in entries:
        if re.split(r"[:=]", entry)[0] != "gpu":
            raise InvalidInput(
                f"{entry[:80]}: Atoll counts no such resource; leave it out, or write --tmp for disk space"
            )
    name, _, rest = ",".join(entries).partition(":")
    return gpus(rest) if rest else gpus(name.partition("=")[2] or "1")


def array(text: str) -> Array:
    """Read an array's indexes: lists and ranges with steps, and how many at once: 0-99:10,200%4."""
    match = _ARRAY.fullmatch(text.replace(" ", ""))
    if match is None:
        raise InvalidInput("should be indexes and ranges with commas between, such as 0-15, 1,3,5 or 0-99:10%4")
    if match[2] is not None and int(match[2]) == 0:
        raise InvalidInput("%0 lets no task run: write how many at once")
    runs = tuple(_runs(sorted(_indexes(match[1]))))
    if len(runs) > _MAX_RUNS:
        raise InvalidInput(f"has {len(runs)} ranges, and {_MAX_RUNS} is the most: submit it in parts")
    return Array(runs, int(match[2]) if match[2] else None)


def _indexes(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise InvalidInput(f"{part[:80]!r} should be an index or a range, such as 7, 0-15 or 0-99:10")
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if not first <= last <= _MAX_INDEX or step == 0:
            raise InvalidInput(f"{part[:80]}: a range rises, by a step of at least 1, to {_MAX_INDEX} at most")
        if len(found) + (last - first) // step >= MAX_TASKS:
            raise InvalidInput(f"has more than {MAX_TASKS} tasks: submit it in parts")
        found.update(range(first, last + 1, step))
    return found


def _runs(ids: list[int]) -> Iterator[Run]:
    """Join rising ids to runs, each as long as it can be."""
    at = 0
    while at < len(ids):
        step = ids[at + 1] - ids[at] if at + 1 < len(ids) else 1
        end = at + 1
        while end < len(ids) and ids[end] - ids[end - 1] == step:
            end += 1
        yield Run(ids[at], step, end - at)
        at = end


@dataclass(frozen=True)
class After:
    """A job, by its number, that must have ended, and how; `per_task`: each task waits for that of its number only."""

    number: int
    condition: str
    per_task: bool = False


def dependencies(text: str) -> tuple[After, ...]:
    """Read the jobs that all must have ended before: afterok:12:13,afterany:14."""
    if "?" in text:
        raise InvalidInput("any of several, by '?', cannot be kept: name with commas the jobs that all must have ended")
    found: list[After] = []
    for entry in text.split(","):
        kind, *numbers = entry.strip().split(":")
        if kind not in _CONDITIONS:
            raise InvalidInput(f"{entry[:80]!r}: Atoll knows {', '.join(_CONDITIONS)}, each with the numbers of jobs")
        if any("_" in number for number in numbers):
            raise InvalidInput(
                f"{entry[:80]!r}: a job is waited for with all tasks of its array: leave out _ and the rest"
            )
        if not numbers or not all(_NUMBER.fullmatch(number) for number in numbers):
            raise InvalidInput(f"{entry[:80]!r} should have the numbers of jobs, such as {kind}:123456789:123456790")
        found += [After(int(number), _CONDITIONS[kind], kind == _PER_TASK) for number in numbers]
    return tuple(dict.fromkeys(found))


def features(text: str) -> tuple[str, ...]:
    """Read the features that all must hold: a, a&b."""
    if not _FEATURES.fullmatch(text):
        raise InvalidInput("only features that all must hold can be kept: a, or a&b; choose one of alternatives")
    return tuple(dict.fromkeys(re.split("[&,]", text)))


@dataclass(frozen=True)
class Exports:
    """What `--export` says: whether all is asked for, names to look up here, and variables with their values."""

    is_all: bool = False
    names: tuple[str, ...] = ()
    values: Mapping[str, str] | None = None


def exports(text: str) -> Exports:
    """Read what to export: ALL, NONE, NIL, NAME, NAME=VALUE with commas between; quotes keep commas."""
    names, values, is_all = [], {}, False
    for entry in _entries(text):
        name, equals, value = entry.partition("=")
        if not equals and name.upper() in ("ALL", "NONE", "NIL"):
            is_all |= name.upper() == "ALL"
        elif not _VARIABLE.fullmatch(name):
            raise InvalidInput(f"{entry[:80]!r} should be NAME or NAME=VALUE")
        elif equals:
            values[name] = re.sub(r"""(["'])(.*?)\1""", r"\2", value, flags=re.DOTALL)
        else:
            names.append(name)
    return Exports(is_all, tuple(names), values)


def _entries(text: str) -> Iterable[str]:
    at = 0
    while at < len(text):
        match = _ASSIGNMENT.match(text, at)
        if match is None:
            raise InvalidInput("a quote is not closed")
        yield match[1]
        at = match.end()


def path(text: str) -> str:
    """Read a folder of the container."""
    if not text.startswith("/"):
        raise InvalidInput("should be an absolute path, as the container has it")
    return text


def image(text: str) -> str:
    """Read an image as Pyxis writes it, with # after the registry."""
    name = text.removeprefix("docker://").replace("#", "/", 1)
    if not name or name.startswith(("/", ".")) or name.endswith(".sqsh"):
        raise InvalidInput("should be an image in a registry; a squashfs file is on no cluster")
    return name


def lowering(text: str) -> int:
    """Read `--nice`, whose value may be left out: 100 then (sbatch(1))."""
    return whole(text) if text else 100
