"""Watches over HTTP: a stream of JSON lines, encoded once per change for all watchers.

Owns the stream, its end and its errors; which changes a watcher sees is decided in watching.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
from starlette.responses import StreamingResponse

from atoll.kubeapi.bucket import Entry
from atoll.kubeapi.errors import ApiError
from atoll.kubeapi.http.answers import formed
from atoll.kubeapi.http.negotiation import JSON, Form
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.tables import IncludeObject
from atoll.kubeapi.watching import Delta, Deltas, bookmark

DEFAULT_SECONDS = 3600.0
"""How long a watch lasts that names no timeout: clients then go on from where they were."""


@dataclass(frozen=True)
class WatchForm:
    """How the events of one watch are written."""

    rt: ResourceType
    form: Form
    include: IncludeObject

    def line(self, delta: Delta) -> bytes:
        """Return the line of one event; the encoding is shared by all watches that want the same form."""
        if delta.entry is None:
            return _line(delta.type, orjson.dumps(bookmark(self.rt, delta)))
        if delta.event is None:
            return _line(delta.type, self._object(delta.entry))
        known = delta.event.encodings
        key = f"{delta.type} {self.rt.version} {self.form.kind} {self.include}"
        if key not in known:
            known[key] = _line(delta.type, self._object(delta.entry))
        return known[key]

    def _object(self, entry: Entry) -> bytes:
        if not self.form.kind:
            return self.rt.present(entry.raw)
        return orjson.dumps(formed(self.rt, self.rt.decode(entry.raw), self.form, self.include))


def watch_answer(deltas: AsyncIterator[Deltas], form: WatchForm, *, seconds: float) -> StreamingResponse:
    """Return the stream of a watch, which ends after `seconds`."""
    return StreamingResponse(_lines(deltas, form, seconds), media_type=JSON)


async def _lines(deltas: AsyncIterator[Deltas], form: WatchForm, seconds: float) -> AsyncIterator[bytes]:
    try:
        async with asyncio.timeout(seconds):
            async for batch in deltas:
                yield b"".join([form.line(delta) for delta in batch])
    except TimeoutError:
        return
    except ApiError as error:
        yield _line("ERROR", orjson.dumps(error.status()))


def _line(kind: str, encoded: bytes) -> bytes:
    return b"".join((b'{"type":"', kind.encode(), b'","object":', encoded, b"}\n"))
