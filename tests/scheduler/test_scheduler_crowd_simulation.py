"""Many jobs, several clusters and a hub on virtual time, with crashes, cuts and kills: quotas, G1, fairness hold."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atoll.federation.queueing import Turns
from atoll.hub.scheduler import usage
from atoll.hub.scheduler.book import Book
from faults import Fault
from scheduler.crowd_world import STEP, Story, Wish, World

_QUEUES = ("a", "b", "c")
# How long the hub and the agents take to tell each other of an end and of a start, in steps.
_TALK = 6 * STEP
_WISHES = st.builds(
    Wish,
    at=st.sampled_from((0.0, 0.0, 30.0, 100.0)),
    queue=st.sampled_from(_QUEUES),
    gpus=st.sampled_from((1, 2, 3, 4, 8)),
    seconds=st.sampled_from((20.0, 50.0, 200.0)),
    crashes=st.sampled_from((0, 0, 0, 1, 2)),
)
_FAULTS = st.builds(
    Fault,
    at=st.sampled_from((0.0, 10.0, 30.0, 60.0, 150.0)),
    kind=st.sampled_from(("cut", "kill", "echo")),
    cluster=st.integers(0, 1),
    seconds=st.sampled_from((10.0, 40.0, 100.0)),
)
_STORIES = st.builds(
    Story,
    wishes=st.lists(_WISHES, min_size=1, max_size=9).map(tuple),
    faults=st.lists(_FAULTS, max_size=4).map(tuple),
    limits=st.sampled_from(((), (("a", 8),), (("a", 8), ("b", 8)))),
    seed=st.integers(0, 99),
)
_BOUNDED = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def lived(story: Story) -> World:
    """Let a story happen, and then every job have the time that it may take at most: all of them in one line."""
    longest = sum((wish.seconds + _TALK) * (wish.crashes + 1) for wish in story.wishes)
    return asyncio.run(World(story).live(story.calm_at + longest + _TALK))


@_BOUNDED
@given(story=_STORIES)
def test_every_job_ends_once_within_a_bound_and_no_quota_is_ever_exceeded(story):
    world = lived(story)
    assert world.excesses == [], "a queue held more than its limit"
    assert world.overlaps == [], "two attempts of one job went on at once"
    assert world.is_over, "a job was starved or lost"
    assert world.worked == dict.fromkeys(world.wishes, 1), "the work of a job was not done exactly once"


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lengths=st.lists(st.sampled_from((20.0, 30.0, 70.0)), min_size=72, max_size=72),
    weights=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
)
def test_while_everybody_waits_no_queue_is_more_than_one_job_ahead_of_its_weight(lengths, weights):
    assert _furthest_ahead(_crowd(lengths, weights)) <= 1


def _crowd(lengths, weights) -> Story:
    """Equal jobs but for their lengths, a third of them in each queue, on twelve GPUs."""
    wishes = tuple(Wish(0.0, _QUEUES[at % 3], 1, length) for at, length in enumerate(lengths))
    return Story(wishes, weights=tuple(zip(_QUEUES, weights, strict=True)), nodes=((4,), (8,)))


def _furthest_ahead(story: Story) -> float:
    """Tell by how many jobs a queue was ahead of another at most, in the time in which all have jobs waiting.

    Ahead by one: a queue that gives one job away would still hold as much for its weight as the other.
    """
    world = asyncio.run(World(story).live(7 * STEP))
    weights, furthest = dict(story.weights), 0.0
    for at, held in world.held:
        if at >= 2 * STEP and sum(held.values()) == 12:
            lowest = min(held[name] / weights[name] for name in _QUEUES)
            furthest = max(furthest, *(held[name] - lowest * weights[name] for name in _QUEUES))
    return furthest


def _goes_wrong(story: Story) -> bool:
    world = lived(story)
    done_once = world.worked == dict.fromkeys(world.wishes, 1)
    return bool(world.excesses or world.overlaps) or not world.is_over or not done_once


def _ignoring_weights(turns, seat):
    return (not turns._is_owed(seat), turns.measure.share(seat.used, seat.past), seat.name)


@dataclass(frozen=True)
class Mistake:
    """Something planted, and a story in which it must come out with one of some seeds."""

    where: Any
    name: str
    planted: Any
    story: Story


_KILLED_WHILE_PLACING = Story((Wish(0.0, "a", 1, 200.0), Wish(0.0, "b", 1, 200.0)), (Fault(0.0, "kill", 0, 40.0),))
MISTAKES = {
    "what was ordered counts as held only once it runs": Mistake(
        usage,
        "NOT_HOLDING",
        usage.NOT_HOLDING | {"Pending", "Starting"},
        Story((Wish(0.0, "a", 8, 200.0), Wish(10.0, "a", 4, 200.0)), limits=(("a", 8),)),
    ),
    "a job may be placed while a run of it is not yet in its status": Mistake(
        Book, "_is_busy", lambda *_: False, _KILLED_WHILE_PLACING
    ),
    "a second attempt has the number of the first": Mistake(
        Book, "epoch", lambda *_: 1, Story((Wish(0.0, "a", 1, 20.0, crashes=1),))
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_simulation_finds_that(mistake):
    found = MISTAKES[mistake]
    stories = [replace(found.story, seed=seed) for seed in range(6)]
    with patch.object(found.where, found.name, found.planted):
        assert any(_goes_wrong(story) for story in stories)
    assert not any(_goes_wrong(story) for story in stories)


def test_the_measure_of_fairness_finds_turns_that_ignore_weights():
    story = _crowd([20.0, 30.0, 70.0] * 24, (1, 2, 3))
    with patch.object(Turns, "_key", _ignoring_weights):
        assert _furthest_ahead(story) > 1
    assert _furthest_ahead(story) <= 1
