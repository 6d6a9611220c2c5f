"""What `job top` prints: what the pods of jobs use at this moment beside what they asked for."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any

from atoll.cli import kinds, listing, watching
from atoll.cli.ages import age
from atoll.cli.api import Api
from atoll.cli.options import Output
from atoll.cli.output import hint, plural, say, to_yaml
from atoll.cli.tables import print_table
from atoll.federation.capacity import format_bytes, format_millicores
from atoll.federation.errors import AtollError

HEADERS = ("JOB", "POD", "CLUSTER", "NODE", "CPU", "MEMORY", "GPUS", "AGE")
_AT_ONCE = 8
# Agents are asked one by one: so many answers are as much as anybody reads.
_MOST_JOBS = 200
Json = dict[str, Any]


def show(api: Api, namespace: str, name: str | None, output: Output, *, watch: bool = False) -> int:
    """Print what one job uses, or what all that run do ("" for all namespaces), if asked again at each change.

    Gives the exit code.

    Raises:
        NotFound: there is no such job. InvalidInput, Unavailable: it does not run, or its cluster is not heard.
    """

    def read() -> tuple[str, list[Json]]:
        return ("", [_ask(api, namespace, name)]) if name else _all(api, namespace)

    everywhere = not (namespace or name)
    return watching.show(read, partial(_print, output=output, everywhere=everywhere), output, watch=watch)


def _print(found: tuple[str, list[Json]], output: Output, *, everywhere: bool) -> int:
    told, records = found
    if told:
        hint(told)
    if output is Output.JSON:
        import orjson

        say(orjson.dumps(records, option=orjson.OPT_INDENT_2).decode())
    elif output is Output.YAML:
        say(to_yaml(records).rstrip())
    elif records:
        headers = ("NAMESPACE", *HEADERS) if everywhere else HEADERS
        print_table(headers, [row for record in records for row in _rows(record, with_namespace=everywhere)])
    for record in records:
        if record["message"]:
            hint(f"job/{record['job']}: {record['message']}")
    return 1 if records and all(record["failed"] for record in records) else 0


def _all(api: Api, namespace: str) -> tuple[str, list[Json]]:
    """Ask about all that run; give also what has to be told of how many these are."""
    items = api.get(kinds.atoll("Job").collection(namespace or None)).get("items", [])
    running = [item["metadata"] for item in items if (item.get("status") or {}).get("phase") == "Running"]
    if not running:
        where = f" in namespace {namespace}" if namespace else ""
        return f"no job runs{listing.missing_namespace(api, namespace) or where}", []
    is_all = len(running) <= _MOST_JOBS
    told = f"{plural(len(running), 'job')} run; these are the first {_MOST_JOBS}: name one, or a namespace"
    chosen = [(each["namespace"], each["name"]) for each in running[:_MOST_JOBS]]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return "" if is_all else told, list(pool.map(partial(_tried, api), *zip(*chosen, strict=True)))


def _tried(api: Api, namespace: str, name: str) -> Json:
    """Ask about one of many: that it cannot be told is a line, not the end of all."""
    try:
        return _ask(api, namespace, name)
    except AtollError as error:
        return {"job": name, "namespace": namespace, "failed": True, "pods": [], "cluster": "", "message": str(error)}


def _ask(api: Api, namespace: str, name: str) -> Json:
    answer = api.get(f"{kinds.atoll('Job').path(namespace, name)}/top")
    return {"job": name, "namespace": namespace, "failed": False, **answer}


def _rows(record: Json, *, with_namespace: bool) -> Iterator[tuple[str, ...]]:
    where = (record["namespace"],) if with_namespace else ()
    for pod in record["pods"]:
        cpu = _of(pod, "Millicores", format_millicores)
        memory = _of(pod, "MemoryBytes", format_bytes)
        started = pod.get("startedAt")
        since = age(datetime.fromisoformat(started)) if started else "-"
        gpus = str(pod["requestedGpus"] or "-")
        yield (*where, record["job"], pod["pod"], record["cluster"], pod["node"] or "-", cpu, memory, gpus, since)


def _of(pod: Json, what: str, written: Any) -> str:
    """Write what is used of what was asked for, such as 250m/1."""
    used = pod.get(f"used{what}")
    asked = pod[f"requested{what}"]
    return f"{'?' if used is None else written(used)}/{written(asked) if asked else '-'}"
