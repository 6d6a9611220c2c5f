"""Events of simulated clusters: who says what about which object, counted when it is said again.

Owns the Event objects; must not decide anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from atoll.kubeapi.errors import ApiError, NotFound
from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import EVENT

log = structlog.get_logger()

KEPT = timedelta(hours=1)  # kube-apiserver's --event-ttl
MOST_KEPT = 5_000  # some MB; an array of 10,000 tasks has 30,000 things to say, and etcd's gigabytes are not ours
_EXPIRE_SECONDS = 60.0


@dataclass(frozen=True)
class Said:
    """One thing to say; `type` is Normal or Warning."""

    reason: str
    message: str
    type: str = "Normal"


class Recorder:
    """Writes the events of one component of a cluster."""

    def __init__(self, store: Store, component: str, clock: Callable[[], datetime]) -> None:
        """Write to `store` in the name of `component`."""
        self._store = store
        self._component = component
        self._clock = clock

    async def say(self, about: Object, said: Said) -> None:
        """Record an event; an event that cannot be recorded is dropped: it is news, not state."""
        try:
            await self._record(about, said)
        except ApiError as error:
            log.debug("an event was dropped", reason=said.reason, error=error.message)

    async def _record(self, about: Object, said: Said) -> None:
        metadata, now = about["metadata"], timestamp(self._clock())
        namespace = metadata.get("namespace") or "default"
        digest = hashlib.sha1(f"{said.reason}{said.message}".encode(), usedforsecurity=False).hexdigest()[:10]
        name = f"{metadata['name'][:200]}.{metadata['uid'][:8]}{digest}"
        try:
            event = await self._store.get(EVENT, namespace, name)
        except NotFound:
            await self._store.create(EVENT, self._new(about, said, namespace, name, now))
        else:
            body = {"count": event["count"] + 1, "lastTimestamp": now}
            await self._store.patch(EVENT, namespace, name, Patch("merge", body))

    def _new(self, about: Object, said: Said, namespace: str, name: str, now: str) -> Object:
        keys = ("namespace", "name", "uid", "resourceVersion")
        reference = {key: about["metadata"][key] for key in keys if about["metadata"].get(key)}
        return {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {"apiVersion": about["apiVersion"], "kind": about["kind"], **reference},
            "reason": said.reason,
            "message": said.message,
            "type": said.type,
            "count": 1,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "firstTimestamp": now,
            "lastTimestamp": now,
        }


async def expire(store: Store, clock: Callable[[], datetime]) -> None:
    """Delete old events until cancelled: nobody else does, and they would fill the memory."""
    while True:
        await asyncio.sleep(_EXPIRE_SECONDS)
        for event in surplus((await store.list(EVENT)).items, timestamp(clock() - KEPT)):
            with contextlib.suppress(ApiError):  # it went or was said again
                await store.delete(EVENT, event["metadata"]["namespace"], event["metadata"]["name"])


def surplus(events: Iterable[Object], oldest: str) -> Iterator[Object]:
    """Give the events that were last said before `oldest`, and the oldest of too many."""
    newest_first = sorted(events, key=_last_said, reverse=True)
    return (event for place, event in enumerate(newest_first) if place >= MOST_KEPT or _last_said(event) < oldest)


def _last_said(event: Object) -> str:
    return str(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])
