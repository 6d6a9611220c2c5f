"""What `cluster leave` does: say how, delete the Cluster, follow it until it has gone, tell what stays."""

import contextlib
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass

from atoll.cli import kinds, membercluster
from atoll.cli.api import Api, Json
from atoll.cli.enrolling import send_away
from atoll.cli.membercluster import Access
from atoll.cli.output import hint, plural, say
from atoll.federation.capacity import parse_duration
from atoll.federation.errors import Conflict, NotFound, Unavailable
from atoll.federation.resources import FINISHED_RUN_PHASES
from atoll.installation.manifests import removal

_POLL_SECONDS = 0.3
# A hub that restarts is waited for so long before the command gives up; the leave itself goes on.
_HUB_AWAY_SECONDS = 60.0
_LEAVING = "Leaving"


@dataclass(frozen=True)
class Leaving:
    """A leave as a person asks for it."""

    name: str
    access: Access
    timeout: str = "10m"
    force: bool = False
    delete_data: bool = False
    is_waited_for: bool = True
    dry_run: bool = False


def leave(api: Api, wanted: Leaving) -> None:
    """Have a cluster leave.

    Raises:
        NotFound: there is no such cluster. Conflict: runs are going there. InvalidInput: the time-out is none.
    """
    parse_duration(wanted.timeout)
    name, path = wanted.name, kinds.atoll("Cluster").path(None, wanted.name)
    found = api.find(path)
    if wanted.access.is_given:
        wanted.access.check()
        membercluster.found_in(wanted.access, name)
    if found is not None:
        _check_runs(api, wanted)
    if wanted.dry_run:
        _tell_plan(wanted, found)
        return
    was_member = found is None and send_away(api, "cluster", name)
    if found is None and not was_member and not wanted.access.is_given:
        raise NotFound(f"there is no cluster {name}, and no member of that name")
    if found is not None:
        _delete(api, wanted, path)
        if not wanted.is_waited_for:
            say(f"cluster/{name} leaving")
            return
        _follow(api, path, uid=found["metadata"]["uid"])
        send_away(api, "cluster", name)  # whose object was deleted before the hub had taken hold of it
        for event in _told(api, found["metadata"]["uid"]):
            if not (wanted.access.is_given and event["message"].startswith("Namespace ")):  # looked at again below
                hint(f"{'stays: ' if event['reason'] == 'Kept' else ''}{event['message']}")
    _remove_agent(wanted)
    say(f"cluster/{name} left")


def _check_runs(api: Api, wanted: Leaving) -> None:
    items = api.get(kinds.atoll("Run").collection())["items"]
    going = [
        run
        for run in items
        if run["spec"]["cluster"] == wanted.name
        and (run.get("status") or {}).get("phase", "Pending") not in FINISHED_RUN_PHASES
    ]
    if going and not wanted.force:
        raise Conflict(
            f"{plural(len(going), 'run')} of cluster {wanted.name} not over: drain it first "
            f"('atoll cluster drain {wanted.name}'), or stop them with --force"
        )
    if going:
        hint(f"{plural(len(going), 'run')} will be stopped there, and placed elsewhere")


def _tell_plan(wanted: Leaving, found: Json | None) -> None:
    if found is None:
        raise NotFound(f"there is no cluster {wanted.name}")
    data = "deleted" if wanted.delete_data else "kept"
    hint(f"its policies and data services would be taken back, volumes with datasets {data}, its credentials revoked")
    say(f"cluster/{wanted.name} left (dry run)")


def _delete(api: Api, wanted: Leaving, path: str) -> None:
    annotations = {
        "atoll.dev/leave-timeout": wanted.timeout,
        "atoll.dev/leave-force": "true" if wanted.force else None,
        "atoll.dev/leave-delete-data": "true" if wanted.delete_data else None,
    }
    api.merge(path, {"metadata": {"annotations": annotations}})
    with contextlib.suppress(NotFound):
        api.delete(path)


def _follow(api: Api, path: str, *, uid: str) -> None:
    """Print each step until the object has gone, through a restart of the hub."""
    told, away_since = "", 0.0
    while True:
        try:
            found = api.find(path)
        except Unavailable:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > _HUB_AWAY_SECONDS:
                raise
            time.sleep(_POLL_SECONDS)
            continue
        away_since = 0.0
        if found is None or found["metadata"]["uid"] != uid:
            return
        step = _step(found)
        if step and step != told:
            hint(step)
        told = step
        time.sleep(_POLL_SECONDS)


def _step(cluster: Json) -> str:
    conditions = (cluster.get("status") or {}).get("conditions") or ()
    return next((str(each.get("message", "")) for each in conditions if each["type"] == _LEAVING), "")


def _told(api: Api, uid: str) -> Iterator[Json]:
    """Give the events by which the hub said last what became of an object that has gone."""
    for event in api.get(kinds.EVENTS.collection("default"))["items"]:
        if (event.get("involvedObject") or {}).get("uid") == uid and event.get("reason") in ("Left", "Kept"):
            yield event


def _remove_agent(wanted: Leaving) -> None:
    if wanted.access.is_given:
        membercluster.uninstall(wanted.access)
        return
    hint("the agent's own objects are still in the cluster; remove them with:")
    for _, kind, namespace, name in removal():
        where = ("--namespace", namespace) if namespace else ()
        hint(f"  {shlex.join(('kubectl', 'delete', kind.lower(), name, *where, '--ignore-not-found'))}")
