"""The ribbon of a ledger: all that the ledger says can be seen, and nothing else."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.resources.dataset import FeedLedger, Interval, Ledger
from atoll.hub.dashboard.data.ledger import RIBBON_WIDTH, ribbon_of, ribbons_of, shares_of


def feed(**fields):
    spans = {
        name: tuple(Interval(first=first, last=last) for first, last in fields.pop(name, ()))
        for name in ("intervals", "gap_intervals", "shed_intervals")
    }
    return FeedLedger(gateway="lab-a", stream="chemistry/balances", outbox="one", **spans, **fields)


def kinds(ribbon):
    return [(segment.kind, segment.first, segment.last) for segment in ribbon.segments]


def test_received_missing_and_shed_readings_stand_in_the_order_of_their_numbers():
    ribbon = ribbon_of(
        feed(intervals=[(1, 40), (51, 90)], interval_count=2, gaps=10, gap_intervals=[(41, 50)],
             shed=5, shed_intervals=[(91, 95)])
    )  # fmt: skip
    assert kinds(ribbon) == [("received", 1, 40), ("gap", 41, 50), ("received", 51, 90), ("shed", 91, 95)]
    assert not ribbon.is_whole


def test_numbers_in_no_list_went_into_other_datasets():
    ribbon = ribbon_of(feed(intervals=[(1, 10), (21, 30)], interval_count=2))
    assert kinds(ribbon) == [("received", 1, 10), ("elsewhere", 11, 20), ("received", 21, 30)]
    assert ribbon.is_whole


def test_where_a_list_was_cut_the_ribbon_says_so_and_claims_nothing():
    ribbon = ribbon_of(feed(intervals=[(1, 10), (21, 30), (901, 910)], interval_count=40))
    assert kinds(ribbon)[1] == ("elsewhere", 11, 20)
    assert kinds(ribbon)[3] == ("unlisted", 31, 900)


def test_gaps_that_the_list_leaves_out_are_unlisted_too():
    ribbon = ribbon_of(
        feed(intervals=[(1, 10), (900, 910)], interval_count=2, gaps=50, gap_intervals=[(11, 12), (890, 899)])
    )
    assert ("unlisted", 13, 889) in kinds(ribbon)


def test_one_lost_reading_among_ten_million_is_wide_enough_to_be_seen():
    ribbon = ribbon_of(
        feed(intervals=[(1, 5_000_000), (5_000_002, 10_000_000)], interval_count=2, gaps=1,
             gap_intervals=[(5_000_001, 5_000_001)])
    )  # fmt: skip
    gap = next(segment for segment in ribbon.segments if segment.kind == "gap")
    assert gap.width >= 6
    assert gap.x == pytest.approx(RIBBON_WIDTH / 2, abs=5)


spans = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@given(spans)
def test_segments_cover_the_ribbon_without_hole_or_overlap(lengths):
    at, received, gaps = 1, [], []
    for index, length in enumerate(lengths):
        (gaps if index % 3 == 2 else received).append((at, at + length - 1))
        at += length + (index % 2)
    ribbon = ribbon_of(feed(intervals=received, interval_count=len(received), gap_intervals=gaps))
    segments = ribbon.segments
    assert segments[0].x == 0
    assert segments[-1].x + segments[-1].width == pytest.approx(RIBBON_WIDTH, abs=0.05)
    for left, right in pairwise(segments):
        assert right.first == left.last + 1
        assert right.x == pytest.approx(left.x + left.width, abs=0.05)


def test_outboxes_with_something_missing_come_first():
    whole, broken = feed(intervals=[(1, 2)], interval_count=1), feed(gaps=1, gap_intervals=[(3, 3)])
    assert [ribbon.is_whole for ribbon in ribbons_of(Ledger(feeds=(whole, broken)))] == [False, True]


def test_an_empty_ledger_has_no_shares_and_no_segments():
    assert shares_of(0, 0, 0).received == 0
    assert ribbon_of(feed()).segments == ()


def test_shares_are_parts_of_all_numbered_readings():
    shares = shares_of(75, 20, 5)
    assert (shares.received, shares.gaps, shares.shed) == (0.75, 0.2, 0.05)
