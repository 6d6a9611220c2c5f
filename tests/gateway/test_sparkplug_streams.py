"""Sparkplug B: births and aliases, gaps in the sequence, rebirths; through restarts."""

from typing import Any

import pytest
from packers import NOON_NS, SECOND_NS, Bench, message

from atoll.federation.payloads import decode, field
from atoll.federation.payloads.sparkplug_schema import Payload

NODE = "spBv1.0/plant/{}/press"


def payload(*metrics: dict[str, Any], **fields: Any) -> bytes:
    made = Payload(**fields)
    for metric in metrics:
        made.metrics.add(**metric)
    data: bytes = made.SerializeToString()
    return data


def birth(seq: int = 0) -> Any:
    return message(NODE.format("NBIRTH"), payload({"name": "Temp", "alias": 4, "datatype": 10}, seq=seq))


def data(seq: int, kind: str = "NDATA", **flags: Any) -> Any:
    topic = NODE.format(kind) + ("/probe" if kind.startswith("D") else "")
    return message(topic, payload({"alias": 4, "double_value": 21.5}, seq=seq), **flags)


def bench(*, request_rebirth: bool = False, **stream: Any) -> Bench:
    form = {"format": "SparkplugB", "request_rebirth": request_rebirth}
    return Bench(topics=("spBv1.0/plant/#",), dataset="plant", payload=form, **stream)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_stored_message_has_the_names_that_its_birth_gave_to_aliases(is_restarted: bool) -> None:
    one = bench()
    one.take(birth())
    if is_restarted:
        one.restart()
    packed = one.take(data(1), data(2, "DDATA"))
    values = [decode(reading.payload, "SparkplugB") for reading in packed.drafts[0].readings]
    assert [field(value, "metrics[name=Temp].value") for value in values] == [21.5, 21.5]
    assert one.tally.sequence_gaps == 0


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_gap_in_a_nodes_sequence_is_counted_once(is_restarted: bool) -> None:
    one = bench()
    one.take(birth(), data(1))
    if is_restarted:
        one.restart()
    one.take(data(4), data(5))
    assert one.tally.sequence_gaps == 1


def test_the_sequence_goes_around_and_a_birth_begins_it_anew() -> None:
    one = bench()
    one.take(birth(), *(data(number % 256) for number in range(1, 600)), birth(), data(1))
    assert one.tally.sequence_gaps == 0


def test_a_rebirth_is_asked_for_after_a_gap_and_not_again_at_once() -> None:
    one = bench(request_rebirth=True)
    one.take(birth())
    packed = one.take(data(3), data(9, at=NOON_NS + SECOND_NS))
    assert [command.topic for command in packed.commands] == ["spBv1.0/plant/NCMD/press"]
    asked = decode(packed.commands[0].payload, "SparkplugB")
    assert field(asked, "metrics[name=Node Control/Rebirth].value") is True
    assert len(one.take(data(20, at=NOON_NS + 11 * SECOND_NS)).commands) == 1
    assert (one.tally.sequence_gaps, one.tally.rebirths) == (3, 2)


def test_a_stream_that_may_not_publish_asks_for_nothing() -> None:
    one = bench()
    assert not one.take(birth(), data(3)).commands


def test_a_node_whose_birth_was_never_seen_is_asked_for_it_and_its_data_are_kept() -> None:
    one = bench(request_rebirth=True)
    packed = one.take(data(7), data(8))
    assert (len(packed.commands), len(packed.drafts[0].readings), one.tally.sequence_gaps) == (1, 2, 0)


def test_after_a_death_any_number_may_follow() -> None:
    one = bench()
    one.take(birth(), data(1), message(NODE.format("NDEATH"), payload({"name": "bdSeq", "long_value": 1})), data(77))
    assert one.tally.sequence_gaps == 0


def test_a_death_of_an_earlier_life_is_no_death() -> None:
    """A broker tells of a lost connection when its keep alive is over: the node may be born again by then."""
    one = bench()
    born = payload({"name": "bdSeq", "long_value": 2}, seq=0)
    dead = payload({"name": "bdSeq", "long_value": 1})
    one.take(message(NODE.format("NBIRTH"), born), data(1), message(NODE.format("NDEATH"), dead), data(3))
    assert one.tally.sequence_gaps == 1


def test_what_is_broken_is_stored_and_counted() -> None:
    one = bench()
    packed = one.take(message(NODE.format("NDATA"), b"\xff\xff\xff"))
    assert [reading.payload for reading in packed.drafts[0].readings] == [b"\xff\xff\xff"]
    assert one.tally.malformed == 1


def test_commands_and_states_of_hosts_are_no_readings() -> None:
    packed = bench().take(message(NODE.format("NCMD"), payload()), message("spBv1.0/plant/STATE/host", b"{}"))
    assert (packed.drafts, packed.unmatched) == ([], 2)


def test_the_time_is_the_payloads_own_and_historical_data_may_be_old() -> None:
    one = bench(time={"from": "Payload"})
    fresh = payload({"name": "m"}, seq=1, timestamp=NOON_NS // 1_000_000 - 5)
    old = payload({"name": "m", "is_historical": True}, seq=2, timestamp=1000)
    unbelievable = payload({"name": "m"}, seq=3, timestamp=1000)
    packed = one.take(*(message(NODE.format("NDATA"), data) for data in (fresh, old, unbelievable)))
    assert [reading.at_ns for reading in packed.drafts[0].readings] == [NOON_NS - 5_000_000, 10**9, None]
    assert one.tally.clock_fallbacks == 1


def test_a_redelivered_message_is_no_gap() -> None:
    one = bench()
    one.take(birth(), data(1, packet_id=7))
    one.take(data(1, packet_id=7, dup=True), data(2))
    assert one.tally.sequence_gaps == 0
