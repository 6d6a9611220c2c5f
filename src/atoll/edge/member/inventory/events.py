"""What the cluster says about Atoll's own objects: warnings of Events, by the run or service that they are about. Pure.

Events cannot be selected by their object's labels, and may be heard before the object itself, so owners are found by
name: what a Job or Deployment makes is named after it.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from atoll.edge.member.desired import RUNS, SERVICES
from atoll.federation.resources.inventory import OwnedEvent

Json = Mapping[str, Any]
HasOrder = Callable[[str, str], bool]  # (kind of order, its key)

WARNINGS = "type=Warning"
MAX_EVENTS = 200
_MESSAGE_CHARS = 300
# The Deployment of a namespace's data service.
_SERVICE_NAME = "atoll-data"
# A Job's pods are named `<job>-<random>` or `<job>-<index>-<random>`, a Deployment's `<name>-<hash>-<random>`.
_SUFFIXES = 2
_TIME: TypeAdapter[datetime] = TypeAdapter(datetime)


def owner_of(involved: Json, has_order: HasOrder) -> str:
    """Name the order that an object was made for, such as `run/lab/picks-1`; empty if it is none of ours."""
    namespace, name = str(involved.get("namespace") or ""), str(involved.get("name") or "")
    for _ in range(_SUFFIXES + 1):
        if name and has_order(RUNS, f"{namespace}/{name}"):
            return f"{RUNS}/{namespace}/{name}"
        if name == _SERVICE_NAME and has_order(SERVICES, namespace):
            return f"{SERVICES}/{namespace}"
        name = name.rpartition("-")[0]
    return ""


def project_event(event: Json, has_order: HasOrder) -> OwnedEvent:
    """Keep what a report needs of an Event about an object of ours."""
    involved, series = event.get("involvedObject") or {}, event.get("series") or {}
    first = event.get("firstTimestamp") or event.get("eventTime")
    return OwnedEvent(
        owner=owner_of(involved, has_order),
        kind=str(involved.get("kind") or ""),
        name=str(involved.get("name") or ""),
        reason=str(event.get("reason") or ""),
        message=str(event.get("message") or "")[:_MESSAGE_CHARS],
        count=max(1, int(series.get("count") or event.get("count") or 1)),
        first_at=_instant(first),
        last_at=_instant(series.get("lastObservedTime") or event.get("lastTimestamp") or first),
    )


def owned_events(events: Iterable[OwnedEvent]) -> tuple[OwnedEvent, ...]:
    """Give the newest events, the newest first."""
    ordered = sorted(events, key=lambda event: (event.owner, event.name, event.reason))
    ordered.sort(key=lambda event: event.last_at.timestamp() if event.last_at else 0.0, reverse=True)
    return tuple(ordered[:MAX_EVENTS])


def _instant(text: Any) -> datetime | None:
    try:
        return _TIME.validate_python(text) if text else None
    except ValidationError:
        return None
