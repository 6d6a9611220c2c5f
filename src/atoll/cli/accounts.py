"""What `queue accounts` and `queue usage --history` do: ask for what runs took, sum it up, print or export it."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from atoll.cli import kinds
from atoll.cli.api import Api, Json
from atoll.cli.exporting import Table, write_csv, write_parquet
from atoll.cli.options import AccountOutput, By, Output
from atoll.cli.output import hint, say, to_yaml
from atoll.cli.tables import TablePrinter
from atoll.federation.errors import InvalidInput, NotFound
from atoll.federation.queueing import lineage
from atoll.federation.resources import Queue

_PATH = "/accounts"
_FIRST_ROWS = 200
# The smallest amount that a table shows: finer figures are in -o csv, json and parquet.
_LEAST = 0.01
_SUMMED = ("gpuSeconds", "cpuSeconds", "memoryByteSeconds", "stagedBytes", "egressBytes", "cost")


_KEYS: Mapping[By, tuple[str, ...]] = {
    By.JOB: ("namespace", "job", "queue", "user"),
    By.USER: ("user",),
    By.QUEUE: ("queue",),
    By.DAY: ("day",),
}
_RUN_TEXTS = (
    "day", "namespace", "job", "run", "user", "queue", "cluster", "gpuModel", "startedAt", "endedAt", "phase",
    "reason", "uid",
)  # fmt: skip
_INTEGERS, _CLAIMS = ("epoch", "gpus", "runs"), ("isFinal", "isEstimated")


@dataclass(frozen=True)
class Wanted:
    """Which accounts; what is empty does not limit. A queue stands for those below it, too."""

    queue: str = ""
    user: str = ""
    namespace: str = ""
    since: str = "30d"
    until: str = ""

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the request."""
        given = {"since": self.since, "until": self.until, "user": self.user, "namespace": self.namespace}
        return {name: value for name, value in given.items() if value}


def show(api: Api, wanted: Wanted, by: By, output: AccountOutput, file: Path | None) -> None:
    """Print or export accounts.

    Raises:
        InvalidInput: Parquet is wanted and cannot be written here. NotFound: there is no such queue.
    """
    rows, columns = (_runs(api, wanted), _run_columns()) if by is By.RUN else (_sums(api, wanted, by), _columns(by))
    table = Table(columns, rows)
    match output:
        case AccountOutput.CSV:
            write_csv(table, file)
        case AccountOutput.PARQUET:
            write_parquet(table, file)
        case AccountOutput.JSON:
            for row in rows:
                say(orjson.dumps(row).decode())
        case AccountOutput.TABLE:
            _print(rows, ("day", "namespace", "run", "user", "queue", "cluster") if by is By.RUN else _KEYS[by])


def history(api: Api, wanted: Wanted, by: By, output: Output) -> None:
    """Print what was spent on each day, told apart by queue, user or job.

    Raises:
        NotFound: there is no such queue.
    """
    if by is By.RUN:
        raise InvalidInput("--by run: history is of days: use atoll queue accounts --by run")
    keys = ("day", *(key for key in _KEYS[by] if key != "day"))
    rows = _grouped(_source(api, wanted, needs_jobs=by is By.JOB), keys)
    if output is Output.TABLE:
        _print(iter(rows), keys)
    else:
        for row in rows:
            say(orjson.dumps(row).decode() if output is Output.JSON else f"---\n{to_yaml(row).rstrip()}")


def _runs(api: Api, wanted: Wanted) -> Iterator[Json]:
    chosen = _queues(api, wanted.queue)
    return (row for row in _lines(api, "records", wanted.query) if chosen is None or row.get("queue") in chosen)


def _sums(api: Api, wanted: Wanted, by: By) -> Iterator[Json]:
    return iter(_grouped(_source(api, wanted, needs_jobs=by is By.JOB), _KEYS[by]))


def _source(api: Api, wanted: Wanted, *, needs_jobs: bool) -> Iterator[Json]:
    """Read what has to be summed: records where jobs are told apart, else the hub's own sums, which are few."""
    if needs_jobs:
        return ({**row, "runs": int(bool(row["isFinal"]))} for row in _runs(api, wanted))
    chosen = _queues(api, wanted.queue)
    return (row for row in _lines(api, "days", wanted.query) if chosen is None or row["queue"] in chosen)


def _queues(api: Api, name: str) -> Collection[str] | None:
    """Name a queue and those below it; None for all."""
    if not name:
        return None
    found = api.get(kinds.atoll("Queue").collection(None)).get("items", [])
    queues = {queue.metadata.name: queue for queue in map(Queue.model_validate, found)}
    if name not in queues:
        raise NotFound(f"queue {name!r} does not exist; atoll queue list shows those that do")
    return {each for each in queues if name in lineage(each, queues)}


def _grouped(rows: Iterable[Json], keys: tuple[str, ...]) -> list[Json]:
    """Sum rows up by some of their fields, in their order; days stay in time's, all else is by cost and size. Pure."""
    sums: dict[tuple[str, ...], Json] = {}
    for row in rows:
        key = tuple(str(row.get(name, "")) for name in keys)
        known = sums.setdefault(key, dict(zip(keys, key, strict=True)) | {"runs": 0} | dict.fromkeys(_SUMMED, 0.0))
        for name in ("runs", *_SUMMED):
            known[name] += row.get(name, 0)
    for row in sums.values():
        row.update({name: round(row[name], 6) for name in _SUMMED})
    return sorted(sums.values(), key=_order(keys))


def _order(keys: tuple[str, ...]) -> Callable[[Json], tuple[Any, ...]]:
    def order(row: Json) -> tuple[Any, ...]:
        size = (-row["cost"], -row["gpuSeconds"], -row["cpuSeconds"], *(row[key] for key in keys))
        return (row["day"], *size) if "day" in row else size

    return order


def _print(rows: Iterator[Json], keys: tuple[str, ...]) -> None:
    printer = TablePrinter([*(key.upper() for key in keys), "RUNS", "GPU-HOURS", "CPU-HOURS", "STAGED", "COST"])
    first = [_cells(row, keys) for row in islice(rows, _FIRST_ROWS)]
    if not first:
        hint("nothing was charged in that time: choose a longer one with --since")
        return
    printer.print(first)
    for row in rows:
        printer.print([_cells(row, keys)])


def _cells(row: Json, keys: tuple[str, ...]) -> tuple[object, ...]:
    runs = row["runs"] if "runs" in row else int(bool(row.get("isFinal")))
    hours = (amount(row.get(name, 0) / 3600) for name in ("gpuSeconds", "cpuSeconds"))
    staged = f"{amount(row.get('stagedBytes', 0) / 2**30)}Gi"
    estimated = "~" if row.get("isEstimated") else ""
    named = (row.get(key) or ("<none>" if key == "user" else "") for key in keys)
    return (*named, runs, *hours, staged, estimated + amount(row.get("cost", 0)))


def amount(value: float) -> str:
    """Write an amount to a hundredth; what is less so that it is not taken for nothing."""
    return f"{value:.2f}" if value == 0 or value >= _LEAST else f"<{_LEAST}"


def _columns(by: By) -> dict[str, type]:
    texts: dict[str, type] = dict.fromkeys(_KEYS[by], str)
    return texts | {"runs": int} | dict.fromkeys(_SUMMED, float)


def _run_columns() -> dict[str, type]:
    texts: dict[str, type] = dict.fromkeys(_RUN_TEXTS, str)
    return texts | dict.fromkeys(_INTEGERS[:2], int) | dict.fromkeys(_SUMMED, float) | dict.fromkeys(_CLAIMS, bool)


def _lines(api: Api, what: str, query: Mapping[str, str]) -> Iterator[Json]:
    """Read the lines of an answer as they come."""
    rest = b""
    for chunk in api.chunks(f"{_PATH}/{what}", query):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (orjson.loads(line) for line in lines if line)
    if rest:
        yield orjson.loads(rest)
