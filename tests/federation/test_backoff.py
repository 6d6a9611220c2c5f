"""How those who fail at the same moment come back: by distribution, over a thousand of them."""

import random
import time
from collections import Counter

import pytest

from atoll.edge.enrolment import seconds_to_next_try, seconds_to_renewal
from atoll.edge.member.reporter import REPEAT_SPREAD_SECONDS
from atoll.federation.backoff import Comeback
from atoll.federation.bus.credentials import new_key, public_key, sign_user
from atoll.federation.bus.link import SPREAD_SECONDS
from atoll.federation.bus.permissions import EVERYTHING

AGENTS = 1_000


def back_at(comeback: Comeback, away_seconds: float) -> float:
    """Give when a member is back that lost a server at 0 which can be reached again from then on."""
    now = comeback.next_seconds()
    while now < away_seconds:
        now += comeback.next_seconds()
    return now


def busiest(instants: list[float], seconds: float) -> int:
    """Give how many of all fall into the fullest slice of time."""
    return max(Counter(int(instant / seconds) for instant in instants).values())


@pytest.mark.parametrize("away_seconds", [0.0, 0.3, 1.0, 3.0, 30.0, 600.0])
def test_a_thousand_members_that_lost_the_server_at_one_moment_come_back_apart_and_soon(away_seconds: float) -> None:
    chance = random.Random(7)
    instants = [back_at(Comeback(SPREAD_SECONDS, chance=chance.random), away_seconds) for _ in range(AGENTS)]
    assert busiest(instants, 0.1) < AGENTS / 8
    assert max(instants) - away_seconds <= 4.0


def test_one_that_is_alone_comes_back_at_once() -> None:
    chance = random.Random(7)
    assert back_at(Comeback(0.0, chance=chance.random), 0.0) == 0.0
    assert all(back_at(Comeback(0.0, chance=chance.random), 30.0) <= 30.5 for _ in range(AGENTS))


def test_after_a_success_the_delays_are_as_at_first() -> None:
    comeback = Comeback(2.0, chance=lambda: 0.5)
    first = [comeback.next_seconds() for _ in range(3)]
    comeback.reset()
    assert [comeback.next_seconds() for _ in range(3)] == first


def test_credentials_that_were_signed_at_one_moment_are_renewed_over_an_hour_before_half_of_their_life() -> None:
    now, day = time.time(), 86_400.0
    account = new_key("account")
    jwt = sign_user(account, public_key(new_key("user")), name="x", permissions=EVERYTHING, expires_at=now + day)
    random.seed(7)
    instants = [seconds_to_renewal(jwt, now) for _ in range(AGENTS)]
    assert max(instants) <= day / 2 + 1
    assert min(instants) >= 0.44 * day
    assert max(instants) - min(instants) > 3600
    assert busiest(instants, 60.0) < AGENTS / 20


@pytest.mark.parametrize(("left_seconds", "longest"), [(40_000.0, 30.0), (100.0, 10.0), (-5.0, 2.0)])
def test_renewals_that_failed_together_are_tried_again_apart(left_seconds: float, longest: float) -> None:
    random.seed(7)
    waits = [seconds_to_next_try(left_seconds) for _ in range(AGENTS)]
    assert longest / 2 <= min(waits) <= max(waits) <= longest
    assert busiest(waits, longest / 50) < AGENTS / 10


def test_reports_that_are_repeated_are_few_enough_for_one_server() -> None:
    """Ten reports of a thousand agents: a server that syncs each takes some 2,400 a second."""
    assert 10 * AGENTS / REPEAT_SPREAD_SECONDS <= 2_400
