"""MQTT topic filters: what matches, what overlaps, and the subscriptions that a set of Streams needs. Pure.

A broker may deliver a message once per subscription that matches it (MQTT 5, 3.3.4; nats-server does), each time under
another packet id, so subscriptions never overlap here. A Stream with start or end messages gets one subscription over
its topics and theirs: nats-server keeps order within a subscription only, and a marker that overtook the last
readings would close the dataset before them.
"""

from collections.abc import Iterable, Sequence
from functools import reduce

from atoll.federation.bus.data_messages import StreamOrder


def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether a topic filter matches a topic name (MQTT 5, 4.7)."""
    return overlaps(topic_filter, topic)


def overlaps(left: str, right: str) -> bool:
    """Tell whether there is a topic name that both filters match."""
    a, b = left.split("/"), right.split("/")
    if _hides_from(a[0], b[0]) or _hides_from(b[0], a[0]):
        return False
    for mine, other in zip(a, b, strict=False):
        if "#" in (mine, other):
            return True
        if mine != other and "+" not in (mine, other):
            return False
    # `a/#` matches `a` too (MQTT 5, 4.7.1.2).
    return len(a) == len(b) or (a[len(b) :] or b[len(a) :]) == ["#"]


def join(left: str, right: str, *, ordered: bool = False) -> str | None:
    """Give the narrowest filter that matches all that both match; None if no filter does (`$` topics).

    Args:
        left: a topic filter.
        right: another one.
        ordered: nothing may match only because `a/#` matches `a` too: nats-server makes two consumers of such a filter,
            one for `a` and one for what is below, and keeps no order between them.
    """
    a, b = left.split("/"), right.split("/")
    if a[0] != b[0] and (a[0].startswith("$") or b[0].startswith("$")):
        return None
    levels: list[str] = []
    for mine, other in zip(a, b, strict=False):
        if "#" in (mine, other):
            return "/".join([*levels, "#"])
        levels.append(mine if mine == other else "+")
    if len(a) == len(b):
        return "/".join(levels)
    kept = levels[:-1] if ordered else levels
    return "/".join([*kept, "#"]) if kept or not a[0].startswith("$") else None


def subscriptions(orders: Iterable[StreamOrder]) -> dict[str, int]:
    """Give the filters to subscribe to, each with its QoS; no two overlap, and all topics of the orders match one."""
    wanted: dict[str, int] = {}
    for order in orders:
        for topic_filter in _filters(order):
            _add(wanted, topic_filter, order.spec.qos)
    return wanted


def _filters(order: StreamOrder) -> Sequence[str]:
    spec = order.spec
    end = spec.end_of_run.marker if spec.end_of_run is not None else None
    start = spec.run.topic if spec.run is not None else None
    files = spec.files.announcements if spec.files is not None else None
    markers = [marker for marker in (start, end, files.topic if files is not None else None) if marker is not None]
    if not markers:
        return spec.topics
    every = (*spec.topics, *markers)
    joined = reduce(lambda left, right: left and join(left, right, ordered=True), every[1:], every[0] or None)
    return every if joined is None else (joined,)


def _add(wanted: dict[str, int], topic_filter: str, qos: int) -> None:
    """Add a filter, widening it until it takes in all that it overlaps."""
    while True:
        other = next((known for known in wanted if overlaps(known, topic_filter)), None)
        joined = join(other, topic_filter) if other is not None else None
        if other is None or joined is None:
            break
        qos = max(qos, wanted.pop(other))
        topic_filter = joined
    wanted[topic_filter] = max(qos, wanted.get(topic_filter, 0))


def _hides_from(level: str, other: str) -> bool:
    """Whether a leading wildcard keeps away from a `$` topic (MQTT 5, 4.7.2)."""
    return level in ("#", "+") and other.startswith("$")
