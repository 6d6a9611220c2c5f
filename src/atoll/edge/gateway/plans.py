"""A Stream's order as the intake uses it: template parsed, decoder and clock chosen, markers compared. Pure.

Owns what follows from the order alone, so that it is found once and not for every reading.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.times import TimeReader
from atoll.edge.gateway.topics import matches
from atoll.federation.bus.data_messages import StreamOrder
from atoll.federation.capacity.quantities import parse_duration
from atoll.federation.payloads import MalformedPayload, as_text, decoder, field
from atoll.federation.resources.dataset_template import TIMES, Placeholder, Template, parse_template, topic_levels, uses
from atoll.federation.resources.stream import StreamSpec

Levels = Mapping[int, str]


@dataclass(frozen=True)
class StreamPlan:
    """One Stream."""

    key: StreamKey
    spec: StreamSpec

    @classmethod
    def of(cls, order: StreamOrder) -> "StreamPlan":
        """Make the plan of an order."""
        return cls(StreamKey(order.namespace, order.name), order.spec)

    @cached_property
    def template(self) -> Template:
        """The dataset's name, parsed."""
        return parse_template(self.spec.dataset)

    @cached_property
    def placeholders(self) -> tuple[Placeholder, ...]:
        """What the name takes from a reading, but for its time."""
        parts = (part for part in self.template if isinstance(part, Placeholder))
        return tuple(part for part in parts if part.kind not in TIMES)

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """The topic levels that the template uses: they tell instruments apart."""
        return topic_levels(self.template)

    @cached_property
    def decode(self) -> Callable[[bytes], Any]:
        """The decoder of the Stream's payloads."""
        return decoder(self.spec.payload.format)

    @cached_property
    def clock(self) -> TimeReader:
        """The reader of the Stream's times."""
        return TimeReader(self.spec.time)

    @cached_property
    def names_runs(self) -> bool:
        """Whether the template has {run}."""
        return uses(self.template, "run")

    @cached_property
    def reads_values(self) -> bool:
        """Whether a reading's payload must be decoded to know where it goes."""
        run, end = self.spec.run, self.spec.end_of_run
        run_field = self.names_runs and run is not None and run.topic is None and run.field is not None
        return (
            (self.spec.time.source == "Payload" and self.spec.payload.format != "SparkplugB")
            or (self.spec.time.source == "Payload" and self.spec.time.field is not None)
            or uses(self.template, "field")
            or run_field
            or (end is not None and end.field is not None and end.marker is None)
        )

    @cached_property
    def is_plain(self) -> bool:
        """Whether topic and arrival alone decide about a reading: the way that must cost next to nothing."""
        spec = self.spec
        return (
            not self.reads_values
            and not self.names_runs
            and not spec.distinct
            and spec.time.source == "Arrival"
            and spec.payload.format != "SparkplugB"
        )

    @cached_property
    def follows_runs(self) -> bool:
        """Whether open datasets are remembered, to be closed by what ends their run."""
        return self.spec.end_of_run is not None or self.starts_by is not None

    @property
    def starts_by(self) -> str | None:
        """The topic filter of messages that begin a run."""
        return self.spec.run.topic if self.spec.run is not None else None

    @cached_property
    def idle_seconds(self) -> float | None:
        """Silence that ends a run."""
        end = self.spec.end_of_run
        return parse_duration(end.idle) if end is not None and end.idle is not None else None

    def instrument(self, topic: str) -> tuple[str, ...]:
        """Give the values of the levels that tell instruments apart; empty where the topic has no such level."""
        levels = topic.split("/")
        return tuple(levels[index] if index < len(levels) else "" for index in self.levels)

    def told_by(self, message_filter: str, topic: str) -> Levels:
        """Give what a start or end message says of the instrument it is about: positions in `instrument`, and values.

        What stands literally in the filter is about all instruments; what a wildcard took is about that one.
        """
        pattern, levels = message_filter.split("/"), topic.split("/")
        told = {}
        for position, index in enumerate(self.levels):
            is_wild = index < len(pattern) and pattern[index] == "+"
            is_wild = is_wild or (pattern[-1] == "#" and index >= len(pattern) - 1)
            if is_wild and index < len(levels):
                told[position] = levels[index]
        return told

    def value(self, payload: bytes) -> Any:
        """Decode a payload; None if it is malformed."""
        try:
            return self.decode(payload)
        except MalformedPayload:
            return None

    def ends_run(self, payload: bytes) -> bool:
        """Tell whether a message on the marker's topic means the end."""
        end = self.spec.end_of_run
        if end is None or end.equals is None:
            return end is not None
        if end.field is not None:
            return self.is_last(self.value(payload))
        return payload.decode(errors="replace").strip() == as_text(end.equals)

    def is_last(self, value: Any) -> bool:
        """Tell whether a value's field says that the run ends with it."""
        end = self.spec.end_of_run
        if end is None or end.field is None:
            return False
        said = as_text(field(value, end.field))
        return said is not None and said == as_text(end.equals)


def about(told: Levels, instrument: tuple[str, ...]) -> bool:
    """Tell whether what a message told is about an instrument."""
    return all(position < len(instrument) and instrument[position] == level for position, level in told.items())


def wants(plan: StreamPlan, topic: str) -> bool:
    """Tell whether a topic is one of the Stream's readings."""
    return any(matches(topic_filter, topic) for topic_filter in plan.spec.topics)
