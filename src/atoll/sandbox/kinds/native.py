"""Makes the ResourceType of a native kind out of its fields.

Owns what all native kinds share: the schema doubles as the admission's, and the age is the last column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from atoll.kubeapi.protobuf import Message
from atoll.kubeapi.resource import Column, ResourceType, Scale
from atoll.sandbox.kinds.admission import Admission, Default, Rule
from atoll.sandbox.kinds.descriptions import KINDS, PARTS
from atoll.sandbox.kinds.shape import Schema, struct

AGE = Column("Age", "date", ".metadata.creationTimestamp")


@dataclass(frozen=True)
class Names:
    """What a kind is called on the wire; the singular is the kind in lower case.

    `shape` is its form in protobuf, in which kubectl writes the kinds that it creates by itself.
    """

    api_version: str
    kind: str
    plural: str
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    shape: Message | None = None


def native(
    names: Names,
    fields: Mapping[str, Schema],
    *,
    namespaced: bool = True,
    columns: tuple[Column, ...] = (),
    default: Default | None = None,
    rule: Rule | None = None,
) -> ResourceType:
    """Return the type of a kind with these top-level fields; a field `status` makes the status subresource."""
    group, _, version = names.api_version.rpartition("/")
    parts = {name: {"description": words, **fields[name]} for name, words in PARTS.items() if name in fields}
    # Without a spec its required fields are missing, too; defaults and rules rely on them.
    required = ["spec"] if fields.get("spec", {}).get("required") else []
    schema: dict[str, Any] = {**struct({**fields, **parts}, required=required), "description": KINDS[names.kind]}
    narrow = tuple(column for column in columns if column.priority == 0)
    wide = tuple(column for column in columns if column.priority > 0)
    return ResourceType(
        group=group,
        version=version,
        kind=names.kind,
        plural=names.plural,
        singular=names.kind.lower(),
        namespaced=namespaced,
        short_names=names.short,
        categories=names.categories,
        has_status="status" in fields,
        columns=(*narrow, AGE, *wide),
        schema=schema,
        strategy=Admission(schema, default=default, rule=rule),
        protobuf=names.shape,
    )


def with_scale(rt: ResourceType, scale: Scale) -> ResourceType:
    """Return the type with a number of replicas that `kubectl scale` can set."""
    return replace(rt, scale=scale)


def with_grace(rt: ResourceType, grace_seconds: Callable[[Mapping[str, Any]], int]) -> ResourceType:
    """Return the type with a deletion that waits for whoever runs the object."""
    return replace(rt, grace_seconds=grace_seconds)
