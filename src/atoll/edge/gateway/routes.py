"""What a topic is to the Streams: a reading, or what begins or ends a run. Pure."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from atoll.edge.gateway.plans import StreamPlan, wants
from atoll.edge.gateway.topics import matches

HOUR_NS = 3_600_000_000_000

Role = Literal["reading", "start", "end", "state", "announcement"]


@dataclass(frozen=True)
class Route:
    """What a topic is to a Stream."""

    plan: StreamPlan
    role: Role


@dataclass
class Lane:
    """What is known of a topic. `plain` is its Stream if topic and arrival decide alone about what comes on it.

    `dataset` is where that goes which arrives from `since_ns` until `until_ns`, an hour: no name changes within one.
    """

    routes: tuple[Route, ...]
    checksum: int
    plain: StreamPlan | None
    dataset: str = ""
    since_ns: int = 0
    until_ns: int = 0

    @classmethod
    def of(cls, plans: Sequence[StreamPlan], topic: str) -> "Lane":
        """Find what a topic is."""
        routes = tuple(_routes(plans, topic))
        is_plain = len(routes) == 1 and routes[0].role == "reading" and routes[0].plan.is_plain
        return cls(routes, zlib.crc32(topic.encode()), routes[0].plan if is_plain else None)

    def knows(self, at_ns: int) -> bool:
        """Tell whether `dataset` is of this instant."""
        return self.since_ns <= at_ns < self.until_ns

    def learn(self, dataset: str, at_ns: int) -> None:
        """Keep the dataset of the hour that an instant is in."""
        self.dataset, self.since_ns = dataset, at_ns // HOUR_NS * HOUR_NS
        self.until_ns = self.since_ns + HOUR_NS


def _routes(plans: Sequence[StreamPlan], topic: str) -> Iterable[Route]:
    for plan in plans:
        role = _role(plan, topic)
        if role is not None:
            yield Route(plan, role)


def _role(plan: StreamPlan, topic: str) -> Role | None:
    """Tell what a topic is to a Stream. A marker is no reading, also where the Stream's filters match its topic."""
    end = plan.spec.end_of_run
    if end is not None and end.marker is not None and matches(end.marker, topic):
        return "state" if end.retained is not None else "end"
    if plan.starts_by is not None and matches(plan.starts_by, topic):
        return "start"
    files = plan.spec.files
    if files is not None and files.announcements is not None and matches(files.announcements.topic, topic):
        return "announcement"
    return "reading" if wants(plan, topic) else None
