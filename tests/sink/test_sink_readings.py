"""Readings by column hold what the rows of their envelopes hold, however they are joined and divided."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from atoll.edge.sink.readings import Readings, joined
from atoll.federation.bus.envelope import Absence, Envelope, Reading, decode, encode

instants = st.integers(-(2**62), 2**62)
rows = st.builds(Reading, instants, st.sampled_from(["a", "b/c", "d"]), st.binary(max_size=9), st.none() | instants)
parts = st.lists(st.lists(rows, min_size=1, max_size=20), min_size=1, max_size=5)
Row = tuple[int, int, int, str, bytes]


def envelopes(contents: Sequence[Sequence[Reading]]) -> list[Envelope]:
    """Pack rows one envelope after the other, as a log has them."""
    found, first = [], 1
    for number, content in enumerate(contents, 1):
        found.append(decode(encode(Envelope("0" * 32, "lab", "ns", "s", "run", number, first, content))))
        first += len(content)
    return found


def as_rows(readings: Readings) -> list[Row]:
    topics = [readings.topics[place] for place in readings.topic_of.tolist()]
    columns = (readings.numbers.tolist(), readings.received_ns.tolist(), readings.at_ns.tolist())
    return list(zip(*columns, topics, readings.payloads, strict=True))


def expected(contents: Sequence[Sequence[Reading]]) -> list[Row]:
    flat = [reading for content in contents for reading in content]
    return [(n, at, at if own is None else own, topic, data) for n, (at, topic, data, own) in enumerate(flat, 1)]


@given(parts)
def test_joined_envelopes_have_all_rows_in_order(contents: list[list[Reading]]) -> None:
    assert as_rows(joined([Readings.of(envelope) for envelope in envelopes(contents)])) == expected(contents)


@given(parts)
def test_each_topic_gets_its_rows_in_order_and_no_others(contents: list[list[Reading]]) -> None:
    whole = joined([Readings.of(envelope) for envelope in envelopes(contents)])
    divided = {topic: as_rows(readings) for topic, readings in whole.by_topic()}
    topics = {row[3] for row in expected(contents)}
    assert divided == {topic: [row for row in expected(contents) if row[3] == topic] for topic in topics}


def test_what_is_left_of_a_thinned_envelope_keeps_its_numbers() -> None:
    left = (Reading(1, "a", b"10"), Reading(2, "a", b"20"))
    envelope = Envelope("0" * 32, "lab", "ns", "s", "run", 1, 5, left, absence=Absence("shed", 20, 10))
    assert Readings.of(decode(encode(envelope))).numbers.tolist() == [10, 20]
