"""Topic filters match as MQTT says, and subscriptions never overlap."""

import pytest
from datapath import stream_order
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from atoll.edge.gateway.topics import join, matches, overlaps, subscriptions

LEVELS = ["a", "b", "$SYS", ""]
topics = st.lists(st.sampled_from(LEVELS), min_size=1, max_size=4).map("/".join)
plain_filters = st.lists(st.sampled_from([*LEVELS, "+"]), min_size=1, max_size=4).map("/".join)
filters = st.one_of(plain_filters, plain_filters.map(lambda text: f"{text}/#"), st.just("#"))
nonempty = filters.filter(bool)


@st.composite
def a_topic_and_filters_of_it(draw: st.DrawFn, count: int) -> tuple[str, tuple[str, ...]]:
    """Draw a topic and filters that match it: levels become `+`, the last of them `#`; what begins with $ stays."""
    topic = draw(topics.filter(bool))
    levels, fewest = topic.split("/"), 1 if topic.startswith("$") else 0

    def draw_filter() -> str:
        kept = levels[: draw(st.integers(fewest, len(levels)))]
        open_levels = [draw(st.sampled_from([level, "+"])) for level in kept[fewest:]]
        ends_open = len(kept) < len(levels) or draw(st.booleans())
        return "/".join([*kept[:fewest], *open_levels, *["#"] * ends_open])

    return topic, tuple(draw_filter() for _ in range(count))


@given(nonempty, topics.filter(bool))
def test_a_filter_matches_what_paho_says_it_matches(topic_filter: str, topic: str) -> None:
    assert matches(topic_filter, topic) == topic_matches_sub(topic_filter, topic)


@given(a_topic_and_filters_of_it(2))
def test_filters_that_both_match_a_topic_overlap(drawn: tuple[str, tuple[str, str]]) -> None:
    topic, (left, right) = drawn
    assert matches(left, topic)
    assert matches(right, topic)
    assert overlaps(left, right)


@given(a_topic_and_filters_of_it(1), nonempty, st.booleans())
def test_a_join_matches_all_that_its_parts_match(drawn: tuple[str, tuple[str]], other: str, ordered: bool) -> None:
    topic, (one,) = drawn
    for joined in (join(one, other, ordered=ordered), join(other, one, ordered=ordered)):
        assert joined is None or matches(joined, topic)


@given(st.lists(st.lists(nonempty, min_size=1, max_size=3), min_size=1, max_size=4), topics.filter(bool))
def test_a_topic_that_a_stream_wants_comes_by_exactly_one_subscription(wanted: list[list[str]], topic: str) -> None:
    orders = [stream_order(topics=tuple(group), end_of_run=None) for group in wanted]
    covering = [key for key in subscriptions(orders) if matches(key, topic)]
    is_wanted = any(matches(key, topic) for group in wanted for key in group)
    assert len(covering) == 1 if is_wanted else len(covering) <= 1


@pytest.mark.parametrize(
    ("data", "end", "expected"),
    [
        ("lab/+/data", "lab/+/end", "lab/+/+"),
        ("lab/+/data", "lab/end", "lab/#"),
        ("lab/#", "lab/end", "lab/#"),
        ("x/data", "y/end", "+/+"),
    ],
)
def test_readings_and_their_marker_share_one_subscription(data: str, end: str, expected: str) -> None:
    assert subscriptions([stream_order(topics=(data,), end_of_run={"topic": end})]) == {expected: 1}


def test_overlapping_streams_share_the_higher_qos() -> None:
    orders = [stream_order(topics=("a/b",), qos=0, end_of_run=None), stream_order(topics=("a/+",), end_of_run=None)]
    assert subscriptions(orders) == {"a/+": 1}
