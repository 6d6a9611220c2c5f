"""From the outbox to the hub's log of this gateway: exactly once, each Stream in order, resuming from what the hub has.

Owns the pace and what is under way. It must not trim: an envelope leaves the outbox when a sink has it in files, not
when the hub has it. Which envelope is next is decided in lanes.py.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence

import structlog

from atoll.edge.gateway.bandwidth import Allowance
from atoll.edge.gateway.lanes import Positions
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.outbox import Outbox, OutboxDamaged, StoredEnvelope
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.log_writer import LogWriter
from atoll.federation.bus.subjects import OPEN_TOKEN, lab_stream, lab_subject, uplink_subject
from atoll.federation.errors import AtollError, Conflict

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 0.5
# Read at once: this many envelopes, or two that are large, so that what is in memory stays small on an ARM box.
_READ_ENVELOPES, _LARGE_BYTES = 16, 65_536
# Envelopes under way. Fewer, and a link of 100 ms carries less than it could; more, and an urgent one waits longer.
_WINDOW = 64
# A full window is 4 MB: on a link of 1.2 Mb/s its last acknowledgement takes 28 s. A lost connection does not wait for
# this: a reconnect ends the session at once, and lost acknowledgements are found out by the writer.
_DEADLINE_SECONDS = 30.0


class Uplink:
    """Forwards one outbox.

    `forwarded`: newest reading per Stream that the hub has; `problem`: why it stands still; `allowance`: how fast it
    may; `sent_readings`: how many went out since the process began.
    """

    def __init__(self, outbox: Outbox, *, gateway: str, window: int = _WINDOW) -> None:
        self._outbox, self._gateway, self._token = outbox, gateway, OPEN_TOKEN
        self._window = window
        self._stored = asyncio.Event()
        self._under_way: deque[StoredEnvelope] = deque()
        self._noted = 0
        self._read_at_once = 2
        self.allowance = Allowance()
        self.forwarded: dict[StreamKey, int] = {}
        self.sent_readings: Counter[StreamKey] = Counter()
        self.problem = ""
        self.notice = ""

    def wake(self) -> None:
        """Say that the outbox has something new."""
        self._stored.set()

    async def run(self, bus: Bus, *, token: str = OPEN_TOKEN) -> None:
        """Forward until cancelled; whatever happens to the hub, go on from what it has.

        Args:
            bus: the connection.
            token: the one under which the hub's log takes this gateway's envelopes in.
        """
        self._token = token
        stream, ident = lab_stream(self._gateway), self._outbox.ident
        writer = LogWriter(bus, stream, ident=ident, window=self._window, deadline_seconds=_DEADLINE_SECONDS)
        try:
            while True:
                try:
                    await self._until_reconnect(bus, writer)
                except OutboxDamaged:
                    raise
                except AtollError as error:
                    if str(error) != self.problem:
                        log.warning("forwarding has stopped and will be tried again", reason=str(error))
                    self.problem = str(error)
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            await writer.close()

    async def _until_reconnect(self, bus: Bus, writer: LogWriter) -> None:
        """Forward until the connection was renewed: what was on its way is in doubt then."""
        session = asyncio.create_task(self._forward(writer))

        def end() -> None:
            session.cancel()

        try:
            with bus.on_reconnect(end):
                await asyncio.wait({session})
        finally:
            session.cancel()
            await asyncio.wait({session})
            self._outbox.outgoing.stop()
        if not session.cancelled():
            session.result()

    async def _forward(self, writer: LogWriter) -> None:
        resumed = await writer.resume()
        sent = Positions.parse(resumed.number, resumed.note)
        await self._compare(sent)
        session = await asyncio.to_thread(self._outbox.outgoing.begin, sent)
        self._under_way.clear()
        self._noted = 0
        self.problem = ""
        following = self._take(session)
        try:
            while True:
                envelopes = await following or await self._wait_for_some(writer, session)
                await self._be_allowed(writer)
                following = self._take(session)  # read while these are sent: a wait for the disk is a gap on the link
                await self._append(writer, envelopes)
                self._note(writer.stored)
                is_large = max(len(envelope.data) for envelope in envelopes) > _LARGE_BYTES
                self._read_at_once = 2 if is_large else _READ_ENVELOPES
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _wait_for_some(self, writer: LogWriter, session: int) -> list[StoredEnvelope]:
        await writer.flush()  # what was refused must be noticed before the wait for something new
        self._note(writer.stored)
        while True:
            self._stored.clear()
            if envelopes := await self._take(session):
                return envelopes
            await self._stored.wait()

    def _take(self, session: int) -> "asyncio.Task[list[StoredEnvelope]]":
        # Under a limit one by one: what comes with a higher priority meanwhile shall not wait for those.
        limit = self._read_at_once if self.allowance.rate is None else 1
        return asyncio.create_task(asyncio.to_thread(self._outbox.outgoing.take, session, limit=limit))

    async def _be_allowed(self, writer: LogWriter) -> None:
        while seconds := self.allowance.wait_seconds():
            self._note(writer.stored)
            await asyncio.sleep(seconds)

    async def _append(self, writer: LogWriter, envelopes: Sequence[StoredEnvelope]) -> None:
        for envelope in envelopes:
            subject = uplink_subject(lab_subject(self._gateway, *envelope.stream), self._token)
            await writer.append(envelope.number, subject, envelope.data, note=envelope.sent)
            self.allowance.spend(len(envelope.data))
            self._under_way.append(envelope._replace(data=b""))

    def _note(self, stored: int) -> None:
        """Record what the hub has."""
        while self._noted < stored:
            envelope = self._under_way.popleft()
            self._noted += 1
            self._outbox.outgoing.acknowledged(envelope)
            self.forwarded[envelope.stream] = max(envelope.last, self.forwarded.get(envelope.stream, 0))
            self.sent_readings[envelope.stream] += envelope.readings

    async def _compare(self, sent: Positions) -> None:
        """Compare what the hub holds with the outbox, and say what does not fit.

        Raises:
            Conflict: the hub has more than the outbox: numbers would be used twice.
        """
        if sent.newest > self._outbox.last_number:
            raise Conflict(
                f"the hub holds envelope {sent.newest} of this outbox, which has only {self._outbox.last_number}: the "
                "state folder is an old copy; move it away, so that the gateway starts a new numbering"
            )
        self.forwarded.update(await asyncio.to_thread(self._outbox.outgoing.lasts_through, sent))
        behind = sorted(key for key, counts in list(self._outbox.streams.items()) if sent.of(key) < counts.trimmed)
        self.notice = ""
        if behind:
            # What left the outbox is in files, or was in this log: the ledgers tell if any of it is missing.
            self.notice = (
                f"the hub's log has lost envelopes of {', '.join(map(str, behind))} that left the outbox, because "
                "sinks have them in files or the log had them; forwarding goes on with what is left"
            )
            log.warning("the hub's log is shorter than what was forwarded", notice=self.notice)
