"""The openb trace as values: nodes with their GPUs, and tasks in the order in which they came.

Owns reading the two files. It changes nothing in them but this: a task that asks for part of a GPU gets a whole one, as
placement counts whole GPUs, and one that ends before it begins is left out.
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "ATOLL_TRACES"
# Beside the repository, where the data of tests and benchmarks lies.
_USUAL = Path(__file__).parents[4] / "shared" / "data" / "traces"
_NODES, _TASKS = "openb_node_list_gpu_node.csv", "openb_pod_list_default.csv"
_MIB = 2**20


class NoTrace(Exception):
    """The trace's files are not where they were looked for."""


@dataclass(frozen=True)
class Size:
    """Millicores, bytes of memory and whole GPUs, of a node or of a task."""

    millicores: int
    memory_bytes: int
    gpus: int

    def holds(self, other: "Size") -> bool:
        """Tell whether the other fits in."""
        return (
            self.millicores >= other.millicores and self.memory_bytes >= other.memory_bytes and self.gpus >= other.gpus
        )

    def __add__(self, other: "Size") -> "Size":
        """Add up."""
        return Size(self.millicores + other.millicores, self.memory_bytes + other.memory_bytes, self.gpus + other.gpus)

    def __sub__(self, other: "Size") -> "Size":
        """Take away."""
        return Size(self.millicores - other.millicores, self.memory_bytes - other.memory_bytes, self.gpus - other.gpus)


@dataclass(frozen=True)
class TraceNode:
    """One node, and the model of its GPUs."""

    name: str
    size: Size
    model: str


@dataclass(frozen=True)
class TraceTask:
    """One task as the cluster saw it: what it asked for, when it came, how many seconds it lived."""

    name: str
    size: Size
    created_seconds: int
    lived_seconds: int


@dataclass(frozen=True)
class Trace:
    """What the files say."""

    nodes: tuple[TraceNode, ...]
    tasks: tuple[TraceTask, ...]


def find_traces(given: str | None) -> Path:
    """Choose the folder: the one that is given, else the variable's, else the usual one.

    Raises:
        NoTrace: a file is not there; the message says what to do.
    """
    folder = Path(given or os.environ.get(VARIABLE) or _USUAL)
    missing = [name for name in (_NODES, _TASKS) if not (folder / name).is_file()]
    if missing:
        raise NoTrace(
            f"{folder} has no {' and no '.join(missing)}: name the folder of the trace with --traces or {VARIABLE}"
        )
    return folder


def read_trace(folder: Path) -> Trace:
    """Read both files; tasks are in the order in which they came."""
    nodes = tuple(
        TraceNode(row["sn"], Size(int(row["cpu_milli"]), int(row["memory_mib"]) * _MIB, int(row["gpu"])), row["model"])
        for row in _rows(folder / _NODES)
    )
    tasks = [
        TraceTask(
            row["name"],
            Size(int(row["cpu_milli"]), int(row["memory_mib"]) * _MIB, int(row["num_gpu"])),
            int(row["creation_time"]),
            int(row["deletion_time"]) - int(row["creation_time"]),
        )
        for row in _rows(folder / _TASKS)
    ]
    lived = sorted((task for task in tasks if task.lived_seconds > 0), key=lambda task: task.created_seconds)
    return Trace(nodes, tuple(lived))


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)
