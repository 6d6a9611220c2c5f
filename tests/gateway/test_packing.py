"""Messages become drafts of envelopes: the right dataset, the right order, nothing twice."""

from collections import defaultdict
from typing import Any

import pytest
from datapath import stream_order
from hypothesis import given
from hypothesis import strategies as st

from atoll.edge.gateway.drafts import Message, Packed
from atoll.edge.gateway.packing import Packer
from atoll.edge.gateway.recent import Packet, RecentPackets, fingerprint
from atoll.federation.bus.envelope import MAX_PAYLOAD_BYTES, MAX_READING_BYTES, MAX_READINGS

NOON_NS = 1_795_348_800_000_000_000  # 2026-11-22T12:00:00Z
DAY_NS = 86_400_000_000_000


def message(topic: str, payload: bytes = b"1", packet_id: int = 0, at: int = NOON_NS, **flags: Any) -> Message:
    return Message(1, packet_id, topic, payload, flags.get("dup", False), flags.get("retained", False), at)


def packer(*orders: Any) -> Packer:
    return Packer(orders or (stream_order(),), recent=RecentPackets())


def content(packed: Packed) -> list[tuple[str, list[bytes], bool]]:
    return [
        (draft.dataset, [reading.payload for reading in draft.readings], draft.end_of_run) for draft in packed.drafts
    ]


@pytest.mark.parametrize(
    ("template", "topic", "expected"),
    [
        ("anmo.{date}", "lab/x", "anmo.2026-11-22"),
        ("{topic[1]}.{stream}", "lab/Bench 4/data", "bench-4.anmo"),
        ("{topic[2]}", "lab/x", None),
        ("{topic[1]}", "lab/---", None),
        ("{topic[1]}", f"lab/{'x' * 300}", None),
        ("a{topic[1]}b", "lab/..", "ab"),
        ("fixed", "anything", "fixed"),
    ],
)
def test_a_template_gives_a_valid_name_or_the_reading_is_refused(
    template: str, topic: str, expected: str | None
) -> None:
    packed = packer(stream_order(topics=("#",), dataset=template, end_of_run=None)).pack([message(topic)])
    assert [draft.dataset for draft in packed.drafts] == ([expected] if expected else [])
    assert len(packed.refused) == (expected is None)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_topic_makes_an_invalid_dataset_name(first: str, second: str) -> None:
    from atoll.edge.sink.volume import _NAME

    stream = stream_order(topics=("#",), dataset="d.{topic[0]}-{topic[1]}", end_of_run=None)
    for draft in packer(stream).pack([message(f"{first}/{second}")]).drafts:
        assert _NAME.fullmatch(draft.dataset)


def test_readings_of_one_topic_keep_their_order_over_envelopes() -> None:
    payloads = [str(number).encode() for number in range(MAX_READINGS * 2 + 10)]
    packed = packer().pack([message("lab/a/data", payload) for payload in payloads])
    assert [len(draft.readings) for draft in packed.drafts] == [MAX_READINGS, MAX_READINGS, 10]
    assert [reading.payload for draft in packed.drafts for reading in draft.readings] == payloads


def test_an_envelope_is_closed_before_it_grows_too_large() -> None:
    half = b"x" * (MAX_PAYLOAD_BYTES // 2)
    packed = packer().pack([message("lab/a/data", half), message("lab/a/data", half), message("lab/a/data", b"y")])
    assert [len(draft.readings) for draft in packed.drafts] == [2, 1]


def test_a_reading_too_large_for_an_envelope_is_refused_by_name() -> None:
    packed = packer().pack([message("lab/a/data", b"x" * (MAX_READING_BYTES + 1))])
    assert not packed.drafts
    assert "lab/a/data" in packed.refused[0]


def test_midnight_begins_the_next_dataset() -> None:
    stream = stream_order(dataset="anmo.{date}")
    packed = packer(stream).pack([message("lab/a/data", b"1"), message("lab/a/data", b"2", at=NOON_NS + DAY_NS)])
    assert content(packed) == [("anmo.2026-11-22", [b"1"], False), ("anmo.2026-11-23", [b"2"], False)]


def test_a_message_that_two_streams_want_goes_into_both() -> None:
    streams = stream_order(), stream_order(dataset="other", topics=("lab/#",)).model_copy(update={"name": "other"})
    assert content(packer(*streams).pack([message("lab/a/data")])) == [
        ("anmo.run", [b"1"], False),
        ("other", [b"1"], False),
    ]


def test_the_marker_ends_the_run_after_the_readings_before_it() -> None:
    packed = packer().pack([message("lab/a/data", b"1"), message("lab/end"), message("lab/a/data", b"2")])
    assert content(packed) == [("anmo.run", [b"1"], True), ("anmo.run", [b"2"], False)]


def test_a_marker_in_a_later_batch_is_an_envelope_without_readings() -> None:
    one = packer()
    one.pack([message("lab/a/data")])
    assert content(one.pack([message("lab/end")])) == [("anmo.run", [], True)]
    assert content(one.pack([message("lab/end")])) == []


def test_a_marker_with_a_wildcard_ends_only_its_own_instrument() -> None:
    stream = stream_order(dataset="{topic[1]}.run", end_of_run={"topic": "lab/+/end"})
    packed = packer(stream).pack([message("lab/a/data"), message("lab/b/data"), message("lab/a/end")])
    assert content(packed) == [("a.run", [b"1"], True), ("b.run", [b"1"], False)]


def test_open_datasets_are_closed_by_a_marker_after_a_restart() -> None:
    opened = packer().pack([message("lab/a/data")]).opened
    restarted = Packer((stream_order(),), recent=RecentPackets(), opened=opened)
    assert content(restarted.pack([message("lab/end")])) == [("anmo.run", [], True)]


def test_a_redelivered_packet_is_no_second_reading() -> None:
    one = packer()
    one.pack([message("lab/a/data", b"21.5", packet_id=7)])
    packed = one.pack([message("lab/a/data", b"21.5", packet_id=7, dup=True)])
    assert not packed.drafts
    assert sum(packed.duplicates.values()) == 1


@pytest.mark.parametrize(
    "later",
    [
        message("lab/a/data", b"21.5", packet_id=7),
        message("lab/a/data", b"21.5", packet_id=8, dup=True),
        message("lab/a/data", b"21.6", packet_id=7, dup=True),
        message("lab/b/data", b"21.5", packet_id=7, dup=True),
    ],
    ids=["same id, first delivery", "other id", "other payload", "other topic"],
)
def test_an_equal_looking_reading_that_is_no_redelivery_is_kept(later: Message) -> None:
    """Losing a reading is worse than doubling one, so only a certain redelivery is dropped."""
    one = packer()
    one.pack([message("lab/a/data", b"21.5", packet_id=7)])
    assert len(one.pack([later]).drafts) == 1


def test_after_a_lost_session_packet_ids_mean_nothing() -> None:
    one = packer()
    one.pack([message("lab/a/data", b"21.5", packet_id=7)])
    one.recent.forget_packet_ids()
    assert len(one.pack([message("lab/a/data", b"21.5", packet_id=7, dup=True)]).drafts) == 1


def test_a_distinct_stream_drops_equal_content_whatever_its_packet_id() -> None:
    one = packer(stream_order(distinct=True))
    packed = one.pack(
        [message("lab/a/data", b"#1", 1), message("lab/a/data", b"#1", 2), message("lab/a/data", b"#2", 3)]
    )
    assert content(packed) == [("anmo.run", [b"#1", b"#2"], False)]
    assert sum(packed.duplicates.values()) == 1


def test_equal_markers_end_run_after_run_of_a_distinct_stream() -> None:
    one = packer(stream_order(distinct=True))
    first = one.pack([message("lab/a/data", b"1"), message("lab/end", b"end")])
    second = one.pack([message("lab/a/data", b"2"), message("lab/end", b"end")])
    assert [draft.end_of_run for draft in (*first.drafts, *second.drafts)] == [True, True]


def test_a_retained_message_is_state_and_no_reading() -> None:
    packed = packer().pack([message("lab/a/data", retained=True), message("lab/end", retained=True)])
    assert (packed.drafts, packed.retained) == ([], 2)


def test_what_no_stream_wants_is_counted_and_not_kept() -> None:
    packed = packer().pack([message("elsewhere")])
    assert (packed.drafts, packed.packets, packed.unmatched) == ([], b"", 1)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([bytes(8), b"12345678"])), max_size=60),
    st.integers(1, 20),
)
def test_the_memory_of_packets_is_that_of_a_plain_list(pairs: list[tuple[int, bytes]], capacity: int) -> None:
    packets = [Packet(packet_id, content) for packet_id, content in pairs]
    recent = RecentPackets(packets, capacity)
    kept = packets[-capacity:]
    for packet in packets:
        assert recent.has(packet) == (packet.packet_id != 0 and packet in kept)
        assert recent.has_content(packet.fingerprint) == (packet.fingerprint in {known.fingerprint for known in kept})


@given(
    st.lists(st.tuples(st.sampled_from(["lab/a/data", "lab/b/data", "lab/end", "x"]), st.integers(0, 2)), max_size=60),
    st.lists(st.integers(1, 7), max_size=10),
)
def test_batching_changes_nothing_of_what_a_dataset_receives(events: list[tuple[str, int]], cuts: list[int]) -> None:
    """Any cut of the same messages into batches gives every dataset the same readings and ends, in the same order."""
    messages = [
        message(topic, f"{number}".encode(), at=NOON_NS + day * DAY_NS) for number, (topic, day) in enumerate(events)
    ]
    whole, cut = packer(stream_order(dataset="d.{date}")), packer(stream_order(dataset="d.{date}"))
    batches, rest = [], messages
    for size in cuts:
        batches.append(rest[:size])
        rest = rest[size:]
    batches.append(rest)
    assert _story([whole.pack(messages)]) == _story([cut.pack(batch) for batch in batches])


def _story(batches: list[Packed]) -> dict[str, list[bytes | str]]:
    story: dict[str, list[bytes | str]] = defaultdict(list)
    for packed in batches:
        for draft in packed.drafts:
            story[draft.dataset] += [reading.payload for reading in draft.readings]
            story[draft.dataset] += ["end"] if draft.end_of_run else []
    return story


def test_topic_and_payload_cannot_run_into_each_other() -> None:
    assert fingerprint("a", b"bc") != fingerprint("ab", b"c")
