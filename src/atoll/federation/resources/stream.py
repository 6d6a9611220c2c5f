"""Stream: which MQTT topics of a gateway become which dataset."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from atoll.federation.resources.base import ClusterName, Condition, DnsLabel, Model, NonNegative, Resource

_PLACEHOLDER = re.compile(r"\{(date|topic\[\d+\]|stream)\}")


def _topic_filter(value: str) -> str:
    """Check an MQTT topic filter (MQTT 5, 4.7): `+` is a whole level, `#` the whole last one."""
    levels = value.split("/")
    for index, level in enumerate(levels):
        if "#" in level and (level != "#" or index != len(levels) - 1):
            raise ValueError("'#' must be the whole last level of a topic filter")
        if "+" in level and level != "+":
            raise ValueError("'+' must be a whole level of a topic filter")
    if not value or "\x00" in value or len(value.encode()) > 65535:
        raise ValueError("a topic filter has 1 to 65535 bytes and no NUL")
    return value


def _template(value: str) -> str:
    """Check a dataset name template: what is left between placeholders must fit a DNS-1123 subdomain."""
    rest = _PLACEHOLDER.sub("x", value)
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", rest) or ".." in rest:
        raise ValueError("a dataset template is a DNS-1123 subdomain with {date}, {stream} or {topic[N]} in it")
    return value


TopicFilter = Annotated[str, AfterValidator(_topic_filter)]
DatasetTemplate = Annotated[str, AfterValidator(_template)]


class EndOfRun(Model):
    """The message that says that a run of the instrument is over: any message on `topic` closes the open dataset."""

    topic: TopicFilter


class StreamSpec(Model):
    """What is subscribed to, and where it goes."""

    gateway: DnsLabel
    topics: Annotated[tuple[TopicFilter, ...], Field(min_length=1)]
    qos: Annotated[int, Field(ge=0, le=1)] = Field(
        default=1, description="QoS 2 is taken as 1: the client forgets a payload between PUBREC and PUBREL."
    )
    dataset: DatasetTemplate = Field(
        description="Name template: {date} is the UTC day of arrival, {topic[N]} a topic level from 0."
    )
    home: ClusterName = Field(description="Cluster that the files are written in.")
    format: Literal["raw", "jsonl"] = Field(
        default="raw",
        description="raw: payloads of a topic concatenated into one file; jsonl: one JSON line a reading.",
    )
    end_of_run: EndOfRun | None = None
    distinct: bool = Field(
        default=False,
        description="No two readings of a topic are equal (they hold a time or a number), so an equal one that comes "
        "soon after is the same reading sent again, by the instrument or by a broker that was killed: it is dropped.",
    )


class StreamStatus(Model):
    """What has arrived."""

    received: NonNegative = 0
    committed: NonNegative = 0
    dataset: str | None = None
    conditions: tuple[Condition, ...] = ()
    observed_generation: int | None = None


class Stream(Resource):
    """Which topics become which dataset."""

    description: ClassVar[str] = "MQTT topics of one gateway that become files of a dataset."

    kind: Literal["Stream"] = "Stream"
    spec: StreamSpec
    status: StreamStatus = StreamStatus()
