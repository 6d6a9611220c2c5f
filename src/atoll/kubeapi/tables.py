"""Tables: objects as rows of printer columns, which kubectl prints without knowing the kind.

Owns columns, cells and durations; pure. Source: meta.k8s.io/v1 Table; k8s.io/apimachinery duration.HumanDuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from atoll.kubeapi import jsonpath
from atoll.kubeapi.resource import Column, Object, ResourceType

IncludeObject = Literal["None", "Metadata", "Object"]

_NAME = Column("Name", "string", ".metadata.name", format="name", description="Name of the object.")
_AGE = Column("Age", "date", ".metadata.creationTimestamp", description="Time since the object was created.")


def columns(rt: ResourceType) -> tuple[Column, ...]:
    """Return the columns of a kind: its name first if it declares no place for it, its age if it declares nothing."""
    declared = rt.columns or (_AGE,)
    return declared if any(column.name == _NAME.name for column in declared) else (_NAME, *declared)


def table(
    rt: ResourceType, objects: Iterable[Object], now: datetime, *, include: IncludeObject = "Metadata"
) -> dict[str, Any]:
    """Return a Table of objects."""
    shown = columns(rt)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [_definition(column) for column in shown],
        "rows": [_row(shown, obj, now, include) for obj in objects],
    }


def partial(obj: Object) -> Object:
    """Return only the metadata of an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def human_duration(seconds: float) -> str:
    """Return an age in at most two units, the finer the younger: 45s, 5m30s, 90m, 3h20m, 2d4h, 1y30d."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    whole = max(0, whole)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    return _two(days // 365, "y", days % 365, "d") if days < 365 * 8 else f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}" + (f"{small}{small_unit}" if small else "")


def _definition(column: Column) -> dict[str, Any]:
    kind = "string" if column.type == "date" else column.type  # dates are sent as ages
    definition = {"name": column.name, "type": kind, "format": column.format, "description": column.description}
    return {**definition, "priority": column.priority}


def _row(shown: Iterable[Column], obj: Object, now: datetime, include: IncludeObject) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": [_cell(column, obj, now) for column in shown]}
    if include == "Metadata":
        row["object"] = partial(obj)
    elif include == "Object":
        row["object"] = obj
    return row


def _cell(column: Column, obj: Mapping[str, Any], now: datetime) -> object:
    if column.value is not None:
        return column.value(obj, now)
    found = [value for value in jsonpath.find(column.path, obj) if value is not None]
    if not found:
        return None
    if column.type == "date":
        return _age(found[0], now)
    if column.type in ("integer", "number", "boolean") and len(found) == 1 and not isinstance(found[0], str):
        return found[0]
    return ",".join(_text(value) for value in found)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + " ".join(_text(item) for item in value) + "]"
    return str(value)


def _age(value: object, now: datetime) -> str:
    try:
        then = datetime.fromisoformat(str(value))
    except ValueError:
        return "<invalid>"
    return human_duration((now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds())
