"""JetStream's API over the twin's streams: which request gets which answer.

Owns the streams of a server by their names. It must not know connections, nor what is stored in a stream.
"""

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from twin.jetstream import NO_MESSAGE, Consumer, Headers, Refusal, Stream, matches

_NOT_FOUND_STREAM = (404, 10059, "stream not found")


def _wire_headers(headers: Headers) -> str:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return base64.b64encode(f"NATS/1.0\r\n{lines}\r\n".encode()).decode()


class JetStream:
    """All streams of a server, and its API."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self.streams: dict[str, Stream] = {}
        self._wall = wall

    def stream_for(self, subject: str) -> Stream | None:
        """Give the stream that takes a subject in."""
        for stream in self.streams.values():
            if any(matches(pattern, subject) for pattern in stream.subjects):
                return stream
        return None

    def ask(self, verb: str, body: bytes) -> tuple[bytes, Consumer | None]:
        """Answer a request of the API; give the consumer that it made, if it made one."""
        consumer = None
        try:
            answer, consumer = self._answer(verb.split("."), orjson.loads(body) if body else {})
        except Refusal as refusal:
            answer = {"error": refusal.error}
        return orjson.dumps(answer), consumer

    def _answer(self, verb: list[str], body: dict[str, Any]) -> tuple[dict[str, Any], Consumer | None]:
        match verb:
            case ["INFO"]:
                return {"streams": len(self.streams)}, None
            case ["STREAM", "LIST"]:
                return {"total": len(self.streams), "streams": [s.info() for s in self.streams.values()]}, None
            case ["STREAM", "CREATE" | "UPDATE" as action, name]:
                return self._configure(action, name, body), None
            case ["STREAM", "INFO", name]:
                return self._stream(name).info(body.get("subjects_filter", "")), None
            case ["STREAM", "DELETE", name]:
                self._stream(name)
                del self.streams[name]
                return {"success": True}, None
            case ["STREAM", "PURGE", name]:
                return self._purge(self._stream(name), body), None
            case ["STREAM", "MSG", "GET", name]:
                return self._message(self._stream(name), body), None
            case ["CONSUMER", "CREATE", name, *_]:
                consumer = self._stream(name).consume(body["config"], self._wall())
                return self._consumer_info(consumer), consumer
        raise Refusal(404, 10000, f"the twin's server does not know {'.'.join(verb)}")

    def _stream(self, name: str) -> Stream:
        if name not in self.streams:
            raise Refusal(*_NOT_FOUND_STREAM)
        return self.streams[name]

    def _configure(self, action: str, name: str, config: dict[str, Any]) -> dict[str, Any]:
        known = self.streams.get(name)
        if action == "UPDATE":
            self._stream(name).config = config
        elif known is None:
            self.streams[name] = Stream(config, self._wall())
        elif known.config != config:
            raise Refusal(400, 10058, "stream name already in use with a different configuration")
        return self.streams[name].info()

    def _purge(self, stream: Stream, body: Mapping[str, Any]) -> dict[str, Any]:
        if stream.config.get("deny_purge"):
            raise Refusal(400, 10051, "purge not permitted by stream configuration")
        return {"success": True, "purged": stream.purge(str(body.get("filter", ">")), before=body.get("seq"))}

    def _message(self, stream: Stream, body: Mapping[str, Any]) -> dict[str, Any]:
        if "last_by_subj" in body:
            found = stream.last_of(str(body["last_by_subj"]))
        elif int(body.get("seq", 0)) in stream.messages:
            found = stream.messages[int(body["seq"])]
        else:
            raise Refusal(*NO_MESSAGE)
        message: dict[str, Any] = {"subject": found.subject, "seq": found.sequence}
        if found.headers:
            message["hdrs"] = _wire_headers(found.headers)
        message["data"] = base64.b64encode(found.payload).decode()
        message["time"] = datetime.fromtimestamp(found.stored_at, UTC).isoformat()
        return {"message": message}

    def _consumer_info(self, consumer: Consumer) -> dict[str, Any]:
        stream, waiting = consumer.stream, consumer.waiting
        before = waiting[0].sequence - 1 if waiting else stream.last_sequence
        return {
            "stream_name": stream.name,
            "name": consumer.name,
            "num_pending": len(waiting),
            "delivered": {"consumer_seq": 0, "stream_seq": before},
        }
