"""What `queue usage` prints: per queue its jobs and shares, what it is sure of, may hold and holds, and its budgets.

A queue is owed what it is guaranteed and does not hold, while a job waits in it that room would let start.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from atoll.cli import kinds, watching
from atoll.cli.accounts import amount
from atoll.cli.api import Api, Json
from atoll.cli.options import Output
from atoll.cli.output import say, to_yaml
from atoll.cli.tables import print_table
from atoll.federation.capacity import format_bytes, format_millicores
from atoll.federation.errors import NotFound
from atoll.federation.queueing import lineage, past_at, written
from atoll.federation.resources import Queue
from atoll.federation.resources.queue import HeldAmounts

JOB_HEADERS = ("NAME", "WEIGHT", "FAIR", "SHARE", "RUNNING", "WAITING")
RESOURCE_HEADERS = ("NAME", "RESOURCE", "GUARANTEED", "LIMIT", "USED", "BORROWED", "AVERAGE")
BUDGET_HEADERS = ("NAME", "PERIOD", "OF", "SPENT", "EXPECTED", "BUDGET", "RENEWS")
_BASE = ("cpu", "memory", "gpus")


def show(api: Api, name: str | None, output: Output, *, watch: bool = False) -> None:
    """Print the usage of all queues, or of one and those below it; if asked, again at each change.

    Raises:
        NotFound: there is no queue of that name.
    """
    path = kinds.atoll("Queue").collection(None)
    watching.show(
        lambda: api.get(path).get("items", []), partial(_print, name=name, output=output), output, watch=watch
    )


def _print(found: list[Json], name: str | None, output: Output) -> None:
    records = usage([Queue.model_validate(each) for each in found], name, datetime.now(UTC))
    if output is Output.JSON:
        import orjson

        say(orjson.dumps(records, option=orjson.OPT_INDENT_2).decode())
    elif output is Output.YAML:
        say(to_yaml(records).rstrip())
    else:
        print_table(JOB_HEADERS, [_job_row(record) for record in records])
        say("")
        print_table(RESOURCE_HEADERS, [row for record in records for row in _resource_rows(record)])
        if budgets := [row for record in records for row in _budget_rows(record)]:
            say("")
            print_table(BUDGET_HEADERS, budgets)
        for record in records:
            if owed := [written(path, amount) for path, amount in record["owed"].items() if amount]:
                say(f"queue/{record['name']} is owed {', '.join(owed)}")
            if record["problem"]:
                say(f"queue/{record['name']}: {record['problem']}")


def usage(queues: list[Queue], name: str | None, now: datetime) -> list[dict[str, Any]]:
    """Give a record per queue, each above those below it. CPU is in millicores, memory in bytes."""
    by_name = {queue.metadata.name: queue for queue in queues}
    if name is not None and name not in by_name:
        raise NotFound(f"queue {name!r} does not exist; atoll queue list shows those that do")
    lines = {each: lineage(each, by_name) for each in by_name}
    chosen = [each for each, line in lines.items() if name is None or name in line]
    return [_record(by_name[each], now) for each in sorted(chosen, key=lambda each: lines[each][::-1])]


def _record(queue: Queue, now: datetime) -> dict[str, Any]:
    spec, status = queue.spec, queue.status
    given = {**spec.quota.guaranteed.amounts(), **spec.limits}
    told = {"Sound", "WithinBudget"}
    problems = [each.message for each in status.conditions if each.type in told and each.status != "True"]
    used = _amounts(status.used, given)
    eager = status.pending > status.barred
    sure = spec.quota.guaranteed.amounts()
    return {
        "name": queue.metadata.name,
        "parent": spec.parent,
        "weight": spec.weight,
        "guaranteed": sure,
        "limit": spec.limits,
        "maxRunningJobs": spec.max_running_jobs,
        "used": used,
        "owed": {path: max(0, amount - used[path]) for path, amount in sure.items()} if eager else {},
        "borrowed": _amounts(status.borrowed, given),
        "average": dict(zip(_BASE, past_at(status, now), strict=True)),
        "share": status.share,
        "fairShare": status.fair_share,
        "running": status.running,
        "waiting": status.pending,
        "budgets": [
            {**standing.wire(), "limits": budget.amounts}
            for budget, standing in zip(spec.budgets, status.budgets, strict=False)
        ],
        "problem": "; ".join(problems),
    }


def _amounts(held: HeldAmounts, given: Mapping[str, int]) -> dict[str, int]:
    """Give amounts by path, 0 for the models that the queue was given and holds none of."""
    models = {f"gpuModels.{model}": count for model, count in held.gpu_models.items()}
    base = {"cpu": held.millicores, "memory": held.memory_bytes, "gpus": held.gpus}
    return {**base, **{path: 0 for path in given if path not in base}, **models}


def _job_row(record: Mapping[str, Any]) -> tuple[str, ...]:
    most = record["maxRunningJobs"]
    running = str(record["running"]) if most is None else f"{record['running']}/{most}"
    shares = (f"{record[key] * 100:.1f}%" for key in ("fairShare", "share"))
    return (record["name"], str(record["weight"]), *shares, running, str(record["waiting"]))


def _resource_rows(record: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Give a row per resource, as far as the queue was given or holds any of it."""
    columns = [record[key] for key in ("guaranteed", "limit", "used", "borrowed", "average")]
    paths = dict.fromkeys(path for column in (dict.fromkeys(_BASE, 0), *columns) for path in column)
    for path in paths:
        if any(column.get(path) for column in columns):
            *exact, average = (column.get(path) for column in columns)
            cells = (*(_cell(path, amount) for amount in exact), _rounded(path, average))
            yield (record["name"], path.removeprefix("gpuModels."), *cells)


def _budget_rows(record: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Give a row per amount that a budget limits."""
    for budget in record["budgets"]:
        for name, limit in budget["limits"].items():
            spent, expected = (amount(budget[column].get(name, 0)) for column in ("spent", "expected"))
            yield (record["name"], budget["period"], name, spent, expected, f"{limit:g}", budget["renewsAt"][:10])


def _cell(path: str, amount: int | None) -> str:
    if amount is None:
        return "-"
    if path == "cpu":
        return format_millicores(amount)
    return format_bytes(amount) if path == "memory" else str(amount)


def _rounded(path: str, average: float | None) -> str:
    """Write an average to a tenth: of a core, of a GiB, of a GPU."""
    if average is None:
        return "-"
    if path == "memory":
        return f"{average / 2**30:.1f}Gi"
    return f"{average / 1000 if path == 'cpu' else average:.1f}"
