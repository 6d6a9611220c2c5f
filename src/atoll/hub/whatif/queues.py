"""What if a queue were granted something else: which jobs would start, which would wait, and which runs would stop."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from atoll.federation.errors import InvalidInput, NotFound
from atoll.federation.resources import QueueSpec
from atoll.federation.resources.validation import problems
from atoll.hub.scheduler.cycle import plan_cycle
from atoll.hub.scheduler.snapshot import Snapshot
from atoll.hub.whatif.fates import differences, fates_of, stopped
from atoll.kubeapi.patch import merge_patch


def queue(snapshot: Snapshot, name: str, change: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the next cycle with the one that would follow if the queue's spec were changed so.

    Args:
        snapshot: everything, now.
        name: the queue.
        change: a merge patch (RFC 7386) of its spec.

    Raises:
        NotFound: there is no such queue. InvalidInput: the changed spec would not be admitted.
    """
    if name not in snapshot.queues:
        raise NotFound(f"queue {name!r} does not exist; atoll queue list shows those that do")
    known = snapshot.queues[name]
    try:
        spec = QueueSpec.model_validate(merge_patch(known.spec.wire(), dict(change)))
    except ValidationError as error:
        found = [f"{each.field}: {each.message}" for each in problems(error, QueueSpec, prefix="spec")]
        raise InvalidInput(f"queue {name} cannot be changed so, because:", found) from error
    changed = known.model_copy(update={"spec": spec})
    plan = plan_cycle(snapshot)
    other = plan_cycle(replace(snapshot, queues={**snapshot.queues, name: changed}))
    before, after = fates_of(plan), fates_of(other)
    return {
        "queue": name,
        "change": dict(change),
        "starts": sorted(key for key, fate in after.items() if fate.starts and not before[key].starts),
        "waits": sorted(key for key, fate in before.items() if fate.starts and not after[key].starts),
        "changes": differences(before, after),
        "stops": sorted(stopped(other) - stopped(plan)),
        "pending": len(before),
    }
