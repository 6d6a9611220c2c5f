"""Dataset: named, versioned files with a ledger that proves what they hold and where they are."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from atoll.federation.resources.base import ClusterName, Condition, DnsLabel, Model, NonNegative, Resource

# Every namespace that holds datasets has one claim of this name in each of its clusters (docs/adr/0006).
DATASET_CLAIM = "atoll-datasets"


class DatasetSpec(Model):
    """Where the dataset lives."""

    home: ClusterName | None = Field(default=None, description="Cluster that ingested data is written in.")
    storage_class: DnsLabel | None = None
    residency: tuple[str, ...] = Field(
        default=(), description="Jurisdictions that replicas must stay in; empty means any."
    )


class SourceLedger(Model):
    """What one instrument (MQTT topic) of one stream delivered into a version."""

    gateway: str
    stream: str
    source: str
    file: str
    received: NonNegative
    bytes: NonNegative
    sha256: str


class Ledger(Model):
    """What a version was made of. `gaps`: readings missing in the gateway's numbering; `duplicates`: dropped."""

    received: NonNegative = 0
    gaps: NonNegative = 0
    duplicates: NonNegative = 0
    shed: NonNegative = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    sources: tuple[SourceLedger, ...] = ()


class Replica(Model):
    """One whole copy of the current version."""

    cluster: ClusterName
    version: Annotated[int, Field(ge=1)]
    verified_at: datetime | None = None


class DatasetStatus(Model):
    """The current version."""

    version: NonNegative = 0
    complete: bool = False
    bytes: NonNegative = 0
    files: NonNegative = 0
    manifest_sha256: str = ""
    ledger: Ledger = Ledger()
    replicas: tuple[Replica, ...] = ()
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
