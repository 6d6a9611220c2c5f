"""What can be done to a policy set. Pure."""

from collections.abc import Mapping
from typing import Any

from atoll.federation.resources.policyset_rollout import APPROVED_ANNOTATION
from atoll.hub.dashboard.actions import Deed, first, patching, setting, unless
from atoll.kubeapi.resource import Object


def _rollout(policyset: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (policyset.get("status") or {}).get("rollout") or {}
    return found


def _rolled_out(policyset: Object) -> str:
    return str(_rollout(policyset).get("commit", ""))


def _awaits_nobody(policyset: Object) -> str:
    return "" if _rollout(policyset).get("phase") == "AwaitingApproval" else "nothing waits for approval"


def earlier(policyset: Object) -> str:
    """Give the commit that was complete before, as `atoll policy rollback` chooses it; empty if there is none."""
    rollout = _rollout(policyset)
    good, commit = rollout.get("good", ""), rollout.get("commit", "")
    return str(good if good != commit else rollout.get("previous", ""))


def _cannot_go_back(policyset: Object) -> str:
    if (policyset.get("spec") or {}).get("pinnedCommit"):
        return "a commit is pinned already"
    return "" if earlier(policyset) else "no other commit was complete before"


DEEDS: Mapping[str, Deed] = {
    "approve": Deed(
        "policysets",
        "Approve the next wave",
        "atoll policy approve {name}",
        patching("policysets", lambda obj: {"metadata": {"annotations": {APPROVED_ANNOTATION: _rolled_out(obj)}}}),
        first(unless("pinnedCommit", False, "a commit is pinned"), _awaits_nobody),
        confirm="Let the commit of {name} into the next wave?",
        tone="primary",
        seen=_rolled_out,
    ),
    "rollback": Deed(
        "policysets",
        "Roll back",
        "atoll policy rollback {name}",
        patching("policysets", lambda obj: {"spec": {"pinnedCommit": earlier(obj)}}),
        _cannot_go_back,
        confirm="Put the commit before in force in every cluster of {name} at once?",
        tone="danger",
        seen=_rolled_out,
    ),
    "resume": Deed(
        "policysets",
        "Follow Git again",
        "atoll policy resume {name}",
        setting("policysets", pinnedCommit=None),
        unless("pinnedCommit", True, "it follows Git"),
        confirm="Let {name} follow Git again? Its waves begin with the newest commit.",
    ),
}
