"""What the agent holds of each set just now, as far as proof needs it, and since when each object is as it is.

Owns from when on an answer of a node counts. It must not ask anybody.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from atoll.edge.member.objects import ObjectRef
from atoll.policies.manifest import Manifest
from atoll.policies.stamp import content_of

# So long after an object was written an answer is taken to be of what it says now, where nothing in the answer tells.
# Cilium's cilium_policy_implementation_delay is far below a second on nodes that are well; longer only delays proof.
SETTLE = timedelta(seconds=5)


@dataclass(frozen=True)
class Standing:
    """One set that stands in the cluster as ordered; `why_not` says why it does not, if so."""

    commit: str
    policies: tuple[Manifest, ...]
    why_not: str = ""


class Writes:
    """When objects were written last. What was written before the agent began is as old as the agent."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now, self._began_at = now, now()
        self._since: dict[ObjectRef, datetime] = {}
        self._written_at: dict[ObjectRef, datetime] = {}

    def note(self, policy: Manifest, *, is_repair: bool) -> None:
        """Note that an object has just been written.

        What changed by order shows by its content label which version a node enforces. What was put back has the label
        that the changed object had, too, so there only time tells, as for kinds that bear no such label.
        """
        ref, now = ObjectRef.of(policy.body), self._now()
        is_told = bool(content_of(policy)) and not is_repair
        self._written_at[ref], self._since[ref] = now, now + (timedelta() if is_told else SETTLE)

    def since(self, ref: ObjectRef) -> datetime:
        """Give the time from which on answers are of an object as it is now."""
        return self._since.get(ref, self._began_at)

    def is_checked(self, ref: ObjectRef, checked_at: datetime | None) -> bool:
        """Tell whether what Cilium's operator said of an object is of what it says now.

        Its condition names no generation (cilium#32727), and its time changes only with its verdict.
        """
        written_at = self._written_at.get(ref)
        if written_at is None or self._now() >= written_at + SETTLE:
            return True
        return checked_at is not None and checked_at >= written_at.replace(microsecond=0)
