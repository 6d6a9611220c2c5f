"""The work itself, in its own kind's schema: what a Job carries to the cluster.

Owns which of its fields a Job takes. How each kind is read stands in federation/workloads.
"""

from typing import Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from atoll.federation.errors import InvalidInput
from atoll.federation.resources.base import Labels, Model
from atoll.federation.workloads import Adapter, adapter_of, check


class WorkloadMetadata(Model):
    """What the object is labelled with; its name and namespace are its run's."""

    labels: Labels = Field(default_factory=dict, description="Labels of the object, beside Atoll's own.")
    annotations: dict[str, str] = Field(
        default_factory=dict,
        description="Annotations of the object. Those of atoll.dev say where pods and status of an unknown kind stand.",
    )


class Workload(Model):
    """The object that runs in the member, of any kind that Atoll knows or that says where its pods are."""

    api_version: str = Field(default="batch/v1", description="API group and version of the object.")
    kind: str = Field(default="Job", description="Kind of the object, such as Job, PyTorchJob or RayJob.")
    metadata: WorkloadMetadata = Field(
        default_factory=WorkloadMetadata, description="Labels and annotations; it is named after its run."
    )
    spec: dict[str, Any] = Field(default_factory=dict, description="The object's own spec, as its kind has it.")
    items: tuple[dict[str, Any], ...] = Field(
        default=(), description="The pods of a group, where the kind is PodList: metadata and spec of each."
    )

    @model_validator(mode="after")
    def _is_adapted(self) -> "Workload":
        try:
            check(self.manifest())
        except InvalidInput as error:
            field, _, message = str(error).partition(": ")
            raise PydanticCustomError("workload", "{message}", {"field": field, "message": message}) from error
        return self

    def manifest(self) -> dict[str, Any]:
        """Give the object as it would be applied, but for its name. It shares its parts with this model."""
        metadata = {"labels": self.metadata.labels, "annotations": self.metadata.annotations}
        body = {"items": self.items} if self.items else {"spec": self.spec}
        return {"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata, **body}

    @property
    def adapter(self) -> Adapter:
        """How its kind is mapped."""
        return adapter_of(self.manifest())
