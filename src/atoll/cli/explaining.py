"""What `job explain` prints: the stored decision, every cluster with its seconds or reasons, and what would help."""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from atoll.cli import kinds
from atoll.cli.api import Api
from atoll.cli.array_tasks import known_as
from atoll.cli.explaining_room import instant, promised, stopped
from atoll.cli.jobs import read
from atoll.cli.options import Output
from atoll.cli.output import say, to_yaml
from atoll.cli.tables import print_table
from atoll.federation.capacity import format_duration
from atoll.federation.queueing import written
from atoll.federation.resources import FINISHED_JOB_PHASES, Job
from atoll.federation.resources.job import ArrayStatus
from atoll.federation.tasks import Tasks

DECISION_HEADERS = ("CLUSTER", "WAIT", "STAGING", "RUN", "COST", "IDLE", "TOTAL", "")
# Of lossPolicy Wait there is nothing to say: the work goes on.
_IF_LOST = {
    "Failover": "placed again when it must have ended there",
    "Duplicate": "placed again at once, beside what may still run",
}
# Of more clusters than a screen shows, those that are out for the same reason share a row.
_MOST_ROWS = 8
HOLDER_HEADERS = ("JOB", "QUEUE", "HOLDS")
_TERMS = ("waitSeconds", "stagingSeconds", "runSeconds", "moneySeconds", "idleSeconds", "totalSeconds")
_NO_TERMS = ("-",) * len(_TERMS)
_FORMULA = "in seconds: total = max(wait, staging) + run + cost + idle"


def explain(api: Api, namespace: str, name: str, output: Output) -> None:
    """Print why a job is where it is, or why it waits."""
    job = read(api, namespace, name)
    record = job.status.decision
    known = {"job": name, "phase": job.status.phase, "reason": job.status.reason, "message": job.status.message}
    if output is Output.JSON:
        import orjson

        say(orjson.dumps(record or known, option=orjson.OPT_INDENT_2).decode())
    elif output is Output.YAML:
        say(to_yaml(record or known).rstrip())
    else:
        _print(api, job, record)
        for line in stopped(api, job):
            say(line)


def _print(api: Api, job: Job, record: Mapping[str, Any] | None) -> None:
    name = job.metadata.name
    for line in about_itself(job):
        say(line)
    if job.spec.cancelled:
        say(f"job/{name} was cancelled{'; the last decision:' if record else ' before it was placed'}")
    if record is None:
        for line in undecided(job):
            say(line)
        return
    over = ended_holders(api, record) if record.get("queue") else frozenset()
    print_decision(job, record, over)


def print_decision(job: Job, record: Mapping[str, Any], over: Set[str] = frozenset()) -> None:
    """Print a decision: what it means for the job, every cluster, and what would help.

    Args:
        over: jobs that held something when this was decided, and have ended since.
    """
    if not job.spec.cancelled and job.status.retry_at is None:
        say(headline(job.metadata.name, record, phase=job.status.phase))
    if record.get("queue"):
        _print_queue(record["queue"], str(record.get("decidedAt", "")), over)
        return
    for line in (*standing(job, record), *promised(record)):
        say(line)
    print_table(DECISION_HEADERS, folded(decision_rows(record)))
    if record.get("selected"):
        say(_FORMULA)
    for line in expectation(record):
        say(line)
    if job.spec.loss_policy in _IF_LOST:
        say(f"if its cluster is lost: {_IF_LOST[job.spec.loss_policy]} (lossPolicy {job.spec.loss_policy})")
    for line in dict.fromkeys(_suggestion(suggestion) for suggestion in record.get("diagnosis", ())):
        say(line)


def undecided(job: Job) -> list[str]:
    """Say how it is with a job about which nothing was decided yet: it is held, or waits for its turn or other jobs."""
    if job.spec.cancelled:
        return []
    status = job.status
    how = "waits" if status.phase == "Pending" else f"is {status.phase}"
    why = status.message or ("nothing was decided about it yet" if status.phase == "Pending" else "")
    reason = f" ({status.reason})" if status.reason else ""
    return [f"job/{job.metadata.name} {how}{reason}{f': {why}' if why else ''}"]


def about_itself(job: Job) -> list[str]:
    """Say what no decision tells: how far an array is, and until when the job waits after a failure."""
    lines, status = [], job.status
    if status.array is not None:
        lines.append(f"tasks: {tasks_in_words(job, status.array)}")
    if status.retry_at is not None:
        lines.append(f"job/{job.metadata.name} waits: {status.message}; the last decision:")
    return lines


def tasks_in_words(job: Job, array: ArrayStatus) -> str:
    """Say in a line how far the tasks of an array are."""
    failed = f" ({known_as(job, Tasks.parse(array.failed_tasks)).shown()})" if array.failed_tasks else ""
    done = f"{array.succeeded} of {array.total} succeeded, {array.running} running"
    return f"{done}, {array.failed} failed{failed}, {array.waiting} waiting"


def expectation(record: Mapping[str, Any]) -> list[str]:
    """Say what was learned of the job's run time, and of GPU models, where it goes."""
    entries = [each for each in record.get("clusters", ()) if each.get("cluster") == record.get("selected")]
    return [note for each in entries for note in each.get("notes", ()) if "learned" in note]


def standing(job: Job, record: Mapping[str, Any]) -> list[str]:
    """Say how a placed job is now, and as of when the table is: it is not made again while a run goes on."""
    status, lines = job.status, []
    if status.run is not None:
        where = f" on {status.cluster}" if status.cluster else ""
        why = f": {status.reason}" + (f": {status.message}" if status.message else "") if status.reason else ""
        lines.append(f"now: {status.phase}{where}{why}")
    if record.get("decidedAt"):
        lines.append(f"as it was when this was decided, at {instant(record['decidedAt'])}:")
    return lines


def folded(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Put clusters of a long table that have the same reasons into one row, where the first of them stands."""
    if len(rows) <= _MOST_ROWS:
        return list(rows)
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, *rest in rows:
        key = tuple(rest) if rest[0] == "-" else (name, *rest)  # one with terms stands alone
        alike.setdefault(key, []).append(name)
    return [(_together(names), *key[len(key) - len(DECISION_HEADERS) + 1 :]) for key, names in alike.items()]


def _together(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def headline(name: str, record: Mapping[str, Any], *, phase: str = "Pending") -> str:
    """Say in one line what was decided; of a job that has ended, what had been."""
    selected = record.get("selected")
    if selected and phase in FINISHED_JOB_PHASES:
        return f"job/{name} → {selected}, where it has ended: {phase}"
    if phase in FINISHED_JOB_PHASES:
        return f"job/{name} has ended: {phase}; the last decision:"
    if record.get("queue"):
        return f"job/{name} waits for its queue: {record['queue']['message']}"
    if not selected:
        return f"job/{name} waits: no cluster can take it"
    when = "starts there now" if record.get("startsNow") else "waits for room there"
    return f"job/{name} → {selected}, {when}"


def ended_holders(api: Api, record: Mapping[str, Any]) -> frozenset[str]:
    """Name those of whom a record says that they hold something, and who have ended since."""
    jobs = [str(each["job"]) for each in record["queue"].get("holders", ())]
    found = {key: api.find(kinds.atoll("Job").path(*key.split("/", 1))) for key in jobs}
    return frozenset(
        key for key, job in found.items() if job is None or job["status"].get("phase") in FINISHED_JOB_PHASES
    )


def _print_queue(limit: Mapping[str, Any], decided_at: str, over: Set[str]) -> None:
    """Print who holds what a queue's limit is of, and what would have to change."""
    holders = limit.get("holders", ())
    if holders:
        say(f"who holds most of it, as of {instant(decided_at)}:")
        print_table(HOLDER_HEADERS, [_holder(each, over) for each in holders])
    rest = limit.get("held", 0) - sum(each["amount"] for each in holders)
    if holders and rest > 0:
        say(f"and others: {written(limit['resource'], rest)}")
    say(f"would help: {limit['advice']}")


def _holder(entry: Mapping[str, Any], over: Set[str]) -> tuple[str, ...]:
    since = " (has ended since)" if entry["job"] in over else ""
    return (entry["job"], entry["queue"], entry["holds"] + since)


def decision_rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Give a row per cluster: its terms in seconds, or why it cannot take the job."""
    rows = [_row(entry, record.get("selected")) for entry in record.get("clusters", ())]
    omitted = record.get("omitted") or {}
    return [*rows, *(_omitted(reason, count) for reason, count in omitted.items())]


def _row(entry: Mapping[str, Any], selected: str | None) -> tuple[str, ...]:
    terms = entry.get("terms")
    if not entry.get("isFeasible") or terms is None:
        return (entry["cluster"], *_NO_TERMS, _reasons(entry.get("reasons", ())))
    mark = ["selected"] if entry["cluster"] == selected else []
    copies = [f"copies {item['dataset']} from {item['source']}" for item in entry.get("staging", ())]
    # Records of earlier versions have no idle time.
    return (entry["cluster"], *(seconds(terms.get(term, 0.0)) for term in _TERMS), "; ".join([*mark, *copies]))


def _reasons(reasons: Iterable[Mapping[str, Any]]) -> str:
    return "; ".join(f"{reason['reason']}: {reason['message']}" for reason in reasons)


def _omitted(reason: str, count: int) -> tuple[str, ...]:
    return (f"({count} more)", *_NO_TERMS, reason)


def seconds(value: float) -> str:
    """Write a term of a score: hundredths below ten, tenths above."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _suggestion(suggestion: Mapping[str, Any]) -> str:
    saves = suggestion.get("savesSeconds")
    gain = f" (total {format_duration(saves)} lower)" if saves else ""
    return f"would help: {suggestion['message']}{gain}"
