"""Streams and their consumers, as nats-server 2.15 keeps them with `sync_interval: always`, as far as Atoll uses them.

Owns what is stored, and which answer a publish gets. It must not know connections. That it answers as the real server
does is held by test_twin_nats.py, which asks both the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

Headers = Mapping[str, str]
_SECOND = 1_000_000_000


@lru_cache(1 << 14)
def matches(pattern: str, subject: str) -> bool:
    """Tell whether a subject matches a pattern with `*` and `>`."""
    if pattern == subject or pattern == ">":
        return True
    wanted, given = pattern.split("."), subject.split(".")
    for place, token in enumerate(wanted):
        if token == ">":
            return len(given) > place
        if place >= len(given) or token not in ("*", given[place]):
            return False
    return len(wanted) == len(given)


@dataclass(frozen=True)
class Stored:
    """One message of a stream; `stored_at` is in seconds since 1970."""

    sequence: int
    subject: str
    payload: bytes
    headers: Headers
    stored_at: float


class Refusal(Exception):
    """What the server does not do, in its words."""

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(description)
        self.error = {"code": code, "err_code": err_code, "description": description}


NO_MESSAGE = (404, 10037, "no message found")


@dataclass
class Consumer:
    """A push consumer that acknowledges nothing."""

    name: str
    stream: "Stream"
    subject_filter: str
    deliver: str
    headers_only: bool
    idle_seconds: float
    delivered: int = 0
    spoke_at: float = 0.0
    silent_since: float | None = None
    waiting: list[Stored] = field(default_factory=list)

    def reply_for(self, message: Stored, pending: int) -> str:
        at = int(message.stored_at * _SECOND)
        return f"$JS.ACK.{self.stream.name}.{self.name}.1.{message.sequence}.{self.delivered}.{at}.{pending}"


class Stream:
    """One stream. It holds what was published, whatever becomes of the server's process."""

    def __init__(self, config: dict[str, Any], created_at: float) -> None:
        self.config = config
        self.created = datetime.fromtimestamp(created_at, UTC).isoformat()
        self.messages: dict[int, Stored] = {}
        self.by_subject: dict[str, list[int]] = {}
        self.bytes = 0
        self.last_sequence = 0
        self.last_id = ""
        self.ids: dict[str, tuple[int, float]] = {}
        self.consumers: dict[str, Consumer] = {}
        self.batches: dict[str, list[tuple[str, bytes, Headers]]] = {}

    @property
    def name(self) -> str:
        return str(self.config["name"])

    @property
    def subjects(self) -> Iterable[str]:
        return self.config.get("subjects") or ()

    def info(self, subjects_filter: str = "") -> dict[str, Any]:
        """Give what STREAM.INFO says."""
        first = next(iter(self.messages), self.last_sequence + 1 if self.last_sequence else 0)
        state: dict[str, Any] = {
            "messages": len(self.messages),
            "bytes": self.bytes,
            "first_seq": first,
            "last_seq": self.last_sequence,
            "consumer_count": len(self.consumers),
        }
        if self.by_subject:
            state["num_subjects"] = len(self.by_subject)
        if subjects_filter:
            state["subjects"] = {
                subject: len(held) for subject, held in self.by_subject.items() if matches(subjects_filter, subject)
            }
        return {"config": {"max_bytes": -1, **self.config}, "created": self.created, "state": state}

    # --- writing

    def publish(
        self, subject: str, payload: bytes, headers: Headers, now: float
    ) -> tuple[dict[str, Any], list[Stored]]:
        """Store a message if it may be; give the acknowledgement, and what is new to consumers."""
        if batch := headers.get("Nats-Batch-Id"):
            return self._publish_batch(batch, (subject, payload, headers), now)
        if (found := self._duplicate(headers, now)) is not None:
            return {"stream": self.name, "seq": found, "duplicate": True}, []
        subject = self._stored_subject(subject)
        self._check(subject, payload, headers)
        stored = self._store(subject, payload, headers, now)
        return {"stream": self.name, "seq": stored.sequence}, [stored]

    def _publish_batch(
        self, batch: str, message: tuple[str, bytes, Headers], now: float
    ) -> tuple[dict[str, Any], list[Stored]]:
        """Stage a message, or commit all of its batch: all are stored or none (NATS ADR-50)."""
        if not self.config.get("allow_atomic"):
            raise Refusal(400, 10174, "batch publish not enabled on stream")
        staged = self.batches.setdefault(batch, [])
        if int(message[2]["Nats-Batch-Sequence"]) != len(staged) + 1:
            self.batches.pop(batch)
            raise Refusal(400, 10176, "batch publish is incomplete and was abandoned")
        staged.append(message)
        if message[2].get("Nats-Batch-Commit") != "1":
            return {}, []
        self.batches.pop(batch)
        for subject, payload, headers in staged:
            self._check(self._stored_subject(subject), payload, headers)
        stored = [self._store(self._stored_subject(s), payload, headers, now) for s, payload, headers in staged]
        answer = {"stream": self.name, "seq": stored[-1].sequence, "batch": batch, "count": len(stored)}
        return answer, stored

    def _stored_subject(self, subject: str) -> str:
        transform = self.config.get("subject_transform")
        if not transform:
            return subject
        source, target = transform["src"].removesuffix(">"), transform["dest"].removesuffix(">")
        return str(target + subject.removeprefix(source))

    def _duplicate(self, headers: Headers, now: float) -> int | None:
        window = self.config.get("duplicate_window", 0) / _SECOND
        while self.ids and now - self.ids[oldest := next(iter(self.ids))][1] > window:
            del self.ids[oldest]
        found = self.ids.get(headers.get("Nats-Msg-Id", ""))
        return found[0] if found else None

    def _check(self, subject: str, payload: bytes, headers: Headers) -> None:
        expected = headers.get("Nats-Expected-Last-Sequence")
        if expected is not None and int(expected) != self.last_sequence:
            raise Refusal(400, 10071, f"wrong last sequence: {self.last_sequence}")
        expected = headers.get("Nats-Expected-Last-Msg-Id")
        if expected is not None and expected != self.last_id:
            raise Refusal(400, 10070, f"wrong last msg ID: {self.last_id}")
        expected = headers.get("Nats-Expected-Last-Subject-Sequence")
        last = (self.by_subject.get(subject) or [0])[-1]
        if expected is not None and int(expected) != last:
            raise Refusal(400, 10071, f"wrong last sequence: {last}")
        most = self.config.get("max_bytes", -1)
        if self.config.get("discard") == "new" and 0 < most < self.bytes + _size(subject, payload, headers):
            raise Refusal(400, 10077, "maximum bytes exceeded")
        per_subject = self.config.get("max_msgs_per_subject", -1)
        if self.config.get("discard_new_per_subject") and 0 < per_subject <= len(self.by_subject.get(subject, ())):
            raise Refusal(400, 10077, "maximum messages per subject exceeded")

    def _store(self, subject: str, payload: bytes, headers: Headers, now: float) -> Stored:
        if headers.get("Nats-Rollup") == "sub":
            self.purge(subject, before=None)
        self.last_sequence += 1
        kept = {name: value for name, value in headers.items() if not name.startswith("Nats-Batch-")}
        stored = Stored(self.last_sequence, subject, payload, kept, now)
        self.messages[stored.sequence] = stored
        self.bytes += _size(subject, payload, headers)
        held = self.by_subject.setdefault(subject, [])
        held.append(stored.sequence)
        most = self.config.get("max_msgs_per_subject", -1)
        while 0 < most < len(held):
            self._drop(held[0])
        if ident := headers.get("Nats-Msg-Id"):
            self.ids[ident] = (stored.sequence, now)
        self.last_id = headers.get("Nats-Msg-Id", "")
        self._trim(now)
        return stored

    def _trim(self, now: float) -> None:
        """Drop the oldest of a stream that does so when it is full or they are old."""
        age, most = self.config.get("max_age", 0) / _SECOND, self.config.get("max_bytes", -1)
        while self.messages and self.config.get("discard") == "old":
            oldest = self.messages[next(iter(self.messages))]
            if not (0 < age < now - oldest.stored_at or 0 < most < self.bytes):
                return
            self._drop(oldest.sequence)

    def _drop(self, sequence: int) -> None:
        gone = self.messages.pop(sequence)
        self.bytes -= _size(gone.subject, gone.payload, gone.headers)
        held = self.by_subject[gone.subject]
        held.remove(sequence)
        if not held:
            del self.by_subject[gone.subject]

    def forget_since(self, instant: float) -> None:
        """Lose what was stored after an instant, as a server does that syncs late. Older values do not come back."""
        for sequence in [key for key, message in self.messages.items() if message.stored_at > instant]:
            self._drop(sequence)
        self.last_sequence = max(self.messages, default=0)

    def purge(self, pattern: str, *, before: int | None) -> int:
        """Delete the messages of matching subjects below a sequence, or all; give how many."""
        doomed = [
            sequence
            for sequence, message in self.messages.items()
            if matches(pattern, message.subject) and (before is None or sequence < before)
        ]
        for sequence in doomed:
            self._drop(sequence)
        return len(doomed)

    # --- reading

    def last_of(self, subject: str) -> Stored:
        """Give the newest message of a subject, or of those that match a pattern."""
        if "*" not in subject and ">" not in subject:
            held = self.by_subject.get(subject)
        else:
            held = sorted(h[-1] for found, h in self.by_subject.items() if matches(subject, found))
        if not held:
            raise Refusal(*NO_MESSAGE)
        return self.messages[held[-1]]

    def consume(self, config: Mapping[str, Any], now: float) -> Consumer:
        """Make a consumer; `waiting` is what it delivers at once."""
        consumer = Consumer(
            name=str(config["name"]),
            stream=self,
            subject_filter=str(config.get("filter_subject", ">")),
            deliver=str(config.get("deliver_subject", "")),
            headers_only=bool(config.get("headers_only")),
            idle_seconds=config.get("idle_heartbeat", 0) / _SECOND,
            spoke_at=now,
        )
        consumer.waiting = self._wanted(consumer.subject_filter, config)
        if consumer.deliver:
            self.consumers[consumer.name] = consumer
        return consumer

    def _wanted(self, pattern: str, config: Mapping[str, Any]) -> list[Stored]:
        match config.get("deliver_policy", "all"):
            case "last_per_subject":
                newest = sorted(held[-1] for subject, held in self.by_subject.items() if matches(pattern, subject))
                return [self.messages[sequence] for sequence in newest]
            case "new":
                return []
            case "by_start_sequence":
                start = int(config["opt_start_seq"])
                return [m for m in self._in_order(pattern) if m.sequence >= start]
            case "by_start_time":
                since = datetime.fromisoformat(config["opt_start_time"]).timestamp()
                return [m for m in self._in_order(pattern) if m.stored_at >= since]
        return list(self._in_order(pattern))

    def _in_order(self, pattern: str) -> Iterable[Stored]:
        return (message for message in self.messages.values() if matches(pattern, message.subject))


def _size(subject: str, payload: bytes, headers: Headers) -> int:
    """Count as the file store does: a record's fixed part, its subject, its headers and its payload."""
    head = sum(len(name) + len(value) + 4 for name, value in headers.items()) + 12 + 4 if headers else 0
    return 30 + len(subject) + head + len(payload)
