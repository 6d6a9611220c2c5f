"""core/v1 Events: what happened to an object, for people. Equal events are counted, old ones are dropped.

Owns their names, counting and retention. They are hints: a failure to write one never fails what it tells of.
"""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from atoll.federation.resources import Resource
from atoll.kubeapi.errors import ApiError
from atoll.kubeapi.reading import key_prefix
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.store import Store

log = structlog.get_logger(__name__)

_COMPONENT = "atoll-hub"
# Below this, a busy federation shows less than an hour; above it, `kubectl get events` is no longer read by anybody.
MOST_EVENTS = 5000
_PRUNE_SECONDS = 60.0


class Events:
    """Writes and prunes events."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime], retention_seconds: float) -> None:
        self._store, self._clock = store, clock
        self._retention = timedelta(seconds=retention_seconds)

    @property
    def _type(self) -> ResourceType:
        found = self._store.registry.by_kind("", "Event")
        assert found is not None, "the registry of the hub serves events"
        return found

    async def record(self, about: Resource, reason: str, message: str, *, is_warning: bool = False) -> None:
        """Tell that something happened to an object; the same again only raises the count."""
        event = _event(about, reason, message, "Warning" if is_warning else "Normal")
        try:
            await self._write(event)
        except ApiError as error:
            log.debug("an event could not be written", reason=reason, error=str(error))

    async def _write(self, event: dict[str, Any]) -> None:
        metadata, now = event["metadata"], _stamp(self._clock())
        known = self._known(metadata["namespace"], metadata["name"])
        if known is None:
            event |= {"count": 1, "firstTimestamp": now, "lastTimestamp": now}
            await self._store.create(self._type, event, field_manager=_COMPONENT)
            return
        known |= {"count": int(known.get("count", 1)) + 1, "lastTimestamp": now}
        await self._store.update(self._type, known, field_manager=_COMPONENT)

    def _known(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Find an event as far as is known here: only one that leads writes them, and so sees its own."""
        entry = self._store.cache.get(self._type.prefix, self._type.key(namespace, name))
        return None if entry is None else self._type.decode(entry.raw)

    async def clear(self, about: Resource, reason: str) -> None:
        """Delete the events of a trouble that is over: it must not be taken for one that stands."""
        namespace = about.metadata.namespace or "default"
        bucket = self._store.cache.bucket(self._type.prefix)
        keys = bucket.keys(key_prefix(self._type, namespace) + _name_prefix(about))
        told = [self._type.decode(bucket.entries[key].raw) for key in keys]
        try:
            for event in told:
                if event["reason"] == reason and event["involvedObject"].get("uid") == about.metadata.uid:
                    await self._store.delete(self._type, namespace, event["metadata"]["name"])
        except ApiError as error:
            log.debug("an event could not be cleared", reason=reason, error=str(error))

    async def run(self) -> None:
        """Drop old events now and then; for ever."""
        while True:
            try:
                await self.prune()
            except ApiError as error:
                log.debug("events could not be pruned", error=str(error))
            await asyncio.sleep(_PRUNE_SECONDS)

    async def prune(self) -> int:
        """Delete events that are too old, and the oldest beyond the most; give how many."""
        listed = (await self._store.list(self._type, resource_version="0")).items
        listed.sort(key=lambda event: str(event.get("lastTimestamp", "")), reverse=True)
        oldest = _stamp(self._clock() - self._retention)
        doomed = [event for index, event in enumerate(listed) if index >= MOST_EVENTS or _last(event) < oldest]
        for event in doomed:
            await self._store.delete(self._type, event["metadata"]["namespace"], event["metadata"]["name"])
        return len(doomed)


def _event(about: Resource, reason: str, message: str, kind: str) -> dict[str, Any]:
    metadata = about.metadata
    namespace = metadata.namespace or "default"
    text = "\0".join((about.kind, metadata.uid or "", kind, reason, message))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    involved = {
        "apiVersion": about.api_version,
        "kind": about.kind,
        "name": metadata.name,
        "uid": metadata.uid,
        "namespace": metadata.namespace,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{_name_prefix(about)}{digest}", "namespace": namespace},
        "involvedObject": {key: value for key, value in involved.items() if value},
        "reason": reason,
        "message": message,
        "type": kind,
        "source": {"component": _COMPONENT},
        "reportingComponent": _COMPONENT,
    }


def _name_prefix(about: Resource) -> str:
    return about.metadata.name[:200].rstrip(".-") + "."


def _last(event: dict[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event["metadata"].get("creationTimestamp") or "")


def _stamp(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
