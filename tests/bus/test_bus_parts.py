"""How large values are cut, named and put together, and which parts are left over: pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.bus.parts import (
    LARGEST_VALUE_BYTES,
    PART_BYTES,
    WRITE_SECONDS,
    Head,
    Leftovers,
    part_of,
    set_subjects,
    split,
)
from atoll.federation.errors import InvalidInput

SUBJECT = "observed.cluster.a.t.inventory"
LONG_AGO = 3 * WRITE_SECONDS
sizes = st.integers(1, 4 * PART_BYTES) | st.sampled_from([PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES])


def value_of(size: int, seed: int = 0) -> bytes:
    return bytes([seed]) * (size // 2) + b"x" * (size - size // 2)


@given(sizes)
def test_a_value_is_what_its_parts_make_and_no_part_is_too_large(size: int) -> None:
    value = value_of(size)
    head = Head.read(Head.of(value).headers())
    parts = split(value)
    assert head is not None
    assert max(map(len, parts)) <= PART_BYTES
    assert len(head.subjects(SUBJECT)) == len(parts)
    assert head.join(parts) == value


@given(sizes, st.data())
def test_parts_that_are_missing_changed_or_in_another_order_make_nothing(size: int, data: st.DataObject) -> None:
    value = bytes(number % 251 for number in range(PART_BYTES + 1)) + value_of(size)
    head, parts = Head.of(value), split(value)
    spoiled = data.draw(st.sampled_from([
        parts[1:], parts[:-1], [*parts, b""], list(reversed(parts)), [*parts[:-1], parts[-1] + b"x"],
        [*parts[:-1], bytes([parts[-1][0] ^ 1]) + parts[-1][1:]], [],
    ]))  # fmt: skip
    with pytest.raises(InvalidInput):
        head.join(spoiled)


GOOD = f"{'a' * 16} 2 {PART_BYTES + 1} {'0' * 64}"


@pytest.mark.parametrize(
    "text",
    [
        "", "x", GOOD + " ", GOOD + " more",
        GOOD.replace(" 2 ", " 3 "), GOOD.replace(" 2 ", " -2 "), GOOD.replace(" 2 ", " ² "),
        GOOD[1:], GOOD[:-1], f"{GOOD[:16]} {10**12} {10**18} {'0' * 64}", f"{GOOD[:16]} 0 0 {'0' * 64}",
        f"{'>' * 16} 1 1 {'0' * 64}", f"{GOOD[:16]} 33 {LARGEST_VALUE_BYTES + 1} {'0' * 64}",
    ],
)  # fmt: skip
def test_a_head_that_no_writer_writes_is_refused(text: str) -> None:
    assert Head.read({"Atoll-Parts": GOOD}) == Head("a" * 16, 2, PART_BYTES + 1, "0" * 64)
    with pytest.raises(InvalidInput):
        Head.read({"Atoll-Parts": text})


def test_a_message_without_such_a_header_is_the_value_itself() -> None:
    assert Head.read(None) is None
    assert Head.read({"Nats-TTL": "1s"}) is None


def test_a_part_lies_below_the_subject_of_its_key() -> None:
    head = Head.of(b"x" * (PART_BYTES + 1))
    for subject in head.subjects(SUBJECT):
        assert subject.startswith(f"{SUBJECT}.")
        assert part_of(subject) == (SUBJECT, head.set_name)
        assert subject.startswith(set_subjects(SUBJECT, head.set_name).removesuffix(">"))
    assert part_of(SUBJECT) is None


def test_the_parts_of_a_value_that_was_replaced_are_left_over_and_those_that_stand_are_not() -> None:
    leftovers = Leftovers()
    leftovers.part(SUBJECT, "one", 0)
    assert leftovers.value(SUBJECT, "one", 1) == []
    leftovers.part(SUBJECT, "two", 2)
    assert leftovers.value(SUBJECT, "two", 3) == ["one"]
    assert leftovers.value(SUBJECT, "two", LONG_AGO) == [], "seen again after a reconnect"
    assert leftovers.value(SUBJECT, "", LONG_AGO + 1) == ["two"], "deleted, or small again"
    assert leftovers.abandoned(9 * LONG_AGO) == []


def test_parts_without_a_head_are_left_over_only_after_their_writer_must_have_given_up() -> None:
    leftovers = Leftovers()
    leftovers.part(SUBJECT, "dead", 0)
    leftovers.part(SUBJECT, "writing", LONG_AGO - WRITE_SECONDS)
    assert leftovers.value(SUBJECT, "", LONG_AGO) == ["dead"]
    assert leftovers.abandoned(LONG_AGO) == []
    assert leftovers.abandoned(3 * LONG_AGO) == [(SUBJECT, "writing")]


STEPS = st.lists(st.tuples(st.sampled_from(["part", "head", "small", "sweep"]), st.integers(0, 3), st.integers(0, 400)))


@given(STEPS)
def test_a_set_that_the_newest_head_names_is_never_left_over(steps: list[tuple[str, int, int]]) -> None:
    """Any order of parts, heads and small values, with any time between: the model is the newest head alone."""
    leftovers, now, newest, written = Leftovers(), 0.0, "", {}
    for number, (what, which, later) in enumerate(steps):
        now += later
        removed: list[str] = []
        if what == "part":
            written[which] = (f"{which}-{number}", now)
            leftovers.part(SUBJECT, written[which][0], now)
        elif what == "head" and which in written and now - written[which][1] <= WRITE_SECONDS:
            newest = written[which][0]
            removed = leftovers.value(SUBJECT, newest, now)
        elif what == "small":
            newest = ""
            removed = leftovers.value(SUBJECT, "", now)
        elif what == "sweep":
            removed = [name for _, name in leftovers.abandoned(now)]
        young = {name for name, at in written.values() if now - at <= WRITE_SECONDS and name != newest}
        assert newest not in removed
        heads_before = young & set(removed)
        assert not heads_before or what in ("head", "small"), "a sweep takes nothing from a writer at work"
