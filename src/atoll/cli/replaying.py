"""What `whatif` asks the hub, and how the answers are printed."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from atoll.cli import kinds, manifests
from atoll.cli.api import Api, Json
from atoll.cli.explaining import print_decision
from atoll.cli.jobs import UNMET
from atoll.cli.options import Output
from atoll.cli.output import plural, say, to_yaml
from atoll.cli.tables import print_table
from atoll.federation.capacity import format_duration, parse_bytes, parse_millicores
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import Job

RUN_HEADERS = ("RUN", "IF-LOST", "EFFECT", "NEXT", "LOST", "LATER", "COST")
CHANGE_HEADERS = ("JOB", "BEFORE", "AFTER")
_EFFECTS = {"Stays": "goes on there", "Stops": "is stopped", "Doubles": "goes on until another runs"}
# Of a job without a name: the hub gives it one.
_UNNAMED = "-"


def job(api: Api, file: str, namespace: str, output: Output) -> int:
    """Print where a job would go; give the exit code.

    Raises:
        InvalidInput: the file holds something else than one Job, or the hub would not admit it.
    """
    found = manifests.load([file], recursive=False)
    if len(found) != 1 or found[0].ref != kinds.atoll("Job"):
        what = f"{found[0].place} is a {found[0].ref.name}" if len(found) == 1 else f"{file} holds {len(found)} objects"
        raise InvalidInput(f"{what}: name a file with one Job")
    manifest = found[0]
    where = manifest.namespace(namespace) or namespace
    answer = _ask(api, "Job", where, manifest.name or _UNNAMED, manifest.body)
    if output is Output.TABLE:
        _print_job(Job.model_validate({**manifest.body, "metadata": _named(answer)}), answer)
    else:
        _say_record(answer, output)
    return 0 if answer["starts"] else UNMET


def outlook(api: Api, namespace: str, manifest: Json) -> str:
    """Say in a line where a job would go if it were submitted now, or why it would wait."""
    answer = _ask(api, "Job", namespace, manifest["metadata"].get("name") or _UNNAMED, manifest)
    decision = answer["decision"]
    if decision is None:
        return f"it would wait: {answer['reason']}: {answer['message']}"
    if decision.get("queue"):
        return f"it would wait for its queue: {decision['queue']['message']}"
    if not decision.get("selected"):
        return "it would wait: no cluster can take it; atoll whatif job has each one's reason"
    if answer["starts"]:
        return f"it would start on {decision['selected']} now"
    return f"it would wait for room on {decision['selected']}, {_expected_wait(decision)}"


def _expected_wait(decision: Mapping[str, Any]) -> str:
    terms = [each["terms"] for each in decision["clusters"] if each["cluster"] == decision["selected"]]
    return f"about {format_duration(math.ceil(terms[0]['waitSeconds']))}" if terms and terms[0] else "for a while"


def drain(api: Api, name: str, output: Output, *, force: bool) -> None:
    """Print what a drain of a cluster would come to."""
    answer = _ask(api, "Cluster", None, name, {"drain": {"evict": "All" if force else "ByPolicy"}})
    if output is not Output.TABLE:
        _say_record(answer, output)
        return
    runs = answer["runs"]
    if not runs:
        say(f"no run is on {name}")
    else:
        print_table(RUN_HEADERS, [_run_row(each) for each in runs])
    _print_changes(answer["pending"], "no job that waits now would fare otherwise")


def quota(api: Api, name: str, change: Json, output: Output) -> None:
    """Print what other limits or another weight of a queue would come to."""
    answer = _ask(api, "Queue", None, name, {"spec": change})
    if output is not Output.TABLE:
        _say_record(answer, output)
        return
    say(f"{plural(len(answer['starts']), 'job')} of {answer['pending']} that wait would start now that else would not"
        f", and {len(answer['waits'])} would wait")  # fmt: skip
    _print_stops(answer["stops"])
    _print_changes(answer["changes"], "nothing would change for any of them")


def change_of(*, gpus: int | None, cpu: str | None, memory: str | None, weight: int | None) -> Json:
    """Make the change of a queue's spec that options mean. Pure.

    Raises:
        InvalidInput: an amount is malformed, or nothing would change.
    """
    if cpu is not None:
        parse_millicores(cpu)
    if memory is not None:
        parse_bytes(memory)
    given = {"gpus": gpus, "cpu": cpu, "memory": memory}
    limit = {name: value for name, value in given.items() if value is not None}
    change: Json = {"quota": {"limit": limit}} if limit else {}
    if gpus is not None:
        change["maxGpus"] = None  # the short form of the same limit
    if weight is not None:
        change["weight"] = weight
    if not change:
        raise InvalidInput("say what would change: --gpus, --cpu, --memory or --weight")
    return change


def _ask(api: Api, kind: str, namespace: str | None, name: str, body: Json) -> Json:
    return api.create(f"{kinds.atoll(kind).path(namespace, name)}/whatif", body)


def _named(answer: Mapping[str, Any]) -> Json:
    namespace, _, name = answer["job"].partition("/")
    return {"name": name, "namespace": namespace}


def _print_job(job: Job, answer: Mapping[str, Any]) -> None:
    if answer["decision"] is None:
        say(f"job/{job.metadata.name} would wait: {answer['reason']}: {answer['message']}")
        return
    print_decision(job, answer["decision"])
    _print_stops(answer["stops"])


def _run_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    later = entry["laterSeconds"]
    fate = entry["next"]
    return (
        entry["run"],
        entry["lossPolicy"],
        _EFFECTS[entry["effect"]],
        _where(fate) if fate is not None else "-",
        format_duration(entry["lostSeconds"]) if entry["lostSeconds"] else "-",
        "-" if later is None else f"{'-' if later < 0 else ''}{format_duration(abs(later))}",
        f"{fate['money']:.2f}" if fate is not None and fate["money"] is not None else "-",
    )


def _print_stops(runs: list[str]) -> None:
    if runs:
        say(f"{plural(len(runs), 'run')} would be stopped for that: {', '.join(runs)}")


def _print_changes(changes: list[Mapping[str, Any]], nothing: str) -> None:
    if not changes:
        say(nothing)
        return
    print_table(CHANGE_HEADERS, list(_change_rows(changes)))


def _change_rows(changes: list[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for each in changes:
        yield each["job"], _where(each["before"]), _where(each["after"])


def _where(fate: Mapping[str, Any]) -> str:
    """Say in a few words what the next cycle does with a job."""
    if fate["starts"]:
        return f"starts on {fate['cluster']}"
    if fate["cluster"] is None:
        return f"waits: {fate['reason']}"
    return f"waits {format_duration(fate['waitSeconds'])} for {fate['cluster']}"


def _say_record(answer: Json, output: Output) -> None:
    if output is Output.JSON:
        import orjson

        say(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    else:
        say(to_yaml(answer).rstrip())
