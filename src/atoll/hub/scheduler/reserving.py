"""Which of the running work counts towards reservations: the runs of a reservation's queue and of those below it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from atoll.federation.placement import Occupation
from atoll.federation.queueing import lineage
from atoll.federation.resources import Queue, Reservation, Run

Held = dict[str, dict[str, list[Occupation]]]
"""By reservation and cluster, what is held."""


def reserved_use(
    reservations: Iterable[Reservation],
    runs: Iterable[tuple[Run, str]],
    occupations: Mapping[str, Sequence[Occupation]],
    queues: Mapping[str, Queue],
) -> Held:
    """Sort what runs hold, each given with its queue, by the reservations that they may use."""
    by_queue: dict[str, list[str]] = defaultdict(list)
    for reservation in reservations:
        by_queue[reservation.spec.queue].append(reservation.metadata.name)
    held: Held = defaultdict(lambda: defaultdict(list))
    if not by_queue:
        return held
    known = {each.run: each for cluster in occupations.values() for each in cluster}
    for run, own in runs:
        occupation = known.get(run.key)
        if occupation is not None:
            for name in (name for queue in lineage(own, queues) for name in by_queue.get(queue, ())):
                held[name][run.spec.cluster].append(occupation)
    return held
