"""Transfer: one copy of a dataset version from one cluster to another."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from atoll.federation.resources.base import ClusterName, Condition, DnsSubdomain, Model, NonNegative, Resource

TransferPhase = Literal["Pending", "Copying", "Succeeded", "Failed"]


def transfer_name(dataset: str, version: int, destination: str) -> str:
    """Name the Transfer that brings a version to a cluster: the same for everybody who needs it there."""
    return f"{dataset}.v{version}.{destination}"


class TransferSpec(Model):
    """What is copied, from where, to where."""

    dataset: DnsSubdomain
    version: Annotated[int, Field(ge=1)]
    source: ClusterName = Field(
        description="Whom it is copied from first; another replica takes over from one that is silent."
    )
    destination: ClusterName
    bytes_per_second: NonNegative = Field(
        default=0, description="Most that it takes of the link; 0: as fast as it goes. May be changed while it runs."
    )

    @model_validator(mode="after")
    def _goes_somewhere(self) -> "TransferSpec":
        if self.source == self.destination:
            raise ValueError("source and destination are the same cluster")
        return self


class TransferStatus(Model):
    """How far the copy is."""

    phase: TransferPhase = "Pending"
    message: str = ""
    total_bytes: NonNegative = 0
    copied_bytes: NonNegative = 0
    bytes_per_second: Annotated[float, Field(ge=0)] = 0.0
    source: ClusterName | None = Field(
        default=None, description="Whom it is copied from now; absent until the mover has said so."
    )
    manifest_sha256: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    observed_generation: int | None = None


class Transfer(Resource):
    """One copy of a dataset version."""

    description: ClassVar[str] = "One copy of a dataset version between two clusters, verified by checksum."

    kind: Literal["Transfer"] = "Transfer"
    spec: TransferSpec
    status: TransferStatus = TransferStatus()
