"""What can be done from pages, and the command that does the same. Pure; `doing` carries it out through the API.

Owns the list of actions: what each asks of the API, in which state it makes sense, and how the command line says it.
"""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from atoll.federation.resources import API_GROUP, API_VERSION, FINISHED_JOB_PHASES
from atoll.federation.resources.policyset_rollout import APPROVED_ANNOTATION
from atoll.hub.dashboard.ask import Ask, link
from atoll.kubeapi.resource import Object


@dataclass(frozen=True)
class Deed:
    """One thing that can be done to objects of a kind: a merge patch.

    `patch` makes it of the object as it is now; `moot` says why it makes no sense for an object, empty if it does.
    `command` has `{name}` and `{namespace}`. `seen` is what a person has to have looked at: where it has changed since
    the page was drawn, nothing is done.
    """

    plural: str
    word: str
    command: str
    patch: Callable[[Object], Mapping[str, Any]]
    moot: Callable[[Object], str] = lambda _obj: ""
    confirm: str = ""
    tone: str = ""
    seen: Callable[[Object], str] = lambda _obj: ""


@dataclass(frozen=True)
class Action:
    """A deed on one object, as a button with its command; `why_not` is empty if this user may do it."""

    url: str
    word: str
    command: str
    why_not: str = ""
    confirm: str = ""
    tone: str = ""


def path_of(plural: str, namespace: str, name: str) -> str:
    """Give the API's path of an object."""
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{API_GROUP}/{API_VERSION}{inside}/{plural}/{name}"


def offered(ask: Ask, plural: str, obj: Object) -> tuple[Action, ...]:
    """Give what can be done to an object in its state; what this user may not do is there with the reason."""
    namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
    why_not = ask.rights.why_not("patch", plural, namespace)
    return tuple(
        Action(
            link("do", word, plural, namespace or "-", name, seen=deed.seen(obj)),
            deed.word,
            command(deed, namespace, name),
            why_not,
            deed.confirm.format(name=name),
            deed.tone,
        )
        for word, deed in DEEDS.items()
        if deed.plural == plural and not deed.moot(obj)
    )


def command(deed: Deed, namespace: str, name: str) -> str:
    """Give the command that does a deed."""
    return deed.command.format(name=shlex.quote(name), namespace=shlex.quote(namespace))


def _spec(**fields: Any) -> Callable[[Object], Mapping[str, Any]]:
    return lambda _obj: {"spec": fields}


def _requeued(job: Object) -> Mapping[str, Any]:
    """Count up what is there; the revision guards the count, so that two requests at one moment are not one."""
    spec = {"requeues": job["spec"].get("requeues", 0) + 1, "cancelled": False, "stopGrace": None}
    return {"metadata": {"resourceVersion": job["metadata"]["resourceVersion"]}, "spec": spec}


def _phase(job: Object) -> str:
    return str((job.get("status") or {}).get("phase", "Pending"))


def _has_ended(job: Object) -> str:
    return f"it has ended: {_phase(job)}" if _phase(job) in FINISHED_JOB_PHASES else ""


def _unless(field: str, wanted: bool, words: str) -> Callable[[Object], str]:
    return lambda obj: "" if bool((obj.get("spec") or {}).get(field)) is wanted else words


def _first(*tests: Callable[[Object], str]) -> Callable[[Object], str]:
    return lambda obj: next((why for test in tests if (why := test(obj))), "")


def _rollout(policyset: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (policyset.get("status") or {}).get("rollout") or {}
    return found


def _rolled_out(policyset: Object) -> str:
    return str(_rollout(policyset).get("commit", ""))


def _awaits_nobody(policyset: Object) -> str:
    return "" if _rollout(policyset).get("phase") == "AwaitingApproval" else "nothing waits for approval"


def _earlier(policyset: Object) -> str:
    """Give the commit that was complete before, as `atoll policy rollback` chooses it."""
    rollout = _rollout(policyset)
    good, commit = rollout.get("good", ""), rollout.get("commit", "")
    return str(good if good != commit else rollout.get("previous", ""))


def _cannot_go_back(policyset: Object) -> str:
    if (policyset.get("spec") or {}).get("pinnedCommit"):
        return "a commit is pinned already"
    return "" if _earlier(policyset) else "no other commit was complete before"


DEEDS: Mapping[str, Deed] = {
    "hold": Deed(
        "jobs",
        "Hold",
        "atoll job hold {name} -n {namespace}",
        _spec(held=True),
        _first(_has_ended, _unless("held", False, "it is held already")),
    ),
    "release": Deed(
        "jobs",
        "Release",
        "atoll job release {name} -n {namespace}",
        _spec(held=False),
        _unless("held", True, "it is not held"),
    ),
    "requeue": Deed(
        "jobs",
        "Requeue",
        "atoll job requeue {name} -n {namespace}",
        _requeued,
        confirm="Stop {name} if it runs, and have it placed again?",
    ),
    "cancel": Deed(
        "jobs",
        "Cancel",
        "atoll job cancel {name} -n {namespace}",
        _spec(cancelled=True, stopGrace=None),
        _first(_has_ended, _unless("cancelled", False, "it is being cancelled")),
        confirm="Cancel {name}? What it has not written is lost.",
        tone="danger",
    ),
    "cordon": Deed(
        "clusters",
        "Cordon",
        "atoll cluster cordon {name}",
        _spec(unschedulable=True),
        _unless("unschedulable", False, "it is cordoned already"),
    ),
    "uncordon": Deed(
        "clusters",
        "Uncordon",
        "atoll cluster uncordon {name}",
        _spec(unschedulable=False, draining=False, evict="ByPolicy"),
        _unless("unschedulable", True, "it takes work already"),
    ),
    "drain": Deed(
        "clusters",
        "Drain",
        "atoll cluster drain {name}",
        _spec(unschedulable=True, draining=True, evict="ByPolicy"),
        _unless("draining", False, "it is being drained"),
        confirm="Drain {name}? Nothing new is placed there, and runs leave it as their job's lossPolicy says.",
        tone="danger",
    ),
    "pin": Deed(
        "datasets",
        "Pin",
        "atoll dataset pin {name} -n {namespace}",
        _spec(pinned=True),
        _unless("pinned", False, "it is pinned already"),
    ),
    "unpin": Deed(
        "datasets",
        "Unpin",
        "atoll dataset unpin {name} -n {namespace}",
        _spec(pinned=False),
        _unless("pinned", True, "it is not pinned"),
        confirm="Unpin {name}? Retention may delete of it again.",
    ),
    "approve": Deed(
        "policysets",
        "Approve the next wave",
        "atoll policy approve {name}",
        lambda obj: {"metadata": {"annotations": {APPROVED_ANNOTATION: _rolled_out(obj)}}},
        _awaits_nobody,
        confirm="Let the commit of {name} into the next wave?",
        tone="primary",
        seen=_rolled_out,
    ),
    "rollback": Deed(
        "policysets",
        "Roll back",
        "atoll policy rollback {name}",
        lambda obj: {"spec": {"pinnedCommit": _earlier(obj)}},
        _cannot_go_back,
        confirm="Put the commit before in force in every cluster of {name} at once?",
        tone="danger",
        seen=_rolled_out,
    ),
    "resume": Deed(
        "policysets",
        "Follow Git again",
        "atoll policy resume {name}",
        _spec(pinnedCommit=None),
        lambda obj: "" if (obj.get("spec") or {}).get("pinnedCommit") else "it follows Git",
        confirm="Let {name} follow Git again? Its waves begin with the newest commit.",
    ),
}
