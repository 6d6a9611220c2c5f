"""The NATS server of a history: who hears what, JetStream's answers, and what a server does to everybody when it ends.

Owns subscriptions, delivery and heartbeats of consumers. What it has acknowledged is durable; what it had taken in and
not acknowledged may be stored or not, as with a real one.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

import orjson

from twin.jetstream import Consumer, Refusal, Stored, Stream, matches
from twin.jetstream_api import JetStream
from twin.machine import EPOCH, VirtualLoop
from twin.network import Link

# A consumer whose subscriber is gone is forgotten after so long (bus/cursor.py).
_INACTIVE_SECONDS = 5.0
_API = "$JS.API."


class Message(NamedTuple):
    """What travels."""

    subject: str
    reply: str
    payload: bytes
    headers: Mapping[str, str] | None


@dataclass
class Subscription:
    """One subscription of one connection."""

    number: int
    subject: str
    queue: str
    session: "Session"


@dataclass(eq=False)
class Session:
    """One connection as the server sees it."""

    link: Link
    number: int
    subscriptions: dict[int, Subscription] = field(default_factory=dict)

    def send(self, number: int, message: Message) -> None:
        self.link.down.send((number, message))


@dataclass
class Moods:
    """What a server does at times: it says nothing (no leader), refuses to store (full), or takes long to sync."""

    is_mute: bool = False
    is_full: bool = False
    sync_seconds: float = 0.0


class Server:
    """A server. `streams` outlive its process, but for what was stored in the last `syncs_late_seconds`."""

    syncs_late_seconds = 0.0

    def __init__(self, loop: VirtualLoop, chance: Random, note: Callable[[str, Stored], None]) -> None:
        """Serve; `note` is told of everything that is stored."""
        self._loop, self._chance, self._note = loop, chance, note
        self.streams = JetStream(self.wall)
        self.is_up = True
        self.moods = Moods()
        self._sessions: dict[int, Session] = {}
        self._exact: dict[str, list[Subscription]] = {}
        self._inboxes: dict[str, list[Subscription]] = {}  # of `prefix.*`, by prefix
        self._patterns: dict[str, list[Subscription]] = {}  # all others, by their first token
        self._numbers = itertools.count(1)
        self._beat()

    def wall(self) -> float:
        return EPOCH.timestamp() + self._loop.clock.now

    # --- its life

    def kill(self) -> None:
        """End it as kill -9 does: connections break, consumers are forgotten, streams stay."""
        self.is_up = False
        for session in list(self._sessions.values()):
            session.link.reset()
        for stream in self.streams.streams.values():
            stream.forget_since(self.wall() - self.syncs_late_seconds)
            stream.consumers.clear()
            stream.batches.clear()
            if stream.last_sequence not in stream.messages:
                stream.last_id = ""

    def start(self) -> None:
        """Come back."""
        self.is_up = True

    # --- connections

    def new_client(self) -> int:
        """Give a number that no client has."""
        return next(self._numbers)

    def accept(self, link: Link) -> None:
        """Take a new connection."""
        session = Session(link, next(self._numbers))
        self._sessions[session.number] = session
        link.up.deliver = lambda item: self._take(session, item)
        link.on_reset_there = lambda: self._forget(session)

    def _forget(self, session: Session) -> None:
        self._sessions.pop(session.number, None)
        for subscription in tuple(session.subscriptions.values()):
            self._unsubscribe(session, subscription.number)

    def _take(self, session: Session, item: Any) -> None:
        if not self.is_up:
            return
        match item:
            case ("SUB", number, subject, queue):
                subscription = Subscription(number, subject, queue, session)
                session.subscriptions[number] = subscription
                self._list_for(subject).append(subscription)
            case ("UNSUB", number):
                self._unsubscribe(session, number)
            case ("PING", number):
                session.send(number, Message("PONG", "", b"", None))
            case Message():
                self._publish(item, session)
            case _:
                self._forget(session)

    def _list_for(self, subject: str) -> list[Subscription]:
        prefix, _, last = subject.rpartition(".")
        if last == "*" and "*" not in prefix:
            return self._inboxes.setdefault(prefix, [])
        if "*" in subject or last == ">":
            first = subject.partition(".")[0]
            assert first not in ("*", ">"), "nobody listens to everything"
            return self._patterns.setdefault(first, [])
        return self._exact.setdefault(subject, [])

    def _unsubscribe(self, session: Session, number: int) -> None:
        subscription = session.subscriptions.pop(number, None)
        if subscription is None:
            return
        held = self._list_for(subscription.subject)
        held.remove(subscription)
        if not held and self._exact.get(subscription.subject) is held:
            del self._exact[subscription.subject]

    # --- messages

    def _publish(self, message: Message, session: Session) -> None:
        if message.subject.startswith(_API):
            self._ask(message)
            return
        heard = self.deliver(message)
        stream = self.streams.stream_for(message.subject)
        if stream is not None:
            self._store(stream, message)
        elif not heard and message.reply and not message.subject.startswith("$JS."):
            self.deliver(Message(message.reply, "", b"", {"Status": "503"}))

    def deliver(self, message: Message) -> bool:
        """Give a message to all who subscribed; of each queue, one gets it. Tell whether anybody did."""
        found = list(self._exact.get(message.subject, ()))
        found += self._inboxes.get(message.subject.rpartition(".")[0], ())
        patterns = self._patterns.get(message.subject.partition(".")[0], ())
        found += [one for one in patterns if matches(one.subject, message.subject)]
        queues: dict[str, list[Subscription]] = {}
        for subscription in found:
            if subscription.queue:
                queues.setdefault(subscription.queue, []).append(subscription)
            else:
                subscription.session.send(subscription.number, message)
        for members in queues.values():
            chosen = self._chance.choice(members)
            chosen.session.send(chosen.number, message)
        return bool(found)

    def _reply(self, to: str, answer: bytes) -> None:
        if not to:
            return
        message = Message(to, "", answer, None)
        if self.moods.sync_seconds:
            self._loop.call_later(self.moods.sync_seconds, self.deliver, message)
        else:
            self.deliver(message)

    def _store(self, stream: Stream, message: Message) -> None:
        if self.moods.is_mute:
            return
        try:
            if self.moods.is_full:
                raise Refusal(503, 10047, "insufficient storage resources available")
            answer, stored = stream.publish(message.subject, message.payload, message.headers or {}, self.wall())
        except Refusal as refusal:
            answer, stored = {"error": refusal.error, "stream": stream.name, "seq": 0}, []
        is_staged = not answer
        self._reply(message.reply, b"" if is_staged else orjson.dumps(answer))
        for new in stored:
            self._note(stream.name, new)
            for consumer in list(stream.consumers.values()):
                if matches(consumer.subject_filter, new.subject):
                    self._push(consumer, new, 0)

    def _ask(self, message: Message) -> None:
        if self.moods.is_mute:
            return
        answer, consumer = self.streams.ask(message.subject.removeprefix(_API), message.payload)
        self._reply(message.reply, answer)
        if consumer is not None:
            waiting, consumer.waiting = consumer.waiting, []
            for left, stored in zip(range(len(waiting) - 1, -1, -1), waiting, strict=True):
                self._push(consumer, stored, left)

    # --- consumers

    def _push(self, consumer: Consumer, stored: Stored, pending: int) -> None:
        consumer.delivered += 1
        consumer.spoke_at = self._loop.clock.now
        payload = b"" if consumer.headers_only else stored.payload
        reply = consumer.reply_for(stored, pending)
        for subscription in self._exact.get(consumer.deliver, ()):
            subscription.session.send(
                subscription.number, Message(stored.subject, reply, payload, dict(stored.headers) or None)
            )

    def _beat(self) -> None:
        """Let idle consumers say that they live, and forget those whose reader is gone."""
        self._loop.call_later(1.0, self._beat)
        if not self.is_up or self.moods.is_mute:
            return
        now = self._loop.clock.now
        for stream in self.streams.streams.values():
            for consumer in list(stream.consumers.values()):
                readers = self._exact.get(consumer.deliver)
                if readers:
                    consumer.silent_since = None
                    if now - consumer.spoke_at >= consumer.idle_seconds:
                        consumer.spoke_at = now
                        self.deliver(_heartbeat(consumer))
                elif consumer.silent_since is None:
                    consumer.silent_since = now
                elif now - consumer.silent_since > _INACTIVE_SECONDS:
                    del stream.consumers[consumer.name]


def _heartbeat(consumer: Consumer) -> Message:
    headers = {
        "Status": "100",
        "Description": "Idle Heartbeat",
        "Nats-Last-Consumer": str(consumer.delivered),
        "Nats-Last-Stream": str(consumer.stream.last_sequence),
    }
    return Message(consumer.deliver, "", b"", headers)
