"""The outbox keeps what it said it keeps, numbers it without a gap, and says when it cannot."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from datapath import stream_order

from atoll.edge.gateway import database
from atoll.edge.gateway.buffers import Rules
from atoll.edge.gateway.drafts import Message, Packed
from atoll.edge.gateway.files import StateDir
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.outbox import Outbox, OutboxDamaged, OutboxFull
from atoll.edge.gateway.packing import Packer
from atoll.edge.gateway.recent import Packet, RecentPackets
from atoll.federation.bus.data_messages import GatewayOrder
from atoll.federation.bus.envelope import Envelope, decode
from atoll.federation.errors import Conflict, InvalidInput

KEY = StreamKey("ns", "anmo")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox(tmp_path / "outbox.db", gateway="lab")
    yield box
    box.close()


def packed(*payloads: bytes, topic: str = "lab/a/data", packer: Packer | None = None, first_id: int = 1) -> Packed:
    packer = packer or Packer((stream_order(),), recent=RecentPackets())
    messages = [Message(1, first_id + n, topic, payload, False, False, n) for n, payload in enumerate(payloads)]
    return packer.pack(messages)


def reopen(box: Outbox, path: Path) -> Outbox:
    box.close()
    return Outbox(path / "outbox.db", gateway="lab")


def envelopes(box: Outbox, after: int = 0) -> list[Envelope]:
    return [decode(stored.data) for stored in box.read(after, limit=100)]


def test_envelopes_and_readings_are_numbered_without_a_gap(outbox: Outbox) -> None:
    outbox.store(packed(b"1", b"2"), now=0)
    outbox.store(packed(b"3"), now=0)
    assert [(e.number, e.first, e.last) for e in envelopes(outbox)] == [(1, 1, 2), (2, 3, 3)]


def test_numbers_go_on_after_everything_was_trimmed_and_the_gateway_restarted(outbox: Outbox, tmp_path: Path) -> None:
    outbox.store(packed(b"1", b"2"), now=0)
    outbox.trim(KEY, number=1, sequence=2)
    ident = outbox.ident
    again = reopen(outbox, tmp_path)
    again.store(packed(b"3"), now=0)
    assert [(e.outbox, e.number, e.first) for e in envelopes(again)] == [(ident, 2, 3)]
    assert (again.readings, again.streams[KEY].committed) == (1, 2)
    again.close()


def test_trimming_one_stream_leaves_the_others(outbox: Outbox) -> None:
    other = stream_order(topics=("other/#",)).model_copy(update={"name": "other"})
    packer = Packer((stream_order(), other), recent=RecentPackets())
    outbox.store(packed(b"1", packer=packer), now=0)
    outbox.store(packed(b"2", packer=packer, topic="other/x"), now=0)
    outbox.trim(StreamKey("ns", "other"), number=2, sequence=1)
    assert [e.stream for e in envelopes(outbox)] == ["anmo"]
    assert outbox.readings == 1


def test_an_older_commit_takes_nothing_back(outbox: Outbox) -> None:
    outbox.store(packed(b"1", b"2"), now=0)
    outbox.trim(KEY, number=1, sequence=2)
    outbox.trim(KEY, number=0, sequence=0)
    assert outbox.streams[KEY].committed == 2


def test_packets_are_known_after_a_restart_until_the_session_is_lost(outbox: Outbox, tmp_path: Path) -> None:
    outbox.store(packed(b"1", first_id=7), now=0)
    again = reopen(outbox, tmp_path)
    known = again.recent_packets()
    assert [packet.packet_id for packet in known] == [7]
    again.begin_session(now=1.0)
    assert again.recent_packets() == [Packet(0, known[0].fingerprint)]
    again.close()


def test_the_first_session_is_no_loss_and_a_later_one_is_remembered_as_one(outbox: Outbox, tmp_path: Path) -> None:
    outbox.begin_session(now=5.0)
    assert outbox.session_lost_at() is None
    outbox.begin_session(now=7.5)
    again = reopen(outbox, tmp_path)
    assert again.session_lost_at() == 7.5
    again.close()


def test_open_datasets_are_known_after_a_restart_and_closed_ones_not(outbox: Outbox, tmp_path: Path) -> None:
    packer = Packer(
        (stream_order(dataset="{topic[1]}.run", end_of_run={"topic": "lab/+/end"}),), recent=RecentPackets()
    )
    outbox.store(packed(b"1", packer=packer), now=0)
    outbox.store(packed(b"1", packer=packer, topic="lab/b/data"), now=0)
    outbox.store(packed(b"", packer=packer, topic="lab/a/end"), now=0)
    again = reopen(outbox, tmp_path)
    assert [(item.dataset, item.levels) for item in again.open_datasets()] == [("b.run", ("b",))]
    again.close()


def test_a_full_outbox_stores_nothing_and_takes_more_when_trimmed(outbox: Outbox) -> None:
    outbox.store(packed(b"1"), now=0)
    outbox.follow(Rules(limit_bytes=outbox.bytes))
    batch = packed(b"2")
    with pytest.raises(OutboxFull, match="at most"):
        outbox.store(batch, now=0)
    assert outbox.last_number == 1
    outbox.trim(KEY, number=1, sequence=1)
    outbox.store(batch, now=0)
    assert [e.readings[0].payload for e in envelopes(outbox)] == [b"2"]


def test_a_disk_without_reserve_stores_nothing(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "RESERVED_FREE_BYTES", 1 << 62)
    with pytest.raises(OutboxFull, match="MB free"):
        outbox.store(packed(b"1"), now=0)


def test_a_write_that_the_database_refuses_leaves_it_as_it_was(outbox: Outbox) -> None:
    outbox.store(packed(b"1"), now=0)
    outbox._database.run("PRAGMA max_page_count = 1")  # sets it to the size that the file has
    big = packed(os.urandom(400_000))
    with pytest.raises(OutboxFull, match="cannot be written"):
        outbox.store(big, now=0)
    outbox._database.run("PRAGMA max_page_count = 1000000")
    outbox.store(big, now=0)
    assert [(e.number, e.first) for e in envelopes(outbox)] == [(1, 1), (2, 2)]


def test_damage_that_is_met_while_reading_is_said_so(outbox: Outbox, tmp_path: Path) -> None:
    outbox.store(packed(b"1"), now=0)
    other = sqlite3.connect(tmp_path / "outbox.db")
    other.execute("PRAGMA writable_schema = ON")
    other.execute("UPDATE sqlite_master SET rootpage = 4000 WHERE name = 'envelopes'")
    other.commit()
    other.close()
    with pytest.raises(OutboxDamaged):
        reopen(outbox, tmp_path)


def test_a_second_gateway_on_the_same_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    first = StateDir(tmp_path)
    with pytest.raises(Conflict, match="another gateway runs on"):
        StateDir(tmp_path)
    first.close()
    StateDir(tmp_path).close()


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="state folder"):
        StateDir(tmp_path / "file" / "state")


def test_the_last_order_is_known_after_a_restart_and_nonsense_is_no_order(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert state.load_order() is None
    order = GatewayOrder(outbox_bytes=5_000_000, streams=(stream_order(),))
    state.save_order(order)
    assert state.load_order() == order
    (tmp_path / "order.json").write_text("{")
    assert state.load_order() is None
    state.close()
