"""A Stream that takes nothing in keeps its messages back, in order, and stops no other Stream."""

import pytest

from atoll.edge.gateway.drafts import Message
from atoll.edge.gateway.holding import Holding
from atoll.edge.gateway.memory import StreamKey

A, B, C = (StreamKey("ns", name) for name in "abc")
STREAMS = {"a": {A}, "b": {B}, "c": {C}, "ab": {A, B}}


def messages(topics: str, *, connection: int = 1, first: int = 1) -> list[Message]:
    """Give one message per topic."""
    return [Message(connection, n, topic, b"", False, False, n) for n, topic in enumerate(topics.split(), first)]


def ids(found: list[Message]) -> list[int]:
    return [message.packet_id for message in found]


@pytest.fixture
def holding() -> Holding:
    return Holding(STREAMS.__getitem__)


def test_messages_of_other_streams_pass(holding: Holding) -> None:
    assert ids(holding.take(messages("a b a c"), {A})) == [2, 4]
    assert len(holding) == 2


def test_what_was_kept_back_comes_first_when_there_is_room(holding: Holding) -> None:
    holding.take(messages("a b a"), {A})
    assert ids(holding.take(messages("a b", first=4), set())) == [1, 3, 4, 5]
    assert len(holding) == 0


def test_a_stream_that_shares_a_message_with_one_that_refuses_keeps_its_order(holding: Holding) -> None:
    assert ids(holding.take(messages("b ab b c"), {A})) == [1, 4]
    assert ids(holding.take([], set())) == [2, 3]


def test_messages_of_a_lost_connection_come_again_and_are_not_kept_twice(holding: Holding) -> None:
    holding.take(messages("a a"), {A})
    assert ids(holding.take(messages("a a", connection=2), set())) == [1, 2]


def test_messages_that_the_broker_has_forgotten_are_the_only_ones_and_stay(holding: Holding) -> None:
    holding.take(messages("a a"), {A})
    assert holding.take(messages("a", connection=2, first=9), {A}, is_new_session=True) == []
    assert ids(holding.take(messages("a", connection=3, first=9), set())) == [1, 2, 9]
