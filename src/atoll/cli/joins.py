"""What `cluster join` does: invite the cluster, and print or apply what its agent is made of."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import orjson

from atoll import __version__
from atoll.cli import kinds, membercluster
from atoll.cli.api import Api, Json
from atoll.cli.enrolling import ensure_object, invite
from atoll.cli.membercluster import Access
from atoll.cli.options import ManifestOutput
from atoll.cli.output import hint, say, to_yaml
from atoll.cli.progress import waiting
from atoll.cli.refusals import LOOPBACK
from atoll.federation.capacity import parse_duration
from atoll.federation.errors import AtollError, Conflict, InvalidInput, Unavailable
from atoll.federation.resources.base import is_cluster_name
from atoll.installation.manifests import manifests
from atoll.installation.plan import Hub, Installation, Manifest, State, StateKind
from atoll.installation.systemd import script

PLACEHOLDER = "dry-run-issues-no-token"
_POLL_SECONDS = 0.3


@dataclass(frozen=True)
class Joining:
    """A join as a person asks for it."""

    name: str
    access: Access
    hub_url: str = ""
    image: str = ""
    state: str = "claim"
    storage_class: str = ""
    cilium_exec: bool = False
    job_exec: bool = False
    heartbeat_seconds: float | None = None
    on_host: bool = False
    timeout: str = "3m"
    is_waited_for: bool = True
    dry_run: bool = False


def join(api: Api, wanted: Joining, output: ManifestOutput) -> None:
    """Invite a cluster, and print or apply its agent.

    Raises:
        InvalidInput: options contradict each other. Conflict: the cluster is leaving, or another one's.
        Unavailable: it was not heard in time.
    """
    _check_name(wanted.name)
    plan, seconds = _plan(api, wanted), parse_duration(wanted.timeout)
    before = _known(api, wanted.name)
    if wanted.access.is_given:
        _apply(api, wanted, plan, before=before, seconds=seconds)
        return
    if _proven(before):
        hint(f"cluster/{wanted.name} is a member: who enrols with this token takes the place of its agent")
    _warn_of_loopback(plan)
    plan = _invited(api, wanted, plan)
    if wanted.on_host:
        say(script(plan).rstrip())
    else:
        _print(manifests(plan), output)
        if sys.stdout.isatty():
            again = f"atoll cluster join {wanted.name}"
            hint(
                f"this is for the cluster: {again} | kubectl --context CONTEXT apply -f -, or {again} --context CONTEXT"
            )


def _check_name(name: str) -> None:
    if not is_cluster_name(name):
        raise InvalidInput(
            f"{name!r} is no name of a cluster: a-z, 0-9 and '-', beginning and ending with a letter or digit, "
            "32 characters at most"
        )


def _plan(api: Api, wanted: Joining) -> Installation:
    if wanted.on_host and wanted.access.is_given:
        raise InvalidInput("--systemd prints a script for a host, --context applies to a cluster: give one of them")
    ca = api.credentials.ca.decode() if api.server.startswith("https://") else ""
    return Installation(
        cluster=wanted.name,
        hub=Hub(wanted.hub_url or api.server, ca),
        image=wanted.image or f"atoll:{__version__}",
        state=_state(wanted.state, wanted.storage_class),
        cilium_exec=wanted.cilium_exec,
        job_exec=wanted.job_exec,
        heartbeat_seconds=wanted.heartbeat_seconds,
    )


def _state(text: str, storage_class: str) -> State:
    """Read --state and say what is bad about it."""
    kind, _, path = text.partition(":")
    kinds_: dict[str, StateKind] = {"claim": "claim", "empty": "empty", "host": "host"}
    if kind not in kinds_ or (kind == "host") != path.startswith("/"):
        raise InvalidInput(f"--state {text}: give claim, empty or host:/FOLDER")
    if storage_class and kind != "claim":
        raise InvalidInput("--state-storage-class is of a claim: leave it out, or --state")
    if kind == "empty":
        hint("--state empty: a pod that is replaced needs a new token, and knows no orders while the hub is away")
    if kind == "host":
        hint(f"--state {text}: the pod finds it on one node only; there: install -d -m 700 -o 65532 {path}")
    return State(kinds_[kind], storage_class, path)


def _warn_of_loopback(plan: Installation) -> None:
    if urlsplit(plan.hub.url).hostname in LOOPBACK:
        hint(f"{plan.hub.url} is reached from this machine only: --hub-url names the hub as the agent reaches it")


def _known(api: Api, name: str) -> Json | None:
    found = api.find(kinds.atoll("Cluster").path(None, name))
    if found is not None and "deletionTimestamp" in found["metadata"]:
        raise Conflict(f"cluster {name} is leaving: wait for it, or 'atoll cluster leave {name} --force'")
    return found


def _proven(cluster: Json | None) -> str:
    return str(((cluster or {}).get("status") or {}).get("lastProvenAt") or "")


def _is_heard(cluster: Json | None) -> bool:
    return ((cluster or {}).get("status") or {}).get("phase") in ("Ready", "Degraded")


def _invited(api: Api, wanted: Joining, plan: Installation) -> Installation:
    """Give the plan with a token; in a dry run with what stands for one."""
    if wanted.dry_run:
        hint("dry run: nothing was created, and the token below is none")
        return replace(plan, hub=replace(plan.hub, token=PLACEHOLDER))
    if ensure_object(api, "cluster", wanted.name):
        hint(f"cluster/{wanted.name} created")
    invitation = invite(api, "cluster", wanted.name)
    hint(f"the token in it is good once, until {invitation.until}")
    return replace(plan, hub=replace(plan.hub, token=invitation.token))


def _print(objects: Iterable[Manifest], output: ManifestOutput) -> None:
    if output is ManifestOutput.YAML:
        say("---\n".join(to_yaml(each) for each in objects).rstrip())
        return
    listed: dict[str, Any] = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    say(orjson.dumps(listed, option=orjson.OPT_INDENT_2).decode())


def _apply(api: Api, wanted: Joining, plan: Installation, *, before: Json | None, seconds: float) -> None:
    """Apply to a cluster; an agent that is there and heard keeps its key, and gets what else is new."""
    access, name = wanted.access, wanted.name
    access.check()
    installed = membercluster.found_in(access, name)
    is_update = installed is not None and _is_heard(before)
    if wanted.dry_run:
        what = "updated" if is_update else "installed"
        hint(f"{len(manifests(plan))} objects would be applied; the same without --context prints them")
        say(f"cluster/{name} {what} (dry run)")
        return
    may_reach = wanted.is_waited_for and access.is_here()
    if not may_reach:
        _warn_of_loopback(plan)
    if is_update and installed is not None:
        hint(f"cluster/{name} has a working agent: it keeps its credentials, and no token is made")
        plan = replace(plan, enrolment=installed.enrolment)
    else:
        plan = _invited(api, wanted, plan)
    membercluster.install(access, manifests(plan))
    if wanted.is_waited_for:
        _wait_until_heard(api, wanted, _proven(before), seconds, doubtful=plan if may_reach else None)
    outcome = "updated" if is_update else "joined" if wanted.is_waited_for else "installed"
    say(f"cluster/{name} {outcome}")


def _wait_until_heard(api: Api, wanted: Joining, before: str, seconds: float, *, doubtful: Installation | None) -> None:
    """Wait; if in vain, warn of a doubtful address: containers of this machine have a loopback of their own."""
    hint(f"waiting until cluster/{wanted.name} is heard")
    deadline = time.monotonic() + seconds
    with waiting(f"cluster/{wanted.name} is not heard yet"):
        while time.monotonic() <= deadline:
            proven = _proven(api.find(kinds.atoll("Cluster").path(None, wanted.name)))
            if proven and proven != before:
                return
            time.sleep(_POLL_SECONDS)
    if doubtful is not None:
        _warn_of_loopback(doubtful)
    raise Unavailable(
        f"cluster {wanted.name} was not heard within {wanted.timeout}{_why(wanted.access)}; the agent goes on "
        "trying, and this command may be given again"
    )


def _why(access: Access) -> str:
    try:
        trouble = membercluster.why_not_running(access)
    except AtollError:
        return ""
    return f": its pod does not run: {trouble}" if trouble else ": its pod runs, 'kubectl logs' tells more"
