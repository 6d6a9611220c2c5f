"""What the scheduler keeps of a job: so little that a million fit into memory, read from the object's plain JSON form.

Owns which fields of a job say what it asks for. Jobs of one queue that ask for the same stand in one group and are
decided about together; what differs between thousands of jobs of one template (commands, arguments, environment) is
left out of that, but for the few words that commands have for those who learn run times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from atoll.federation.estimates import command_of
from atoll.federation.resources import FINISHED_JOB_PHASES
from atoll.federation.resources.submitter import SUBMITTER

# Fields of a spec that no demand is read from: whether and when a job may start, and what follows from how it ends.
_NOT_ASKED = frozenset(
    {
        "queue", "priority", "dependsOn", "ifNeverSatisfied", "held", "cancelled", "retries", "retryPolicy", "requeues",
        "lossPolicy", "gracePeriod",
    }
)  # fmt: skip
# Fields of containers, wherever a workload has them: they differ from job to job, and no demand is read from them.
_OF_CONTAINERS = frozenset({"command", "args", "env", "envFrom"})
_NESTED = frozenset({dict, list})
# Fields beside `template` in which kinds have more pod templates.
_TEMPLATES = frozenset({"replicatedJobs", "jobTemplate", "leaderWorkerTemplate", "tasks", "templates"})
# Asks that are kept once for all who ask the same, beyond which they are collected anew. More: memory. Fewer: jobs of
# many templates in turn each keep their own.
_MOST_ASKS = 50_000


@dataclass(frozen=True)
class Block:
    """Why a job waits: a word and a sentence."""

    reason: str
    message: str


class Ask(NamedTuple):
    """What makes jobs alike: all that a queue and the clusters are asked for. `text` is a job in JSON, reduced.

    `command` stands for what its containers are told to do: how long they run is learned by it, where nobody says.
    """

    namespace: str
    queue: str
    priority: int
    submitter: str
    text: bytes
    command: str = ""


class Brief(NamedTuple):
    """One job that has not ended. `since` is the timestamp from which it waits.

    `is_wanted`: it is pending and neither cancelled nor being deleted. `block`: somebody holds it, or it is not its
    time yet. `awaits`: it depends on other jobs. `doubles`: another run may begin beside one that is left behind.
    `grace`: how long its pods may take to end.
    """

    uid: str
    ask: Ask
    since: float
    attempts: int
    is_wanted: bool
    block: Block | None
    awaits: bool
    doubles: bool
    grace: str | None = None


class Briefing:
    """Reads briefs. What is the same in many of them is kept once."""

    def __init__(self) -> None:
        """Know no job."""
        self._asks: dict[Ask, Ask] = {}

    def read(self, obj: Mapping[str, Any]) -> Brief | None:
        """Read a Job in its JSON form; None if it has ended."""
        metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        phase = status.get("phase", "Pending")
        if phase in FINISHED_JOB_PHASES:
            return None
        attempts, namespace = status.get("attempts", 0), metadata.get("namespace") or ""
        submitter = (metadata.get("annotations") or {}).get(SUBMITTER, "")
        is_wanted = phase == "Pending" and not spec.get("cancelled") and "deletionTimestamp" not in metadata
        block = _blocked_by_itself(metadata["name"], namespace, spec, status) if is_wanted else None
        ask = Ask(namespace, spec["queue"], spec.get("priority", 0), submitter, *_asked(spec, status))
        since = _timestamp(status.get("queuedAt") or metadata.get("creationTimestamp"))
        awaits, doubles = _awaits(spec, attempts), spec.get("lossPolicy") == "Duplicate"
        rest = (is_wanted, block, awaits, doubles, spec.get("gracePeriod"))
        return Brief(metadata.get("uid") or "", self._once(ask), since, attempts, *rest)

    def _once(self, ask: Ask) -> Ask:
        """Give the one that all who ask the same have: a million jobs have some hundreds."""
        if len(self._asks) >= _MOST_ASKS:
            self._asks = {}
        return self._asks.setdefault(ask, ask)


def _asked(spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[bytes, str]:
    """Reduce a job to what it asks for, and its command. What an array has done already is part of that."""
    asked = {name: part for name, part in spec.items() if name not in _NOT_ASKED}
    workload = spec.get("workload")
    asked["workload"] = _plainly(workload) or _without_commands(workload)
    whole = {"spec": asked}
    if spec.get("array"):
        whole["status"] = {name: status[name] for name in ("array", "dependencies") if name in status}
    is_said = bool(spec.get("expectedDuration"))  # then nothing is learned by what it does
    text = orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)
    return text, "" if is_said else command_of(spec.get("workload") or {})


def _blocked_by_itself(name: str, namespace: str, spec: Mapping[str, Any], status: Mapping[str, Any]) -> Block | None:
    if spec.get("held"):
        return Block("Held", f"it is not placed until it is released: atoll job release {name} -n {namespace}")
    if instant := status.get("retryAt"):
        is_told = status.get("reason") == "RetryBackoff"  # it may have been held meanwhile
        return Block("RetryBackoff", status["message"] if is_told else f"it is tried again at {instant[11:19]} UTC")
    return None


def _awaits(spec: Mapping[str, Any], attempts: int) -> bool:
    """Tell whether it depends on other jobs yet: once it was placed, only if they let its tasks go one by one."""
    asked = spec.get("dependsOn")
    return any(not attempts or each.get("perTask") for each in asked) if asked else False


def _plainly(workload: Any) -> dict[str, Any] | None:
    """Leave the same out of a workload of one pod template and no more; None if it is another. Most are such, and a
    million are read in half the time."""
    try:
        pod = workload["spec"]["template"]["spec"]
        if "initContainers" in pod or not workload["spec"].keys().isdisjoint(_TEMPLATES):
            return None
        containers = [
            {name: part for name, part in each.items() if name not in _OF_CONTAINERS} for each in pod["containers"]
        ]
    except (KeyError, TypeError, AttributeError):  # people wrote it: it may have any form
        return None
    template = {**workload["spec"]["template"], "spec": {**pod, "containers": containers}}
    return {**workload, "spec": {**workload["spec"], "template": template}}


def _without_commands(value: Any) -> Any:
    """Leave out what no demand is read from. A million jobs are read so: no call for words and numbers."""
    if type(value) is dict:
        return {
            name: _without_commands(part) if type(part) in _NESTED else part
            for name, part in value.items()
            if name not in _OF_CONTAINERS
        }
    if type(value) is list:
        return [_without_commands(part) for part in value]
    return value


def _timestamp(instant: str | None) -> float:
    return datetime.fromisoformat(instant).timestamp() if instant else float("inf")
