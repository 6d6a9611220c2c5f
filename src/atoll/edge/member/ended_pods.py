"""What the ended pods of runs have used, of which most are gone long before their run has ended.

Owns one sum for each run that is ordered, and the names of the pods in it that still exist. It is not written to disk:
an agent that begins anew counts the pods that are there.
"""

from collections.abc import Callable

from atoll.edge.member.inventory.pods import PodFacts
from atoll.edge.member.run_status import Spent
from atoll.federation.errors import Unavailable


class EndedPods:
    """Counts each pod once, when it has ended."""

    def __init__(self, *, is_ordered: Callable[[str], bool], has_seen: Callable[[], bool]) -> None:
        """Count the pods of the runs (`namespace/name`) that are ordered; `has_seen`: all pods were read once."""
        self._is_ordered, self._has_seen = is_ordered, has_seen
        self._counted: set[str] = set()
        self._sums: dict[str, Spent] = {}

    def put(self, key: str, pod: PodFacts | None) -> None:
        """Take in a pod as it is now; None says that it is gone."""
        if pod is None:
            self._counted.discard(key)
        elif pod.spent is not None and key not in self._counted and self._is_ordered(pod.run):
            self._counted.add(key)
            self._sums[pod.run] = self._sums.get(pod.run, Spent()) + pod.spent

    def of(self, run: str) -> Spent:
        """Tell what the ended pods of a run have used.

        Raises:
            Unavailable: the pods have not been read yet; retryable.
        """
        if not self._has_seen():
            raise Unavailable("the pods of the cluster are being read")
        return self._sums.get(run, Spent())

    def settle(self, run: str) -> None:
        """Forget a run that is not ordered any more."""
        if not self._is_ordered(run):
            self._sums.pop(run, None)
