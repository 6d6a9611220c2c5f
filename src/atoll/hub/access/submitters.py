"""Whose jobs and triggers are, and which queues take them.

Owns the annotation `atoll.dev/submitter` on what comes over HTTP, and the decision over `Queue.spec.submitters`. It
must not know roles. A trigger is its last author's: whoever wrote what it runs, answers for the jobs that it creates.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from atoll.federation.resources import API_GROUP
from atoll.federation.resources.submitter import SUBMITTER, Submitters
from atoll.kubeapi.http.access import Action, User
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store

Line = Sequence[tuple[str, Submitters]]
"""A queue and those above it, the nearest first, each with whom it names."""
_MARKED = frozenset({"jobs", "triggers"})
# What a sentence names of many.
_MOST_NAMED = 5


class SubmitterStamp:
    """Writes who submits into jobs and triggers; see Stamp. What a request says of it is overwritten."""

    def stamp(self, user: User, action: Action, new: Object, old: Object | None) -> None:
        """Write the user on what is new to them, else what stood there before."""
        if not _is_marked(action):
            return
        name = user.name if is_new_work(new, old) else _mark(old)
        metadata = new["metadata"]
        if name:
            metadata["annotations"] = {**(metadata.get("annotations") or {}), SUBMITTER: name}
        elif SUBMITTER in (metadata.get("annotations") or {}):
            del metadata["annotations"][SUBMITTER]


class QueueSubmitters:
    """Who may submit to queues, as the store's cache has them now."""

    def __init__(self, store: Store) -> None:
        found = store.registry.by_kind(API_GROUP, "Queue")
        assert found is not None, "the registry of the hub serves queues"
        self._store, self._rt = store, found

    def refusal(self, user: User, queue: str) -> str:
        """Say why a queue takes no jobs of a user; empty if it does. A trigger's may be told only when it fires."""
        if "{" in queue and self._names_anybody():
            return f'which queue "{queue}" will be cannot be checked, and some queues name their submitters: name one'
        return refusal(user, queue, tuple(self._line(queue)))

    def _names_anybody(self) -> bool:
        bucket = self._store.cache.bucket(self._rt.prefix)
        found = (bucket.entries[key] for key in bucket.keys(self._rt.prefix))
        return any(not _read(entry.decode().get("spec", {}).get("submitters")).is_empty for entry in found)

    def _line(self, queue: str | None) -> Iterator[tuple[str, Submitters]]:
        seen: set[str] = set()
        while queue and queue not in seen:
            entry = self._store.cache.get(self._rt.prefix, self._rt.key(None, queue))
            if entry is None:  # there is no such queue, which is said elsewhere
                return
            seen.add(queue)
            spec = entry.decode().get("spec", {})
            yield queue, _read(spec.get("submitters"))
            queue = spec.get("parent")


def refusal(user: User, queue: str, line: Line) -> str:
    """Say why a queue takes no jobs of a user; empty if it does. Pure.

    Whom a queue names may submit to all queues below it. If no queue of the line names anybody, everybody may.
    """
    naming = [(name, each) for name, each in line if not each.is_empty]
    if not naming or any(user.name in each.users or set(user.groups) & set(each.groups) for _, each in naming):
        return ""
    who = "; ".join(f"{_named(each)} (spec.submitters of queue {name})" for name, each in naming)
    return f'queue "{queue}" takes jobs only of {who}, and not of user "{user.name}"'


def is_new_work(new: Object, old: Object | None) -> bool:
    """Tell whether who writes an object decides what will run: not who holds a job, or suspends a trigger. Pure."""
    if old is None:
        return True
    return new["kind"] == "Trigger" and _work(new) != _work(old)


def _work(trigger: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in trigger.get("spec", {}).items() if name != "suspend"}


def _is_marked(action: Action) -> bool:
    target = action.target
    return target is not None and target.group == API_GROUP and target.plural in _MARKED


def _mark(obj: Object | None) -> str:
    annotations = obj["metadata"].get("annotations") if obj is not None else None
    return str((annotations or {}).get(SUBMITTER, ""))


def _read(given: object) -> Submitters:
    """Read what a queue says; a stored queue that cannot be read names nobody who exists, so nobody comes in."""
    try:
        return Submitters.model_validate(given or {})
    except ValidationError:
        return Submitters(users=("(unreadable)",))


def _named(submitters: Submitters) -> str:
    names = [*(f"user {name}" for name in submitters.users), *(f"group {name}" for name in submitters.groups)]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
