"""Stream: which MQTT topics of a gateway become which dataset."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from atoll.federation.resources.base import ClusterName, Condition, DnsLabel, Duration, Model, Resource
from atoll.federation.resources.buffer import Buffer
from atoll.federation.resources.dataset_template import parse_template, topic_levels, uses
from atoll.federation.resources.intake_counts import IntakeCounts
from atoll.federation.resources.stream_files import FileSource, StreamFiles
from atoll.federation.resources.stream_layout import Column, Compression, Partitions, Roll, StreamFormat
from atoll.federation.resources.stream_reading import (
    EndOfRun,
    PayloadSpec,
    RunSpec,
    TimeSpec,
    TopicFilter,
    problems_of_readings,
)


def _template(value: str) -> str:
    parse_template(value)
    return value


DatasetTemplate = Annotated[str, AfterValidator(_template)]


class StreamSpec(Model):
    """What is subscribed to, and where it goes."""

    gateway: DnsLabel
    topics: tuple[TopicFilter, ...] = Field(default=(), description="MQTT topic filters; may be empty with files.")
    files: FileSource | None = Field(
        default=None, description="A folder of the gateway whose files become files of the dataset."
    )
    qos: Annotated[int, Field(ge=0, le=1)] = Field(
        default=1, description="QoS 2 is taken as 1: the client forgets a payload between PUBREC and PUBREL."
    )
    dataset: DatasetTemplate = Field(
        description="Name template: {date} is the UTC day of the reading's time ({year}, {month}, {hour} likewise), "
        "{topic[N]} a topic level from 0, {field[PATH]} a field of the payload, {run} the run, {stream} this Stream. "
        "Values are made to fit a name; where two different ones would become the same name, the later is refused."
    )
    home: ClusterName = Field(description="Cluster that the files are written in.")
    format: StreamFormat = Field(
        default="raw",
        description="raw: payloads of a topic concatenated into one file; jsonl: one JSON line a reading; parquet: "
        "tables with a column for each field of the payload.",
    )
    compression: Compression = Field(
        default="None",
        description="Of JSON lines: with Zstd they are written in sealed segments, as Parquet is (always compressed).",
    )
    roll: Roll = Roll()
    columns: tuple[Column, ...] = Field(
        default=(), description="Columns of Parquet; empty: learned from the payloads. What fits none is kept beside."
    )
    partitions: Partitions = Field(
        default="None", description="Folders of a version, date=…/hour=…, by the readings' own time in UTC."
    )
    lateness: Duration = Field(
        default="10m",
        description="How far a reading's time may lie behind the newest of its stream; later ones go into supplement "
        "segments, which say so in their name.",
    )
    payload: PayloadSpec = Field(default=PayloadSpec(), description="What the bytes of a reading are.")
    time: TimeSpec = Field(default=TimeSpec(), description="When a reading was taken.")
    run: RunSpec | None = Field(default=None, description="What {run} is in the dataset's name.")
    end_of_run: EndOfRun | None = Field(
        default=None, description="What ends a run of the instrument, and completes its dataset."
    )
    distinct: bool = Field(
        default=False,
        description="No two readings of a topic are equal (they hold a time or a number), so an equal one that comes "
        "soon after is the same reading sent again, by the instrument or by a broker that was killed: it is dropped.",
    )
    buffer: Buffer = Field(
        default=Buffer(), description="How much the gateway keeps of it, and what gives way when that is full."
    )
    priority: Annotated[int, Field(ge=-1000, le=1000)] = Field(
        default=0,
        description="What waits of Streams with a higher priority is sent first; among equals, in order of arrival.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        problem = problems_of_readings(self)
        if problem is None and not self.topics and self.files is None:
            problem = "topics: name at least one topic filter, or files"
        if problem is None and self.files is None and uses(parse_template(self.dataset), "file", "path"):
            problem = "dataset: {file} and {path[N]} need files"
        if problem is None and self.topics and uses(parse_template(self.dataset), "file", "path"):
            problem = "dataset: {file} and {path[N]} are of files only, and readings of topics go there, too"
        if problem is None and self.payload.format == "Raw" and uses(parse_template(self.dataset), "field"):
            problem = "dataset: {field[PATH]} needs payload.format JSON, CBOR or SparkplugB"
        if problem is not None:
            raise ValueError(problem)
        return self


def impossible_level(spec: StreamSpec) -> str | None:
    """Say which topic level of a dataset's name some topics never have: every reading of theirs would be refused.

    It is asked when a Stream is written, and no rule of the kind: Streams of before the question stay readable.
    """
    wanted = topic_levels(parse_template(spec.dataset))
    for topic in spec.topics:
        levels = topic.split("/")
        missing = [level for level in wanted if level >= len(levels) and levels[-1] != "#"]
        if missing:
            return (
                f"{{topic[{missing[0]}]}} is no level of {topic}, which has {len(levels)}, counted from 0: "
                f"take one up to {{topic[{len(levels) - 1}]}}"
            )
    return None


class StreamStatus(IntakeCounts):
    """What has arrived."""

    files: StreamFiles | None = Field(default=None, description="Of a Stream with files, as its gateway says.")
    dataset: str | None = None
    conditions: tuple[Condition, ...] = ()
    observed_generation: int | None = None


class Stream(Resource):
    """Which topics become which dataset."""

    description: ClassVar[str] = "MQTT topics of one gateway that become files of a dataset."

    kind: Literal["Stream"] = "Stream"
    spec: StreamSpec
    status: StreamStatus = StreamStatus()
