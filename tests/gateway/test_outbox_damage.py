"""Of a damaged outbox all that is readable goes on its way, and what is not is named: to people, and to the ledger."""

import os
import random
import sqlite3
from pathlib import Path

import pytest
from outbox_worlds import KEY, Hub, Told, order_of, readings, rules

from atoll.edge.gateway import database
from atoll.edge.gateway.files import OpenedOutbox, StateDir
from atoll.edge.gateway.mark import Mark, MarkFile
from atoll.edge.gateway.outbox import Outbox
from atoll.federation.bus.envelope import Envelope, Reading, encode

NOISE = random.Random(1)


def filled(folder: Path, *, count: int = 60, size: int = 2000) -> Outbox:
    """Make an outbox with so many envelopes of one reading each."""
    box = Outbox(folder / "outbox.db", gateway="lab")
    box.follow(rules(order_of("anmo")), is_compressed=False)
    for _ in range(count):
        box.store(readings("anmo", NOISE.randbytes(size)), now=0)
    return box


def opened(folder: Path, *, damage: str = "") -> OpenedOutbox:
    """Open what is in a folder as a gateway does that starts, or that met damage."""
    state = StateDir(folder)
    try:
        return state.open_outbox("lab", damage=damage)
    finally:
        state.close()


def told_by(box: Outbox, hub: Hub | None = None) -> Told:
    """Give what a sink knows of the Stream after everything was sent."""
    hub = hub or Hub()
    hub.drain(box)
    return hub.streams.get("anmo", Told())


def overwrite(path: Path, start: int, size: int) -> None:
    """Put rubbish into a file."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(os.urandom(size))


def test_a_damaged_page_costs_what_lay_on_it_and_nothing_else(tmp_path: Path) -> None:
    filled(tmp_path).close()
    path = tmp_path / "outbox.db"
    overwrite(path, path.stat().st_size // 2 // 4096 * 4096, 4096)
    found = opened(tmp_path)
    told = told_by(found.outbox)
    assert told.damaged
    assert len(told.damaged) < 20
    assert told.damaged | told.payloads.keys() == set(range(1, 61))
    assert told.gaps == set()
    assert [(loss.stream, loss.first) for loss in found.outbox.losses] == [(KEY, min(told.damaged))]
    assert f"ns/anmo {min(told.damaged)} to {max(told.damaged)}" in found.loss
    assert found.outbox.streams[KEY].damaged == len(told.damaged)
    assert list(tmp_path.glob("outbox.db.damaged-*"))
    found.outbox.close()


@pytest.mark.parametrize("seed", range(6))
def test_wherever_the_damage_is_every_reading_is_sent_or_named(tmp_path: Path, seed: int) -> None:
    chooser = random.Random(seed)
    box, hub = filled(tmp_path, count=40), Hub()
    session = box.outgoing.begin(hub.positions())
    for stored in box.outgoing.take(session, limit=chooser.randint(0, 20)):
        hub.store(stored)
    told = hub.streams.get("anmo")
    if told is not None and chooser.random() < 0.5:
        box.trim(KEY, number=told.envelope // 2, sequence=told.envelope // 2)
    box.close()
    path = tmp_path / "outbox.db"
    size = path.stat().st_size
    if chooser.random() < 0.4:
        os.truncate(path, chooser.randrange(size))
    else:
        for _ in range(chooser.randint(1, 3)):
            overwrite(path, chooser.randrange(size), chooser.randint(1, 6000))
    found = opened(tmp_path)
    found.outbox.store(readings("anmo", b"after"), now=0)
    told = told_by(found.outbox, hub)
    assert told.gaps == set()
    assert told.damaged | told.payloads.keys() == set(range(1, 42))
    assert told.payloads[41] == b"after"
    found.outbox.close()


def test_an_outbox_that_is_rubbish_from_end_to_end_is_known_by_its_mark(tmp_path: Path) -> None:
    box = filled(tmp_path, count=3)
    hub = Hub()
    hub.drain(box)
    ident = box.ident
    box.store(readings("anmo", b"4", b"5"), now=0)
    box.close()
    for file in tmp_path.glob("outbox.db*"):
        file.write_bytes(b"rubbish" * 1000)
    found = opened(tmp_path)
    assert found.outbox.ident == ident
    assert "perhaps lost: ns/anmo 1 to 5" in found.loss
    found.outbox.store(readings("anmo", b"6"), now=0)
    told = told_by(found.outbox, hub)
    assert (sorted(told.payloads), told.damaged, told.gaps) == ([1, 2, 3, 6], {4, 5}, set())
    found.outbox.close()


def test_without_a_mark_an_unreadable_outbox_is_replaced_and_says_that_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"no database " * 1000)
    found = opened(tmp_path)
    assert "unknown number of readings" in found.loss
    found.outbox.store(readings("anmo", b"1"), now=0)
    assert told_by(found.outbox).payloads == {1: b"1"}
    found.outbox.close()


def test_commits_that_are_gone_from_the_end_of_the_log_are_named(tmp_path: Path) -> None:
    """SQLite leaves out what it cannot read of a write-ahead log, without a word."""
    box = filled(tmp_path, count=10)
    log = tmp_path / "outbox.db-wal"
    copy = log.read_bytes(), (tmp_path / "outbox.db").read_bytes()
    box.store(readings("anmo", b"11", b"12"), now=0)
    box.close()
    for name, content in zip(("outbox.db-wal", "outbox.db"), copy, strict=True):
        (tmp_path / name).write_bytes(content)
    found = opened(tmp_path)
    assert [(loss.first, loss.last) for loss in found.outbox.losses] == [(11, 12)]
    found.outbox.store(readings("anmo", b"13"), now=0)
    told = told_by(found.outbox)
    assert (told.damaged, told.gaps, told.payloads[13]) == ({11, 12}, set(), b"13")
    found.outbox.close()


def test_a_loss_is_told_after_restarts_until_a_sink_has_it_in_its_ledger(tmp_path: Path) -> None:
    filled(tmp_path, count=4).close()
    MarkFile(tmp_path / "outbox.mark").write(Mark(_ident(tmp_path), 5, {KEY: 6}))
    opened(tmp_path).outbox.close()
    box = opened(tmp_path).outbox
    assert [(loss.first, loss.last) for loss in box.losses] == [(5, 6)]
    assert box.streams[KEY].damaged == 2
    told = told_by(box)
    box.trim(KEY, number=told.envelope, sequence=told.last)
    assert box.losses == []
    box.close()
    box = opened(tmp_path).outbox
    assert (box.losses, box.streams[KEY].damaged) == ([], 2)
    box.close()


def _ident(folder: Path) -> str:
    with sqlite3.connect(folder / "outbox.db") as db:
        (ident,) = db.execute("SELECT value FROM meta WHERE key = 'ident'").fetchone()
    db.close()
    return str(ident)


def test_numbers_that_may_be_in_the_hubs_log_are_not_used_again(tmp_path: Path) -> None:
    box, hub = filled(tmp_path, count=2), Hub()
    hub.drain(box)
    box.close()
    MarkFile(tmp_path / "outbox.mark").write(Mark(box.ident, 500, {KEY: 2}))
    again = opened(tmp_path).outbox
    assert again.store(readings("anmo", b"3"), now=0) > 500
    assert told_by(again, hub).payloads[3] == b"3"
    again.close()


def test_a_rotten_envelope_is_sent_as_what_it_stood_for(tmp_path: Path) -> None:
    filled(tmp_path, count=3).close()
    with sqlite3.connect(tmp_path / "outbox.db") as db:
        (data,) = db.execute("SELECT data FROM envelopes WHERE number = 2").fetchone()
        db.execute("UPDATE envelopes SET data = ? WHERE number = 2", (data[:-1] + bytes([data[-1] ^ 1]),))
    db.close()
    box = opened(tmp_path).outbox
    told = told_by(box)
    assert (sorted(told.payloads), told.damaged, told.gaps) == ([1, 3], {2}, set())
    box.close()


def test_without_room_for_a_second_outbox_a_new_one_says_what_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = filled(tmp_path, count=20)
    box.trim(KEY, number=5, sequence=5)
    ident = box.ident
    box.close()
    with monkeypatch.context() as patch:
        patch.setattr(database, "RESERVED_FREE_BYTES", 1 << 62)
        found = opened(tmp_path, damage="met while it was read")
    assert found.outbox.ident != ident
    assert found.outbox.streams[KEY].damaged == 15
    found.outbox.store(readings("anmo", b"after"), now=0)
    told = told_by(found.outbox)
    assert (len(told.damaged), told.gaps, list(told.payloads.values())) == (15, set(), [b"after"])
    found.outbox.close()


@pytest.mark.parametrize("cut", ["before", "between"])
def test_a_replacement_that_was_cut_off_is_gone_on_with(tmp_path: Path, cut: str) -> None:
    filled(tmp_path, count=5).close()
    (tmp_path / "outbox.db").rename(tmp_path / "outbox.rescued")
    if cut == "before":
        (tmp_path / "outbox.db").write_bytes(b"rubbish" * 1000)
    box = opened(tmp_path).outbox
    assert sorted(told_by(box).payloads) == [1, 2, 3, 4, 5]
    box.close()


def test_an_outbox_of_the_first_version_is_taken_over_with_what_waits_in_it(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "outbox.db")
    old.executescript(database._SCHEMA + "PRAGMA user_version = 1;")
    (ident,) = old.execute("SELECT value FROM meta WHERE key = 'ident'").fetchone()
    envelope = Envelope(ident, "lab", *KEY, "d", 7, 5, (Reading(0, "anmo/x", b"5"), Reading(0, "anmo/x", b"6")))
    old.execute("INSERT INTO envelopes VALUES (7, ?, ?, 2, 6, 0.0, ?)", (*KEY, encode(envelope)))
    old.execute("INSERT INTO streams VALUES (?, ?, 6, 1, 4)", KEY)
    old.execute("UPDATE meta SET value = '7' WHERE key = 'number'")
    old.commit()
    old.close()
    box = opened(tmp_path).outbox
    box.store(readings("anmo", b"7"), now=0)
    counts = box.streams[KEY]
    assert (box.ident, counts.duplicates, counts.committed, counts.readings) == (ident, 1, 4, 3)
    assert told_by(box).payloads == {5: b"5", 6: b"6", 7: b"7"}
    box.close()
