"""The hub's authorization: roles over requests, and queues over the jobs that are written.

Owns kubeapi's Authorizer and Admission for the hub. The decisions are pure, over the grants of `grants`; nothing here
does I/O. A trigger is admitted like the job that it will create, since nobody asks again when it fires.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from atoll.hub.access import roles
from atoll.hub.access.grant import Grant
from atoll.hub.access.grants import Grants
from atoll.hub.access.submitters import QueueSubmitters, is_new_work
from atoll.kubeapi.http.access import Action, Decision, Rule, User
from atoll.kubeapi.resource import Object

# Where an object names the queue that work waits in.
_QUEUE_PATHS: Mapping[str, tuple[str, ...]] = {"jobs": ("spec", "queue"), "triggers": ("spec", "job", "spec", "queue")}


class RoleAuthorizer:
    """Decides by roles. It is both the Authorizer and the Admission of the hub."""

    def __init__(self, grants: Grants, submitters: QueueSubmitters) -> None:
        self._grants, self._submitters = grants, submitters

    async def authorize(self, user: User, action: Action) -> Decision:
        """Decide over one action; see Authorizer."""
        return roles.allowed(self._grants.of(user), action)

    async def rules(self, user: User, namespace: str) -> Sequence[Rule]:
        """Return all that the user may do; see Authorizer."""
        return roles.rules(self._grants.of(user), namespace)

    def admit(self, user: User, action: Action, new: Object, old: Object | None) -> Decision:
        """Decide over an object as it would be stored; see Admission. An Admin submits wherever they like."""
        grants = self._grants.of(user)
        decision = admitted(grants, action, new, old)
        path = _queue_path(action)
        if not decision.allowed or path is None or _is_admin(grants):
            return decision
        queue = _at(new, path)
        if queue is None or not (is_new_work(new, old) or queue != _at(old, path)):
            return decision
        why = self._submitters.refusal(user, queue)
        return Decision(not why, why)

    def is_admin(self, user: User) -> bool:
        """Tell whether the user is an Admin."""
        return _is_admin(self._grants.of(user))

    def sees_inside(self, user: User, namespace: str) -> bool:
        """Tell whether a role lets the user read what is in a namespace."""
        return any(roles.holds_in(grant, namespace) for grant in self._grants.of(user))


def admitted(grants: Sequence[Grant], action: Action, new: Object, old: Object | None) -> Decision:
    """Check that one grant covers both the namespace and the queue of an object, and the queue that it had. Pure."""
    path = _queue_path(action)
    if path is None:
        return Decision(True)
    namespace = str(new["metadata"].get("namespace") or "")
    writers = [grant for grant in grants if _writes_jobs(grant) and roles.holds_in(grant, namespace)]
    for queue in (_at(new, path), _at(old, path) if old is not None else None):
        if queue is not None and not any(grant.covers_queue(queue) for grant in writers):
            return Decision(False, _why_not(queue, writers, namespace))
    return Decision(True)


def _queue_path(action: Action) -> tuple[str, ...] | None:
    target = action.target
    return _QUEUE_PATHS.get(target.plural) if target is not None and not target.subresource else None


def _is_admin(grants: Sequence[Grant]) -> bool:
    return any(grant.role == "Admin" for grant in grants)


def _writes_jobs(grant: Grant) -> bool:
    return grant.role != "Viewer"


def _why_not(queue: str, writers: Sequence[Grant], namespace: str) -> str:
    granted = dict.fromkeys(name for grant in writers for name in grant.queues)
    if not granted:
        return f"no role granted in namespace {namespace!r} writes jobs"
    return f'queue "{queue}" is not among those granted: {", ".join(granted)}'


def _at(value: Any, path: Sequence[str]) -> str | None:
    for step in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return None if value is None else str(value)
