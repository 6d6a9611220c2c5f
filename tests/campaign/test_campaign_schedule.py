"""A seed is a schedule: the same each time, and one that can be carried out."""

import pytest

from campaign.schedule import KINDS, Planned, draw
from campaign.wreaking import DOES

PLACES = {
    "hub": ["hub-0", "hub-1"],
    "nats": ["n0", "n1", "n2"],
    "agent": ["a", "b"],
    "gateway": ["lab-0", "lab-1"],
    "api": ["a", "b"],
    "disk-full": ["lab-1"],
    "disk-forgetful": ["lab-0"],
    "hub-link": ["hub-0", "hub-1"],
    "cluster-link": ["a", "b"],
    "gateway-link": ["lab-0", "lab-1"],
}


def drawn(seed: int) -> list[Planned]:
    return draw(seed, PLACES, seconds=60, faults_per_second=2)


def test_a_seed_gives_the_same_schedule_each_time_and_another_one_another() -> None:
    assert drawn(7) == drawn(7) != drawn(8)


def test_every_kind_that_can_be_drawn_can_be_done() -> None:
    assert {kind.name for kind in KINDS} == set(DOES)


@pytest.mark.parametrize("seed", range(20))
def test_one_place_has_one_fault_at_a_time_and_one_nats_server_of_three_is_away_at_most(seed: int) -> None:
    sites = {kind.name: kind.site for kind in KINDS}
    planned = sorted(drawn(seed), key=lambda fault: fault.at)
    for index, one in enumerate(planned):
        for other in planned[index + 1 :]:
            is_one_place = one.place == other.place or {sites[one.kind], sites[other.kind]} == {"nats"}
            if is_one_place and sites[one.kind] == sites[other.kind]:
                assert other.at >= one.at + one.seconds


def test_a_place_that_is_not_there_has_no_faults() -> None:
    assert {fault.kind for fault in draw(1, {"hub": ["hub-0"]}, seconds=60, faults_per_second=2)} <= {
        kind.name for kind in KINDS if kind.site == "hub"
    }


def test_many_seeds_draw_every_kind_whose_site_is_there() -> None:
    kinds = {fault.kind for seed in range(60) for fault in drawn(seed)}
    assert kinds == {kind.name for kind in KINDS if kind.site in PLACES}
