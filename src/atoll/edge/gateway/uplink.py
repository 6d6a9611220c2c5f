"""From the outbox to the hub's log of this gateway: exactly once, in order, resuming from what the hub has.

Owns the position. It must not trim: an envelope leaves the outbox when a sink has it in files, not when the hub has it.
"""

import asyncio
from collections.abc import Sequence

import structlog

from atoll.edge.gateway.outbox import Outbox, OutboxDamaged, StoredEnvelope
from atoll.edge.gateway.packing import StreamKey
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.envelope import Envelope, encode, is_intact
from atoll.federation.bus.log import LogWriter
from atoll.federation.bus.subjects import OPEN_TOKEN, lab_stream, lab_subject, uplink_subject
from atoll.federation.errors import AtollError, Conflict

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 0.5
# Envelopes read at once: at 512 KB each, what is in memory stays small on an ARM box.
_READ_ENVELOPES = 16
# A window of 64 full envelopes is 32 MB: on a link of 10 Mb/s its last acknowledgement takes 26 s. A lost connection
# does not wait for this: a reconnect ends the session at once.
_DEADLINE_SECONDS = 30.0


class Uplink:
    """Forwards one outbox. `forwarded`: newest reading per Stream that the hub has; `problem`: why it stands still."""

    def __init__(self, outbox: Outbox, *, gateway: str) -> None:
        self._outbox, self._gateway, self._token = outbox, gateway, OPEN_TOKEN
        self._stored = asyncio.Event()
        self._in_flight: list[StoredEnvelope] = []
        self.forwarded: dict[StreamKey, int] = {}
        self.problem = ""
        self.notice = ""

    def wake(self) -> None:
        """Say that the outbox has something new."""
        self._stored.set()

    async def run(self, bus: Bus, *, token: str = OPEN_TOKEN) -> None:
        """Forward until cancelled; whatever happens to the hub, go on from what it has.

        Args:
            token: the one under which the hub's log takes this gateway's envelopes in.
        """
        self._token = token
        writer = LogWriter(bus, lab_stream(self._gateway), ident=self._outbox.ident, deadline_seconds=_DEADLINE_SECONDS)
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
        if not session.cancelled():
            session.result()

    async def _forward(self, writer: LogWriter) -> None:
        position = await writer.resume()
        await self._compare(position)
        self._in_flight.clear()
        self.problem = ""
        while True:
            self._stored.clear()
            envelopes = await asyncio.to_thread(self._outbox.read, position, limit=_READ_ENVELOPES)
            if not envelopes:
                await writer.flush()  # what was refused must be noticed before the wait for something new
                self._note(writer.acknowledged)
                await self._stored.wait()
                continue
            await self._append(writer, envelopes)
            position = envelopes[-1].number
            self._note(writer.acknowledged)

    async def _append(self, writer: LogWriter, envelopes: Sequence[StoredEnvelope]) -> None:
        for envelope in envelopes:
            subject = uplink_subject(lab_subject(self._gateway, *envelope.stream), self._token)
            await writer.append(envelope.number, subject, self._sound(envelope))
            self._in_flight.append(envelope._replace(data=b""))

    def _sound(self, envelope: StoredEnvelope) -> bytes:
        """Give the envelope's bytes; in place of one that rotted on the disk an empty one, so that the numbers go on.

        The sink counts the readings that are missing then as a gap.
        """
        if is_intact(envelope.data):
            return envelope.data
        log.error("an envelope was damaged on the disk; its readings are lost", number=envelope.number)
        empty = Envelope(
            self._outbox.ident,
            self._gateway,
            *envelope.stream,
            "",
            envelope.number,
            first=envelope.last + 1,
            readings=(),
        )
        return encode(empty)

    def _note(self, acknowledged: int) -> None:
        """Record what the hub has."""
        while self._in_flight and self._in_flight[0].number <= acknowledged:
            envelope = self._in_flight.pop(0)
            self.forwarded[envelope.stream] = max(envelope.last, self.forwarded.get(envelope.stream, 0))

    async def _compare(self, held: int) -> None:
        """Compare the newest envelope that the hub holds with the outbox, and say what does not fit.

        Raises:
            Conflict: the hub has more than the outbox: numbers would be used twice.
        """
        if held > self._outbox.last_number:
            raise Conflict(
                f"the hub holds envelope {held} of this outbox, which has only {self._outbox.last_number}: the state "
                "folder is an old copy; move it away, so that the gateway starts a new numbering"
            )
        self.forwarded.update(await asyncio.to_thread(self._outbox.lasts_through, held))
        following = await asyncio.to_thread(self._outbox.read, held, limit=1)
        first = following[0].number if following else self._outbox.last_number + 1
        self.notice = ""
        if first > held + 1:
            # Only what a sink has in files leaves the outbox, so nothing is lost; but the hub's log is not what it was.
            self.notice = (
                f"the hub's log ends at envelope {held} and has lost {held + 1} to {first - 1}, which sinks have in "
                f"files; forwarding goes on with {first}"
            )
            log.warning("the hub's log is shorter than what was forwarded", notice=self.notice)
