"""Claims on the future: what they forbid others, when there is room beside them, and how reservations become claims."""

from datetime import timedelta
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from placement_worlds import A100, H100, NOW, PROPERTY, cluster, meshed, node

from atoll.federation.capacity import ResourceVector
from atoll.federation.placement import (
    Claim,
    Claims,
    Demand,
    Occupation,
    PodDemand,
    amount,
    broken,
    decide,
    keepings,
    pieces,
)
from atoll.federation.resources import ObjectMeta, Reservation, ReservationSpec

ONE = PodDemand(ResourceVector(1000, 0, 1))


def gpus(count, size=1):
    """Some pods of so many GPUs."""
    return ((PodDemand(ResourceVector(1000, 0, size)), count),)


def here(free, *running, name="here", of=8, **fields):
    """One node of eight GPUs; what runs there ends in so many seconds: (gpus, seconds)."""
    used = ResourceVector((of - free) * 1000, 0, of - free)
    occupations = tuple(
        Occupation(f"lab/r{n}-1", PodDemand(ResourceVector(size * 1000, 0, size)), 1, seconds, is_counted=True)
        for n, (size, seconds) in enumerate(running)
    )
    shape = node(cpus=of * 4, gpus=of, product=A100, used=used)
    return cluster(name, shape, occupations=occupations, **fields)


def claim(pods, *, starts=0.0, roomy=None, ends=inf, **fields):
    """A claim on the cluster `here`."""
    return Claim(
        fields.pop("holder", "lab/big"), fields.pop("kind", "Waiting"), "here", pods, starts_in_seconds=starts,
        roomy_in_seconds=starts if roomy is None else roomy, ends_in_seconds=ends, **fields,
    )  # fmt: skip


FORBIDS = {
    "who ends before is no matter": (here(4, (4, 600)), claim(gpus(1, 8), starts=600), gpus(2), 600, False),
    "who stays longer takes it": (here(4, (4, 600)), claim(gpus(1, 8), starts=600), gpus(2), 601, True),
    "who leaves enough may stay": (here(4, (4, 600)), claim(gpus(1, 4), starts=600), gpus(4), 9999, False),
    "what becomes free until then counts": (here(1, (7, 600)), claim(gpus(7), starts=600), gpus(1), 9999, False),
    "one that is due saves up what is free, however late its room comes": (
        here(4, (4, 600)), claim(gpus(1, 8), starts=0, roomy=600), gpus(1), 60, True,
    ),
    "one that is over forbids nothing": (here(4), claim(gpus(4), starts=-60, ends=-1), gpus(4), 60, False),
    "room that cannot be had is not kept whole, but what there is of it": (here(4), claim(gpus(8)), gpus(1), 60, True),
}  # fmt: skip


@pytest.mark.parametrize("case", FORBIDS.values(), ids=FORBIDS)
def test_a_claim_forbids_what_would_take_its_room(case):
    """Time and room: either will do."""
    view, standing, pods, seconds, expected = case
    assert (broken(view, (standing,), pods, seconds) is standing) is expected


def test_claims_count_one_behind_the_other():
    """Either alone leaves room for one more pod, both together do not."""
    first, second = claim(gpus(4), holder="lab/a"), claim(gpus(4), holder="lab/b")
    for alone in (first, second):
        assert broken(here(8), (alone,), gpus(1), 60) is None
    assert broken(here(8), (first, second), gpus(1), 60) is second


def test_a_claim_is_open_to_its_holder_and_a_reservation_to_its_queue_and_those_below():
    """Everybody else leaves room."""
    claims = Claims.of([claim(gpus(4)), claim(gpus(2), starts=60, holder="beamtime", kind="Reserved", queue="lab")])
    asked = (("lab/big", ["weather"]), ("lab/small", ["lab.a", "lab"]), ("lab/big", ["lab"]), ("x", ["weather"]))
    against = [claims.against(claims.openness(job, line)) for job, line in asked]
    assert [len(each.get("here", ())) for each in against] == [1, 1, 0, 2]
    claims.add(claim(gpus(1), holder="lab/next"))
    assert [len(each.get("here", ())) for each in against] == [1, 2, 0, 3]  # its holder is before it
    claims.drop("lab/big")
    assert [len(each.get("here", ())) for each in against] == [2, 1, 1, 2]


def test_in_its_window_a_reservation_counts_before_what_others_were_promised():
    """Not before: until then its queue's jobs are as others."""
    for starts, left in ((0, 0), (600, 1)):
        kept = claim(gpus(8), starts=starts, holder="beamtime", kind="Reserved", queue="lab")
        claims = Claims.of([kept, claim(gpus(8))])
        assert len(claims.against(claims.openness("lab/own", ["lab"])).get("here", ())) == left


def test_a_job_waits_where_its_room_is_claimed_and_goes_where_it_is_not():
    """The record says whose room it is."""
    long, short = (Demand("lab/j", ONE, duration_seconds=seconds) for seconds in (3600.0, 300.0))
    taken = claim(gpus(8), starts=600, ends=4200)
    alone, both = meshed(here(8)), meshed(here(8), here(1, name="there"))
    waits = decide(long, alone, decided_at=NOW, against={"here": (taken,)})
    assert (waits.selected, waits.starts_now) == ("here", False)
    assert waits.to_dict()["clusters"][0]["inTheWay"] == {
        "holder": "lab/big", "kind": "Waiting", "startsInSeconds": 600.0, "endsInSeconds": 4200.0,
    }  # fmt: skip
    assert waits.terms.wait_seconds == 4200
    assert decide(short, alone, decided_at=NOW, against={"here": (taken,)}).starts_now
    assert decide(long, both, decided_at=NOW, against={"here": (taken,)}).selected == "there"


sizes = st.integers(1, 4)


@PROPERTY
@given(st.lists(st.tuples(sizes, st.integers(1, 900)), max_size=4), st.integers(1, 8), sizes, st.integers(1, 1200))
def test_who_may_start_beside_a_claim_leaves_it_its_room_when_it_begins(running, wanted, size, seconds):
    """Counted on one node, GPU by GPU."""
    kept = []
    for each in running:
        if sum(gpus for gpus, _ in kept) + each[0] <= 8 - size:
            kept.append(each)
    free, starts = 8 - sum(gpus for gpus, _ in kept), 600
    standing = claim(gpus(1, wanted), starts=starts)
    then = free + sum(gpus for gpus, ends in kept if ends <= starts)
    takes = size if seconds > starts else 0
    was_there, is_there = then >= wanted, then - takes >= wanted
    is_broken = broken(here(free, *kept), (standing,), gpus(1, size), seconds) is not None
    assert is_broken == (was_there and not is_there)


# --- reservations


def reservation(name="beamtime", *, starts=0, ends=3600, queue="lab", clusters=None, **amounts):
    """A window that begins and ends in so many seconds."""
    window = {"starts": NOW + timedelta(seconds=starts), "ends": NOW + timedelta(seconds=ends)}
    spec = {"queue": queue, **window, "amounts": amounts, **({"clusters": clusters} if clusters else {})}
    return Reservation(metadata=ObjectMeta(name=name), spec=ReservationSpec.model_validate(spec))


PIECES = {
    "GPUs with their part of the rest": (
        {"gpus": 4, "cpu": "32", "memory": "64Gi"}, [((), 4, ResourceVector(8000, 16 * 2**30, 1))],
    ),
    "models beside any": (
        {"gpus": 3, "gpuModels": {"A100": 2}},
        [(("A100",), 2, ResourceVector(0, 0, 1)), ((), 1, ResourceVector(0, 0, 1))],
    ),
    "cores without GPUs": ({"cpu": "2500m", "memory": "3Gi"}, [((), 3, ResourceVector(834, 2**30, 0))]),
    "memory alone": ({"memory": "1536Mi"}, [((), 2, ResourceVector(0, 768 * 2**20, 0))]),
}  # fmt: skip


@pytest.mark.parametrize("case", PIECES.values(), ids=PIECES)
def test_what_is_reserved_is_kept_in_pieces(case):
    """No less than was asked for."""
    amounts, expected = case
    found = [(pod.gpu_models, count, pod.resources) for pod, count in pieces(reservation(**amounts).spec)]
    assert found == expected


def kept(reservations, views, held=None):
    """Say per reservation and cluster how many pieces are kept, and how many are left."""
    return [
        (each.reservation.metadata.name, each.cluster, sum(n for _, n in each.kept), sum(n for _, n in each.left))
        for each in keepings(reservations, views, held or {}, NOW)
    ]


def test_clusters_keep_what_they_could_hold_in_the_order_of_their_names():
    """Also while others still run there; where the selector says so, and what nobody can hold is nowhere."""
    views = [
        here(0, (8, 60), name="a", labels={"site": "x"}),
        here(8, name="b"),
        here(8, name="c", labels={"site": "x"}),
    ]
    in_x = {"matchLabels": {"site": "x"}}
    assert kept([reservation(gpus=12, clusters=in_x)], views) == [("beamtime", "a", 8, 8), ("beamtime", "c", 4, 4)]
    assert kept([reservation(gpus=99)], views[1:2]) == [("beamtime", "b", 8, 8)]
    assert kept([reservation(gpus=1, clusters={"matchLabels": {"site": "y"}})], views) == []


def test_two_reservations_of_one_time_keep_different_room():
    """The one that begins first comes first; one of another time is no matter."""
    first, second = reservation("a", gpus=6), reservation("b", starts=60, gpus=6)
    later = reservation("c", starts=7200, ends=9000, gpus=6)
    views = [here(8, name="x"), here(8, name="y")]
    assert kept([later, second, first], views) == [
        ("a", "x", 6, 6),
        ("b", "x", 2, 2),
        ("b", "y", 4, 4),
        ("c", "x", 6, 6),
    ]


def test_what_the_queue_uses_in_the_window_is_not_kept_twice():
    """Also on another cluster than where it was kept; what ends before the window does not count."""
    views = [here(5, (3, 900), name="x"), here(6, (2, 900), name="y")]
    used = {"beamtime": {view.name: view.occupations for view in views}}
    assert kept([reservation(gpus=10)], views, used) == [("beamtime", "x", 8, 5), ("beamtime", "y", 2, 0)]
    assert kept([reservation(starts=1000, gpus=10)], views, used)[0] == ("beamtime", "x", 8, 8)
    beyond = {"beamtime": {"y": [Occupation("r", ONE, 4, 900.0, is_counted=True)]}}
    assert kept([reservation(gpus=10)], views, beyond) == [("beamtime", "x", 8, 6), ("beamtime", "y", 2, 0)]


def test_a_reservation_is_claimed_for_its_window():
    """Nothing starts before it that would still run then, but for its own queue."""
    (keeping,) = keepings([reservation(starts=600, ends=1200, gpus=8)], [here(8)], {}, NOW)
    taken = keeping.claim(NOW)
    assert (taken.starts_in_seconds, taken.ends_in_seconds, taken.queue) == (600, 1200, "lab")
    assert broken(here(8), (taken,), gpus(1), 600) is None
    assert broken(here(8), (taken,), gpus(1), 700) is taken
    assert keepings([reservation(starts=-99, ends=-1, gpus=8)], [here(8)], {}, NOW) == []


@PROPERTY
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3000), st.integers(1, 3000)), min_size=1, max_size=4))
def test_no_cluster_keeps_more_at_a_time_than_it_has(drawn):
    """However many reservations there are."""
    wanted = [
        reservation(f"r{n}", starts=at, ends=at + seconds, gpus=1 + size) for n, (size, at, seconds) in enumerate(drawn)
    ]
    views = [here(8, name="a"), here(4, name="b", of=4)]
    found = keepings(wanted, views, {}, NOW)
    for moment in (each.spec.starts for each in wanted):
        for name, most in (("a", 8), ("b", 4)):
            standing = [each for each in found if each.cluster == name and _covers(each.reservation, moment)]
            assert sum(amount(each.kept).gpus for each in standing) <= most
    assert all(amount(each.kept).gpus <= amount(pieces(each.reservation.spec)).gpus for each in found)


def _covers(one, moment):
    return one.spec.starts <= moment < one.spec.ends


BAD = {
    "without an offset": ({"starts": "2026-12-01T08:00:00"}, "starts must say its offset"),
    "backwards": ({"ends": "2026-11-30T08:00:00Z"}, "ends must be later"),
    "of nothing": ({"amounts": {"gpus": 0}}, "amounts must reserve something"),
    "of more models than GPUs": ({"amounts": {"gpus": 1, "gpuModels": {H100: 2}}}, "write at least 2"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_a_reservation_that_cannot_be_kept_is_refused(case):
    """The message says what to write."""
    change, message = case
    given_spec = {
        "queue": "lab", "starts": "2026-12-01T08:00:00Z", "ends": "2026-12-01T09:00:00Z", "amounts": {"gpus": 1},
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        ReservationSpec.model_validate({**given_spec, **change})
