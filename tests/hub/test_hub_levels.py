"""A table's follow, given again or not, becomes exactly the changes that happened."""

from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.bus.changes import Change, Synced
from atoll.hub.levels import Levels


def feed(levels: Levels, *items: Change | Synced) -> list[tuple[str, bytes | None]]:
    return [(change.key, change.value) for item in items for change in levels.feed(item)]


def test_a_first_snapshot_and_what_follows_pass_as_they_are() -> None:
    levels = Levels()
    assert feed(levels, Change("a", b"1", 3), Synced(3), Change("a", b"2", 4), Change("b", b"1", 5)) == [
        ("a", b"1"), ("a", b"2"), ("b", b"1"),
    ]  # fmt: skip


def test_a_snapshot_that_is_given_again_shows_only_what_changed_meanwhile() -> None:
    levels = Levels()
    feed(levels, Change("a", b"1", 1), Change("b", b"1", 2), Synced(2), Change("c", b"1", 3))
    assert feed(levels, Change("b", b"1", 2), Change("c", b"2", 7), Synced(7)) == [("c", b"2"), ("a", None)]


def test_a_snapshot_that_broke_off_and_began_once_more_loses_nothing() -> None:
    levels = Levels()
    feed(levels, Change("a", b"1", 1), Change("b", b"1", 2), Synced(2))
    assert feed(levels, Change("a", b"1", 1)) == []
    assert feed(levels, Change("a", b"1", 1), Change("b", b"1", 2), Synced(2)) == []


def test_a_value_that_cannot_be_read_now_is_not_gone() -> None:
    levels = Levels()
    feed(levels, Change("a", b"1", 1), Change("b", b"1", 2), Synced(2))
    assert feed(levels, Change("b", b"1", 2), Synced(5, damaged=frozenset({"a"}))) == []
    assert feed(levels, Change("a", b"2", 6)) == [("a", b"2")]


def test_a_stream_that_was_made_anew_and_is_empty_means_that_everything_is_gone() -> None:
    levels = Levels()
    feed(levels, Change("a", b"1", 5), Synced(5), Change("b", b"1", 6))
    assert feed(levels, Synced(0)) == [("a", None), ("b", None)]
    assert feed(levels, Change("a", b"2", 1)) == [("a", b"2")]


def test_a_tombstone_of_an_unknown_key_is_no_change() -> None:
    levels = Levels()
    assert feed(levels, Synced(0), Change("a", None, 1)) == []


writes = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([b"1", b"2", None])), max_size=30)


@given(seen=writes, missed=writes)
def test_a_follower_that_missed_any_writes_ends_with_the_tables_state(
    seen: list[tuple[str, bytes | None]], missed: list[tuple[str, bytes | None]]
) -> None:
    table: dict[str, tuple[bytes, int]] = {}
    state: dict[str, bytes] = {}
    levels, revision = Levels(), 0

    def take(item: Change | Synced) -> None:
        for change in levels.feed(item):
            state.pop(change.key, None)
            if change.value is not None:
                state[change.key] = change.value

    take(Synced(0))
    for is_seen, (key, value) in [*((True, w) for w in seen), *((False, w) for w in missed)]:
        revision += 1
        table.pop(key, None)
        if value is not None:
            table[key] = (value, revision)
        if is_seen:
            take(Change(key, value, revision))
    snapshot = sorted(table.items(), key=lambda row: row[1][1])
    if not snapshot or snapshot[0][1][1] > len(seen):
        return  # such a snapshot does not show that it is one; a table gives it only after an hour out of touch
    for key, (value, at) in snapshot:
        take(Change(key, value, at))
    take(Synced(revision))
    assert state == {key: value for key, (value, _) in table.items()}
