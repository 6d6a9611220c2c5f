"""What all kinds share: the model base, names, quantities, metadata, conditions, references.

Owns the vocabulary of the wire (camelCase JSON, Kubernetes conventions). It must not know any kind and does no I/O.
"""

import re
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

API_GROUP = "atoll.dev"
API_VERSION = "v1alpha1"
GROUP_VERSION = f"{API_GROUP}/{API_VERSION}"

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
LABEL_PATTERN = rf"^{_LABEL}$"
SUBDOMAIN_PATTERN = rf"^{_LABEL}(\.{_LABEL})*$"
REFERENCE_PATTERN = rf"^({_LABEL}/)?{_LABEL}(\.{_LABEL})*$"
QUANTITY_PATTERN = r"^([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][-+]?[0-9]+)?$"
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
ABSOLUTE_PATH_PATTERN = r"^/[^\x00]*$"

# RFC 1123, as Kubernetes applies it: apimachinery/pkg/util/validation.
DnsLabel = Annotated[str, StringConstraints(pattern=LABEL_PATTERN, max_length=63)]
DnsSubdomain = Annotated[str, StringConstraints(pattern=SUBDOMAIN_PATTERN, max_length=253)]
# Cilium's cluster name rule (pkg/clustermesh/types/types.go): the name is part of every identity in the mesh.
_LONGEST_CLUSTER_NAME = 32
ClusterName = Annotated[str, StringConstraints(pattern=LABEL_PATTERN, max_length=_LONGEST_CLUSTER_NAME)]
# `name` in the own namespace, or `namespace/name`.
Reference = Annotated[str, StringConstraints(pattern=REFERENCE_PATTERN, max_length=317)]
# Kubernetes resource.Quantity without a sign: nothing Atoll asks for can be negative.
Quantity = Annotated[str, StringConstraints(pattern=QUANTITY_PATTERN)]
# Go's time.Duration in the units that make sense here: 20m, 1h30m, 45s, 500ms, 7d.
Duration = Annotated[str, StringConstraints(pattern=DURATION_PATTERN)]
AbsolutePath = Annotated[str, StringConstraints(pattern=ABSOLUTE_PATH_PATTERN, max_length=4096)]
NonNegative = Annotated[int, Field(ge=0)]
Labels = dict[str, str]


def is_cluster_name(name: str) -> bool:
    """Tell whether a cluster may be called so."""
    return len(name) <= _LONGEST_CLUSTER_NAME and re.fullmatch(_LABEL, name) is not None


class Model(BaseModel):
    """A wire object: camelCase outside, snake_case inside, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    def wire(self) -> dict[str, Any]:
        """Give the JSON form: camelCase keys, unset optional fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class OwnerReference(Model):
    """Points at the object that this one lives and dies with (meta/v1 OwnerReference)."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Model):
    """The part of meta/v1 ObjectMeta that Atoll reads; the API machinery keeps the rest untouched."""

    model_config = ConfigDict(extra="allow")

    name: DnsSubdomain = ""
    generate_name: str | None = None
    namespace: DnsLabel | None = None
    labels: Labels = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()


class Condition(Model):
    """One meta/v1 Condition: a claim about an object, with a reason for machines and a message for people."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    last_transition_time: datetime
    observed_generation: int | None = None


class SelectorRequirement(Model):
    """One expression of a label selector; `values` is for In and NotIn only."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class LabelSelector(Model):
    """meta/v1 LabelSelector: all terms must hold; the empty selector matches everything."""

    match_labels: Labels = Field(default_factory=dict)
    match_expressions: tuple[SelectorRequirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Tell whether a set of labels satisfies every term."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            _holds(term, labels) for term in self.match_expressions
        )


def _holds(term: SelectorRequirement, labels: Labels) -> bool:
    present = term.key in labels
    match term.operator:
        case "Exists":
            return present
        case "DoesNotExist":
            return not present
        case "In":
            return present and labels[term.key] in term.values
        case "NotIn":
            return not present or labels[term.key] not in term.values


class Resource(Model):
    """An object of one kind. Subclasses pin `kind`, `spec` and `status`, and describe how the API serves them."""

    description: ClassVar[str] = ""

    api_version: Literal["atoll.dev/v1alpha1"] = "atoll.dev/v1alpha1"
    kind: str
    metadata: ObjectMeta

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` where the kind is cluster-scoped."""
        return f"{self.metadata.namespace}/{self.metadata.name}" if self.metadata.namespace else self.metadata.name

    def wire_status(self) -> dict[str, Any]:
        """Give the JSON form of the status, with what says whose it is and which version it was made from."""
        identity = {"name", "namespace", "resource_version"}
        chosen: dict[str, Any] = {"api_version": True, "kind": True, "metadata": identity, "status": True}
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, include=chosen)

    @property
    def says_a_status(self) -> bool:
        """Whether its status differs from that of an object that is new; of a kind without one, never."""
        status = getattr(self, "status", None)
        return status is not None and status != type(status)()

    def has_status_of(self, other: "Resource") -> bool:
        """Tell whether two states of an object of a kind with a status say the same there."""
        return bool(getattr(self, "status", None) == getattr(other, "status", None))


def resolve(reference: str, namespace: str) -> tuple[str, str]:
    """Split a reference into (namespace, name); one without a namespace means the referrer's own."""
    head, slash, tail = reference.partition("/")
    return (head, tail) if slash else (namespace, head)
