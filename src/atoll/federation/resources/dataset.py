"""Dataset: named, versioned files with a ledger that proves what they hold and where they are."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from atoll.federation.resources.base import (
    ClusterName,
    Condition,
    DnsSubdomain,
    Duration,
    LabelSelector,
    Model,
    NonNegative,
    Quantity,
    Resource,
)

# Every namespace that holds datasets has one claim of this name in each of its clusters (docs/adr/0006).
DATASET_CLAIM = "atoll-datasets"


# Lines of `status.versions`: a line takes some 300 bytes, and an object may have 1.5 MiB.
MOST_VERSIONS = 100
AccessMode = Literal["ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]


def _below_the_volume(path: str) -> str:
    """Refuse what leads out of a volume, or into what Atoll keeps there."""
    parts = path.split("/")
    if any(not part or part.startswith(".") or not part.isprintable() for part in parts):
        raise ValueError("must name a folder below the volume's own, such as imports/2019")
    return path


VolumePath = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_below_the_volume)]
# What a person says with a deletion: on the object before it is deleted (`atoll dataset delete` writes them).
KEEP_FILES, ABANDON = "atoll.dev/keep-files", "atoll.dev/abandon-unreachable"
_ORIGIN_PREFIX = "path:"


def origin_of(path: str) -> str:
    """Give what `producedBy` says of a version that was made of files found at a path."""
    return f"{_ORIGIN_PREFIX}{path}"


class ReplicaRule(Model):
    """How many whole copies of each complete version there shall be, and where."""

    count: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default=None, description="Whole copies in all, the home's included; absent: one in every cluster that matches."
    )
    clusters: LabelSelector = Field(
        default=LabelSelector(), description="Labels of the clusters that may hold a copy; the home always may."
    )
    grace: Duration = Field(
        default="1h", description="How long a copy too many stays before its files are deleted; jobs may want it yet."
    )
    bytes_per_second: NonNegative = Field(
        default=0, description="Most that each copy made for this rule takes of a link; 0: as fast as it goes."
    )

    @model_validator(mode="after")
    def _says_something(self) -> "ReplicaRule":
        if self.count is None and self.clusters == LabelSelector():
            raise ValueError("count or clusters is needed: a rule without both would copy to every cluster")
        return self


class Retention(Model):
    """Which older versions go. The newest complete version always stays, and so does what unfinished jobs read."""

    versions: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="How many of the newest complete versions stay; absent: any number."
    )
    age: Duration | None = Field(
        default=None, description="How long an older version stays after it was complete; absent: for ever."
    )
    grace: Duration = Field(
        default="1h", description="How long a version that has to go is only marked before its files are deleted."
    )


class VolumeGrowth(Model):
    """When the namespace's volume is made larger, where its storage class allows that."""

    fill: Annotated[int, Field(ge=50, le=99)] = Field(default=80, description="Percent in use from which it grows.")
    step: Quantity = Field(default="10Gi", description="What is added at a time.")
    limit: Quantity = Field(description="Size that it never exceeds.")


class DatasetOrigin(Model):
    """Files that are on a cluster's volume already: they are read, hashed and become the next version."""

    cluster: ClusterName = Field(description="Cluster whose volume of this namespace holds them.")
    path: VolumePath = Field(description="Folder below the volume's own; its files move into the version.")


class DatasetSpec(Model):
    """Where the dataset lives, how many copies there are of it, and what goes when."""

    home: ClusterName | None = Field(default=None, description="Cluster that ingested data is written in.")
    storage_class: DnsSubdomain | None = Field(
        default=None,
        description="StorageClass of the namespace's volume, which the first dataset to say one decides.",
    )
    access_mode: AccessMode | None = Field(
        default=None, description="Access mode of the namespace's volume; absent: ReadWriteMany."
    )
    size: Quantity | None = Field(
        default=None, description="Room that this dataset needs in the namespace's volume; sizes of datasets add up."
    )
    growth: VolumeGrowth | None = Field(default=None, description="When the volume grows; absent: never.")
    residency: tuple[str, ...] = Field(
        default=(), description="Jurisdictions that replicas must stay in; empty means any."
    )
    replicas: ReplicaRule | None = Field(
        default=None, description="Copies that are kept by rule; absent: those that jobs and people ask for."
    )
    retention: Retention | None = Field(default=None, description="Which versions go; absent: none ever.")
    pinned: bool = Field(default=False, description="Nothing of it is deleted, by no rule and by nobody.")
    origin: DatasetOrigin | None = Field(
        default=None,
        description="Files on a volume to register as a version; absent: there are none.",
    )


class SourceLedger(Model):
    """What one instrument (MQTT topic) of one stream delivered into a version.

    A source has a file of its own, or its readings are rows of segments: then `file` and `sha256` are empty.
    """

    gateway: str
    stream: str
    source: str
    file: str
    received: NonNegative
    bytes: NonNegative
    sha256: str
    is_file: bool = Field(default=False, description="The source is a file that was taken as it was, as one reading.")
    first_at: datetime | None = Field(default=None, description="When its first reading arrived; absent if not noted.")


class Interval(Model):
    """Consecutive readings by number, both ends included."""

    first: NonNegative = Field(description="Number of the first of them.")
    last: NonNegative = Field(description="Number of the last of them.")


class FeedLedger(Model):
    """Which readings of one outbox of one stream are in a version, by the numbers that the outbox gave them.

    Lists hold the first intervals and the newest; the counts beside them are whole. Numbers that are in no list went
    into other datasets of the stream.
    """

    gateway: str = Field(description="Gateway that sent them.")
    stream: str = Field(description="Stream that they came through.")
    outbox: str = Field(description="The gateway's outbox, which numbered them; one made anew begins at 1.")
    received: NonNegative = Field(default=0, description="Readings that are in the files.")
    intervals: tuple[Interval, ...] = Field(default=(), description="Their numbers.")
    interval_count: NonNegative = Field(default=0, description="How many intervals there are; the list may be cut.")
    gaps: NonNegative = Field(default=0, description="Readings that never came.")
    gap_intervals: tuple[Interval, ...] = Field(default=(), description="Their numbers.")
    shed: NonNegative = Field(default=0, description="Readings that the gateway gave up for want of room, by its rule.")
    shed_intervals: tuple[Interval, ...] = Field(default=(), description="Their numbers.")
    duplicates: NonNegative = Field(default=0, description="Readings that came again and were dropped.")


class Ledger(Model):
    """What a version was made of. `gaps`: readings missing in the gateway's numbering; `duplicates`: dropped."""

    received: NonNegative = 0
    gaps: NonNegative = 0
    duplicates: NonNegative = 0
    shed: NonNegative = 0
    late: NonNegative = Field(
        default=0, description="Readings that came later than their stream's lateness allows; in supplement segments."
    )
    segments: NonNegative = Field(default=0, description="Files that are closed: sealed segments, and rolled files.")
    merkle_root: str = Field(
        default="", description="Root of the Merkle tree over all files and the index; empty in ledgers of old."
    )
    first_at: datetime | None = None
    last_at: datetime | None = None
    sources: tuple[SourceLedger, ...] = ()
    feeds: tuple[FeedLedger, ...] = Field(default=(), description="Which readings they are, per outbox.")


class Replica(Model):
    """One whole copy of the current version."""

    cluster: ClusterName
    version: Annotated[int, Field(ge=1)]
    verified_at: datetime | None = None


class VersionStatus(Model):
    """One version that is on some volume."""

    version: Annotated[int, Field(ge=1)] = Field(description="Its number.")
    complete: bool = Field(default=False, description="Nothing will be added to it.")
    bytes: NonNegative = Field(default=0, description="Size of its files.")
    files: NonNegative = Field(default=0, description="How many there are.")
    manifest_sha256: str = Field(default="", description="One hash over all files; empty while unknown.")
    produced_by: str = Field(default="", description="The Run or the Stream that made it, or where it was found.")
    completed_at: datetime | None = Field(default=None, description="Absent while it grows.")
    clusters: tuple[ClusterName, ...] = Field(default=(), description="Where it is, whole if it is complete.")
    obsolete_since: datetime | None = Field(
        default=None, description="Since when retention wants it gone; absent: it stays."
    )
    surplus: dict[ClusterName, datetime] = Field(
        default_factory=dict, description="Clusters whose copy the rule for replicas does not need, and since when."
    )


class DatasetStatus(Model):
    """The current version, and in short the others."""

    version: NonNegative = 0
    complete: bool = False
    bytes: NonNegative = 0
    files: NonNegative = 0
    manifest_sha256: str = ""
    ledger: Ledger = Ledger()
    replicas: tuple[Replica, ...] = ()
    versions: tuple[VersionStatus, ...] = Field(
        default=(), description="Versions that are on volumes, the newest first; at most 100 of them."
    )
    produced_by: str | None = Field(
        default=None, description="The Run whose output this is, or the Stream that fed it."
    )
    completed_at: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    observed_generation: int | None = None


class Dataset(Resource):
    """Named, versioned files."""

    description: ClassVar[str] = (
        "Named, versioned files on the clusters' volumes, with a ledger that proves what they hold."
    )

    kind: Literal["Dataset"] = "Dataset"
    spec: DatasetSpec = DatasetSpec()
    status: DatasetStatus = DatasetStatus()
