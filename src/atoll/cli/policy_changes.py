"""What people decide of a rollout of policies: let it go on, take it back, follow Git again."""

from typing import Any

from atoll.cli import kinds
from atoll.cli.api import Api
from atoll.cli.output import say
from atoll.federation.errors import Conflict, InvalidInput
from atoll.federation.resources import PolicySet
from atoll.federation.resources.policyset_rollout import APPROVED_ANNOTATION


def approve(api: Api, name: str, *, dry_run: bool) -> None:
    """Let the commit that waits into the next wave.

    Raises:
        Conflict: nothing waits for it.
    """
    rollout = _read(api, name).status.rollout
    if rollout is None or rollout.phase != "AwaitingApproval":
        state = f": commit {rollout.commit[:12]} is {rollout.phase}" if rollout is not None else ""
        raise Conflict(f"policyset/{name} does not wait for anybody{state}")
    _merge(api, name, {"metadata": {"annotations": {APPROVED_ANNOTATION: rollout.commit}}}, dry_run=dry_run)
    say(f"policyset/{name}: commit {rollout.commit[:12]} may go on to wave {rollout.wave_name}{_dry(dry_run)}")


def rollback(api: Api, name: str, to: str | None, *, dry_run: bool) -> None:
    """Pin an earlier commit.

    Raises:
        Conflict: no commit was complete before the newest one. InvalidInput: the commit is no whole id.
    """
    commit = to or _earlier(_read(api, name))
    if not commit:
        raise Conflict(f"policyset/{name}: no other commit was complete before; name one by --to")
    if len(commit) not in (40, 64):
        raise InvalidInput(f"--to: {commit!r} is no whole commit id; 'git rev-parse {commit}' gives it")
    _merge(api, name, {"spec": {"pinnedCommit": commit}}, dry_run=dry_run)
    say(f"policyset/{name}: commit {commit[:12]} is put in force everywhere{_dry(dry_run)}")


def resume(api: Api, name: str, *, dry_run: bool) -> None:
    """Take a pin away.

    Raises:
        Conflict: nothing is pinned.
    """
    found = _read(api, name)
    if found.spec.pinned_commit is None:
        raise Conflict(f"policyset/{name} follows Git: nothing is pinned")
    _merge(api, name, {"spec": {"pinnedCommit": None}}, dry_run=dry_run)
    say(f"policyset/{name}: follows {found.spec.source.revision} again{_dry(dry_run)}")


def _earlier(found: PolicySet) -> str:
    rollout = found.status.rollout
    if rollout is None:
        return ""
    return rollout.good if rollout.good != rollout.commit else rollout.previous


def _read(api: Api, name: str) -> PolicySet:
    return PolicySet.model_validate(api.get(kinds.atoll("PolicySet").path(None, name)))


def _merge(api: Api, name: str, change: dict[str, Any], *, dry_run: bool) -> None:
    api.merge(kinds.atoll("PolicySet").path(None, name), change, dry_run=dry_run)


def _dry(dry_run: bool) -> str:
    return " (dry run)" if dry_run else ""
