"""What a Stream says of its readings: what their payload is, when they were taken, which run they belong to.

Owns the parts of Stream.spec about single readings and about runs. A run is what the instrument does between a start
and an end; when it is over, its dataset is complete.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from atoll.federation.payloads import PayloadFormat
from atoll.federation.payloads.paths import parse_path
from atoll.federation.resources.base import Duration, Model

Scalar = str | bool | int | float


def topic_filter(value: str) -> str:
    """Check an MQTT topic filter (MQTT 5, 4.7): `+` is a whole level, `#` the whole last one."""
    levels = value.split("/")
    for index, level in enumerate(levels):
        if "#" in level and (level != "#" or index != len(levels) - 1):
            raise ValueError("'#' must be the whole last level of a topic filter")
        if "+" in level and level != "+":
            raise ValueError("'+' must be a whole level of a topic filter")
    if not value or "\x00" in value or len(value.encode()) > 65535:
        raise ValueError("a topic filter has 1 to 65535 bytes and no NUL")
    if levels[0] == "$share":
        raise ValueError("name the topics only; a shared subscription is the gateway's: Gateway.spec.mqtt.sharedGroup")
    return value


def _field_path(value: str) -> str:
    parse_path(value)
    return value


TopicFilter = Annotated[str, AfterValidator(topic_filter)]
FieldPath = Annotated[str, AfterValidator(_field_path), Field(max_length=1024)]


class PayloadSpec(Model):
    """What the bytes of a reading are. They are stored as they came, whatever is read in them."""

    format: PayloadFormat = Field(
        default="Raw",
        description="Raw: nothing is read in it; JSON; CBOR (RFC 8949); SparkplugB: aliases are replaced by the names "
        "of the birth certificate, and gaps in the sequence are counted.",
    )
    request_rebirth: bool = Field(
        default=False,
        description="SparkplugB: the gateway may publish an NCMD that asks a node for its birth certificates, after a "
        "gap in its sequence or for an alias without a birth.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.request_rebirth and self.format != "SparkplugB":
            raise ValueError("requestRebirth is for format SparkplugB")
        return self


class TimeSpec(Model):
    """When a reading was taken. Where it does not say so credibly, it is when it arrived, and that is counted."""

    source: Literal["Arrival", "Payload", "UserProperty"] = Field(
        default="Arrival",
        alias="from",
        description="Arrival: the gateway's clock; Payload: a field of the payload; UserProperty: one of MQTT 5.",
    )
    field: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="Path of the payload's field, such as sample.time or channels[0].t, or name of the user property; "
        "of SparkplugB the payload's own timestamp if unset.",
    )
    unit: Literal["RFC3339", "Seconds", "Milliseconds", "Microseconds", "Nanoseconds"] = Field(
        default="RFC3339", description="What the field holds: a text such as 2026-11-22T08:00:00Z, or since 1970 UTC."
    )
    format: str | None = Field(
        default=None,
        min_length=2,
        max_length=100,
        description="Instead of unit: a format of strptime, such as %d.%m.%Y %H:%M:%S; UTC unless it has %z.",
    )
    max_ahead: Duration = Field(
        default="10m", description="A time further ahead of the gateway's clock is not believed."
    )
    max_behind: Duration = Field(
        default="30d", description="A time further behind the gateway's clock is not believed."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.source == "Arrival" and self.field is not None:
            raise ValueError("field is for from: Payload or from: UserProperty")
        if self.source == "UserProperty" and self.field is None:
            raise ValueError("from: UserProperty needs field, the name of the property")
        if self.source == "Payload" and self.field is not None:
            parse_path(self.field)
        return self


class RunSpec(Model):
    """What {run} is in the dataset's name. With neither field, runs are counted from 1, per instrument."""

    topic: TopicFilter | None = Field(
        default=None,
        description="A message here begins a run and ends the one before; {run} is its payload, or `field` of it. "
        "Where the filter has a wildcard that the template uses as {topic[N]}, it is about that instrument only. "
        "Before the first of them {run} is `none`.",
    )
    field: FieldPath | None = Field(
        default=None, description="Path of the field that names the run: in the start message, else in each reading."
    )


class EndOfRun(Model):
    """What says that a run of the instrument is over and its dataset complete: a message, silence, or a value.

    A filter without wildcards ends every open dataset of the Stream; one with a wildcard at a level that the dataset's
    template uses as {topic[N]} ends those of that instrument.
    """

    topic: TopicFilter | None = Field(default=None, description="MQTT topic filter of the message that ends a run.")
    retained: TopicFilter | None = Field(
        default=None,
        description="As topic, for a state that the instrument keeps retained: what the broker has kept counts too.",
    )
    idle: Duration | None = Field(
        default=None,
        description="A dataset that received nothing for so long, while the gateway had its broker, is complete.",
    )
    field: FieldPath | None = Field(
        default=None,
        description="Path of a field that must be `equals`: in the message, else in a reading, the last of its run.",
    )
    equals: Scalar | None = Field(
        default=None, description="What the field, or with none the message's whole text, must be to end the run."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        messages = self.topic is not None or self.retained is not None
        if self.topic is not None and self.retained is not None:
            raise ValueError("topic and retained exclude each other")
        if self.field is not None and self.equals is None:
            raise ValueError("field needs equals, the value that ends the run")
        if self.equals is not None and self.field is None and not messages:
            raise ValueError("equals needs topic, retained or field: what should be equal to it")
        if not (messages or self.idle is not None or self.field is not None):
            raise ValueError("name what ends a run: topic, retained, idle, or field and equals")
        return self

    @property
    def marker(self) -> str | None:
        """The topic filter of messages that may end a run."""
        return self.topic if self.topic is not None else self.retained


def problems_of_readings(spec: Any) -> str | None:
    """Say what parts of a Stream's spec do not fit each other; None if all do."""
    form, time, run, end = spec.payload.format, spec.time, spec.run, spec.end_of_run
    if form == "Raw":
        if time.source == "Payload":
            return "time.from: Payload needs payload.format JSON, CBOR or SparkplugB"
        if (run is not None and run.field) or (end is not None and end.field):
            return "field needs payload.format JSON, CBOR or SparkplugB, which has fields"
    if time.source == "Payload" and time.field is None and form != "SparkplugB":
        return "time.from: Payload needs time.field, the path of the field"
    return _sparkplug_problem(spec.topics) if form == "SparkplugB" else None


def _sparkplug_problem(topics: tuple[str, ...]) -> str | None:
    for wanted in topics:
        levels = wanted.split("/")
        # A node numbers its messages of all kinds and devices in one sequence (Sparkplug 3.0, 6.4.7).
        if levels[0] != "spBv1.0" or levels[-1] != "#" or (len(levels) > 3 and levels[2] != "+") or len(levels) > 5:
            return f"topics: {wanted}: a SparkplugB filter takes in all of a node's messages: spBv1.0/GROUP/+/NODE/#"
    return None
