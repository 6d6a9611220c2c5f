"""Which Stream takes nothing in now, and which must give way: by bytes and age, per Stream and per gateway. Pure.

Owns the order of shedding. A Stream that refuses makes room by refusing, the others by what their buffer says. At a
gateway's limit it stops before others shed, unless there are some of lower priority: those shed for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.thinning import wider
from atoll.federation.bus.data_messages import GatewayOrder
from atoll.federation.capacity import parse_duration
from atoll.federation.resources.buffer import WhenFull
from atoll.federation.resources.stream import StreamSpec

# What is shed at once, so that not every batch sheds: a part of the limit, and no more than a few seconds of readings.
_STEP_PART, _STEP_BYTES = 0.03, 16_000_000
# How long the envelopes of a deleted Stream stay, by the outbox's clock: one may be replaced, or deleted by mistake.
LEFT_SECONDS = 3600.0


@dataclass(frozen=True)
class Rule:
    """What a Stream's buffer says, in numbers. None: no limit of its own."""

    limit_bytes: int | None = None
    age_seconds: float | None = None
    when_full: WhenFull = "Refuse"
    keep: int = 10
    priority: int = 0

    @classmethod
    def of(cls, spec: StreamSpec, outbox_age_seconds: float | None) -> "Rule":
        """Read a Stream's buffer; the gateway's age holds where the Stream's is not shorter."""
        buffer = spec.buffer
        own = parse_duration(buffer.age) if buffer.age is not None else None
        ages = [age for age in (own, outbox_age_seconds) if age is not None]
        return cls(buffer.bytes, min(ages, default=None), buffer.when_full, buffer.keep, spec.priority)


@dataclass(frozen=True)
class Rules:
    """The rules of a gateway: its limit, and each Stream's own."""

    limit_bytes: int = 10_000_000_000
    streams: Mapping[StreamKey, Rule] | None = None  # None: no order is known yet, so no Stream is one that left

    @classmethod
    def of(cls, order: GatewayOrder) -> "Rules":
        """Read an order."""
        rules = {
            StreamKey(stream.namespace, stream.name): Rule.of(stream.spec, order.outbox_age_seconds)
            for stream in order.streams
        }
        return cls(order.outbox_bytes, rules)

    def rule(self, stream: StreamKey) -> Rule:
        """Give a Stream's rule; one that is not ordered has none but to refuse."""
        return (self.streams or {}).get(stream, Rule())

    @property
    def priorities(self) -> dict[StreamKey, int]:
        """Each Stream's priority."""
        return {key: rule.priority for key, rule in (self.streams or {}).items()}


class Held(NamedTuple):
    """What waits of one Stream. `oldest_seconds` is how long its oldest envelope has waited, 0 if there is none."""

    bytes: int = 0
    oldest_seconds: float = 0.0
    left_seconds: float | None = None  # how long it has been deleted; None: it is not


class Shed(NamedTuple):
    """One step of making room: of which Stream, how its readings are thinned, and what may be taken.

    `keep` 0 sheds whole envelopes. `size` bytes are wanted. `older_than` limits it to what has waited that long, and
    `below` to what is thinned less than that; None: to nothing.
    """

    stream: StreamKey
    keep: int
    size: int = 0
    older_than: float | None = None
    below: int | None = None


def refusing(rules: Rules, held: Mapping[StreamKey, Held]) -> dict[StreamKey, str]:
    """Give the Streams that take nothing in now, each with the reason."""
    total = sum(each.bytes for each in held.values())
    mark = rules.limit_bytes - 2 * _step(rules.limit_bytes)
    reasons = {}
    for stream, rule in (rules.streams or {}).items():
        mine = held.get(stream, Held())
        if rule.when_full != "Refuse":
            continue
        if rule.limit_bytes is not None and mine.bytes >= rule.limit_bytes:
            reasons[stream] = f"its buffer of {rule.limit_bytes} bytes is full"
        elif rule.age_seconds is not None and mine.oldest_seconds > rule.age_seconds:
            reasons[stream] = f"its oldest reading has waited for more than {rule.age_seconds:g} s"
        elif total > mark and _waits_for_others(rules, held, stream):
            reasons[stream] = f"the outbox holds {total} of at most {rules.limit_bytes} bytes"
    return reasons


def _waits_for_others(rules: Rules, held: Mapping[StreamKey, Held], stream: StreamKey) -> bool:
    """Whether a Stream that refuses stops before others shed for it. Alone it may fill the outbox to the last byte."""
    others = [key for key, rule in (rules.streams or {}).items() if key != stream and rule.when_full != "Refuse"]
    mine = rules.rule(stream).priority
    is_served = any(rules.rule(key).priority < mine and held.get(key, Held()).bytes for key in others)
    return bool(others) and not is_served


def sheds(rules: Rules, held: Mapping[StreamKey, Held], *, incoming: int) -> Iterator[Shed]:
    """Give what should be shed now, the first first; empty if all is within its bounds.

    Args:
        rules: the bounds.
        held: what waits of each Stream.
        incoming: bytes that are about to come.
    """
    yield from _of_left(held)
    for stream, mine in held.items():
        yield from _of_stream(stream, rules.rule(stream), mine)
    total = sum(each.bytes for each in held.values()) + incoming
    if total > rules.limit_bytes:
        wanted = total - rules.limit_bytes + _step(rules.limit_bytes)
        able = [key for key, mine in held.items() if mine.bytes and rules.rule(key).when_full != "Refuse"]
        for key in sorted(able, key=lambda key: (rules.rule(key).priority, -held[key].bytes)):
            yield Shed(key, _keep(rules.rule(key)), wanted)


def _of_left(held: Mapping[StreamKey, Held]) -> Iterator[Shed]:
    for stream, mine in held.items():
        if mine.left_seconds is not None and mine.left_seconds > LEFT_SECONDS and mine.bytes:
            yield Shed(stream, 0, mine.bytes)


def _of_stream(stream: StreamKey, rule: Rule, mine: Held) -> Iterator[Shed]:
    if rule.when_full == "Refuse" or mine.left_seconds is not None:
        return
    if rule.limit_bytes is not None and mine.bytes > rule.limit_bytes:
        yield Shed(stream, _keep(rule), mine.bytes - rule.limit_bytes + _step(rule.limit_bytes))
    if rule.age_seconds is None or mine.oldest_seconds <= rule.age_seconds:
        return
    if rule.when_full == "Oldest":
        yield Shed(stream, 0, mine.bytes, older_than=rule.age_seconds)
        return
    # With each further age the sample is thinned again, until nothing is left.
    times, every = 1, rule.keep
    while mine.oldest_seconds > times * rule.age_seconds:
        keep = rule.keep if every else 0
        yield Shed(stream, keep, mine.bytes, older_than=times * rule.age_seconds, below=every or None)
        if not every:
            return
        times, every = times + 1, wider(every, rule.keep)


def _keep(rule: Rule) -> int:
    return rule.keep if rule.when_full == "Sample" else 0


def _step(limit_bytes: int) -> int:
    return min(_STEP_BYTES, int(limit_bytes * _STEP_PART))
