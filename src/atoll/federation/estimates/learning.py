"""All that was learned, at one moment, as a cycle of the scheduler sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from atoll.federation.estimates.run_times import History, RunTime, learned
from atoll.federation.estimates.subjects import Subject
from atoll.federation.estimates.traffic import NO_TRAFFIC, Traffic


@dataclass(frozen=True)
class Estimates:
    """Run times by kind of work, and the traffic on links. Equal `revision` means equal run times."""

    histories: Mapping[str, History] = field(default_factory=dict)
    traffic: Traffic = NO_TRAFFIC
    revision: int = 0
    _known: dict[Subject, RunTime | None] = field(default_factory=dict, repr=False, compare=False)

    def run_time_for(self, subject: Subject) -> RunTime | None:
        """Tell what work of a kind may be expected to run; None if too little of it has ended."""
        if not self.histories:
            return None
        if subject not in self._known:
            history = self.histories.get(subject.key)
            self._known[subject] = (
                learned(history, subject.user, command=subject.command) if history is not None else None
            )
        return self._known[subject]

    def with_traffic(self, traffic: Traffic) -> "Estimates":
        """See the same run times beside other traffic."""
        return replace(self, traffic=traffic)


NOTHING_LEARNED = Estimates()
"""Before anything has ended."""
