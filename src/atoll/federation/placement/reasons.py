"""Why a cluster cannot take a job: the form of a reason, and of a check that finds it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from atoll.federation.placement.case import Case
from atoll.federation.placement.shapes import Bools

Explanation = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Reason:
    """One reason why not: the word that machines read, the sentence that people read, and the numbers behind it."""

    reason: str
    message: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One thing that may stand in the way.

    `fails` looks at all clusters at once, `explain` at one that fails. Both read the same case, so that what is decided
    and what is said cannot differ.
    """

    reason: str
    fails: Callable[[Case], Bools]
    explain: Callable[[Case, int], Explanation]

    def at(self, case: Case, position: int) -> Reason:
        """Give the reason for a cluster that fails."""
        return Reason(self.reason, *self.explain(case, position))
