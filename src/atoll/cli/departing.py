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
from atoll.federation.holdings import holdings
from atoll.federation.resources import FINISHED_RUN_PHASES, Dataset, Stream
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
        NotFound: there is no such cluster. Conflict: runs are going there, streams have it as home, or data would be
            deleted that is nowhere else; not with force. InvalidInput: the time-out is none.
    """
    parse_duration(wanted.timeout)
    name, path = wanted.name, kinds.atoll("Cluster").path(None, wanted.name)
    found = api.find(path)
    has_agent = _has_agent(wanted)
    if wanted.dry_run:
        _tell_plan(wanted, is_known=found is not None, has_agent=has_agent)
    if found is not None:
        _check_runs(api, wanted)
        _check_holdings(api, wanted)
    if wanted.dry_run:
        say(f"cluster/{name} left (dry run)")
        return
    was_member = found is None and send_away(api, "cluster", name)
    if found is None and not was_member:
        _remove_stray(wanted, has_agent=has_agent)
        return
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


def _has_agent(wanted: Leaving) -> bool:
    """Tell whether the cluster that was named has the agent of exactly this Cluster."""
    if not wanted.access.is_given:
        return False
    wanted.access.check()
    installed = membercluster.found_in(wanted.access, wanted.name)
    return installed is not None and installed.cluster == wanted.name


def _remove_stray(wanted: Leaving, *, has_agent: bool) -> None:
    """Take away an agent that the hub knows nothing of.

    Raises:
        NotFound: there is none of that name.
    """
    if not has_agent:
        raise NotFound(f"there is no cluster {wanted.name}, and no member of that name")
    hint(f"the hub knows no cluster {wanted.name}; its agent is removed")
    _remove_agent(wanted)
    say(f"agent of cluster/{wanted.name} removed")


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


def _check_holdings(api: Api, wanted: Leaving) -> None:
    """Name what only this cluster has; refuse to leave streams without a home, and to delete an only copy."""
    streams = [Stream.model_validate(each) for each in api.get(kinds.atoll("Stream").collection())["items"]]
    datasets = [Dataset.model_validate(each) for each in api.get(kinds.atoll("Dataset").collection())["items"]]
    held = holdings(wanted.name, streams, datasets)
    if held.streams and not wanted.force:
        raise Conflict(f"{held.of_streams()}: set their spec.home to another cluster, or leave with --force")
    if held.only_copies and wanted.delete_data and not wanted.force:
        raise Conflict(
            f"{held.of_copies()}: copy it elsewhere first (by a Transfer), keep it by leaving out --delete-data, "
            "or delete it with --force"
        )
    if held.streams:
        hint(f"{held.of_streams()}; nothing of them is written until they have another one")
    if held.only_copies:
        hint(f"{held.of_copies()}; {'it is deleted' if wanted.delete_data else 'it stays there'}")


def _tell_plan(wanted: Leaving, *, is_known: bool, has_agent: bool) -> None:
    if not is_known and not has_agent:
        raise NotFound(f"there is no cluster {wanted.name}")
    data = "deleted" if wanted.delete_data else "kept"
    if is_known:
        hint(
            f"its policies and data services would be taken back, volumes with datasets {data}, its credentials revoked"
        )
    if has_agent:
        hint("the agent's own objects would be removed from the cluster")


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
    hint("the agent's own objects are still in the cluster; remove them with these, by its context in your kubeconfig:")
    kubectl = ("kubectl", "--context", f"CONTEXT-OF-{wanted.name}")  # no context has capitals like these by chance
    for _, kind, namespace, name in removal():
        where = ("--namespace", namespace) if namespace else ()
        hint(f"  {shlex.join((*kubectl, 'delete', kind.lower(), name, *where, '--ignore-not-found'))}")
