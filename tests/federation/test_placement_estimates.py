"""What was learned, in the score: run times of this very work, measured rates, and copies that are under way."""

from dataclasses import replace
from datetime import timedelta

import pytest

from atoll.federation.estimates import LinkRate, Moving, RunTime, Traffic
from atoll.federation.mesh import Uplink
from atoll.federation.placement import ClusterTable, decide, demand_of_job, relative_speed
from atoll.federation.resources import Job, ObjectMeta, Queue
from federation.placement_worlds import A100, GIB, H100, NOW, T4, busy, cluster, dataset, demand, meshed, node

MIB = 2**20
LEARNED = RunTime(1000.0, 900.0, 1100.0, 12)


def decided(wanted, table):
    """Decide, and check that the record can be stored."""
    made = decide(wanted, table, decided_at=NOW)
    assert made.to_dict()["demand"]["durationSeconds"] == made.demand.duration_seconds
    return made


def with_traffic(table, **traffic):
    """See the same clusters while something moves."""
    links = replace(table.links, traffic=Traffic(**traffic))
    return ClusterTable.of(table.views, links)


def job(**spec):
    """A job without a word on how long it runs, unless told."""
    workload = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "i"}]}}}}
    return Job.model_validate(
        {"metadata": {"name": "picks", "namespace": "lab"}, "spec": {"queue": "q", "workload": workload, **spec}}
    )


QUEUE = Queue(metadata=ObjectMeta(name="q"))


def asked(run_time=LEARNED, **spec):
    """What such a job asks for when its run time is known."""
    return demand_of_job(job(**spec), QUEUE, {}, run_time=run_time)


# --- run times


@pytest.mark.parametrize(
    ("spec", "seconds", "source"),
    [
        ({}, 1000.0, "learned"),
        ({"timeLimit": "2h"}, 1000.0, "learned"),
        ({"timeLimit": "5m"}, 300.0, "learned"),
        ({"expectedDuration": "20m"}, 1200.0, "expectedDuration"),
    ],
)
def test_a_learned_run_time_stands_in_where_the_user_says_nothing_and_no_run_outlasts_its_limit(spec, seconds, source):
    """A user's own number counts; a time limit cuts what was learned."""
    told = asked(**spec)
    assert (told.duration_seconds, told.duration_source) == (seconds, source)


def test_the_record_says_from_how_many_runs_a_number_is_and_how_far_they_spread():
    """Whoever reads it can judge it."""
    made = decided(asked(), meshed(cluster("c", node())))
    assert made.to_dict()["demand"]["learned"] == {
        "seconds": 1000.0, "lowSeconds": 900.0, "highSeconds": 1100.0, "runs": 12, "speeds": [],
    }  # fmt: skip
    assert made.verdicts[0].notes == ("the run time is learned from 12 runs of this image, 15m to 18m20s",)


def test_a_learned_duration_is_scaled_to_models_that_were_not_seen_yet():
    """It is kept in seconds of the reference; a T4 takes as much longer as its data sheet says."""
    wanted = asked(gpu={"count": 1})
    for product in (A100, T4):
        made = decided(wanted, meshed(cluster("c", node(gpus=1, product=product))))
        assert made.terms.run_seconds == pytest.approx(1000 / relative_speed(product))


@pytest.mark.parametrize("spec", [{}, {"expectedDuration": "1000s"}])
def test_where_this_work_was_seen_on_a_model_its_own_speed_counts_and_no_data_sheet(spec):
    """This work is bound by memory: an H100 is only 1.2 times as fast, and not worth its price."""
    run_time = replace(LEARNED, speeds=((A100, 1.0), (H100, 1.2)))
    wanted = asked(run_time, gpu={"count": 1, "models": ["A100", "H100"]}, **spec)
    table = meshed(cluster("old", node(gpus=1, product=A100)), cluster("new", node(gpus=1, product=H100)))
    made = decided(wanted, table)
    assert made.verdict("old").terms.run_seconds == pytest.approx(1000)
    assert made.verdict("new").terms.run_seconds == pytest.approx(1000 / 1.2)
    assert any("1.2 times as fast" in note for note in made.verdict("new").notes)


# --- links


def two(**fields):
    """Where the data is, and where there is room; the uplinks are declared as 100 MiB/s."""
    here = cluster("home", node(), is_cordoned=True, uplink=Uplink(100 * MIB))
    return meshed(here, cluster("there", node(), uplink=Uplink(100 * MIB), **fields))


WANTED = demand(inputs=(dataset("waves", 10 * GIB, "home"),))
DECLARED = 10 * GIB / (100 * MIB)


def staged(table):
    """How the input gets there."""
    return decided(WANTED, table).verdict("there").staging[0]


def test_a_measured_rate_counts_before_a_declared_one_and_the_record_says_which_and_how_old():
    """The link carries a tenth of what its operator declares."""
    declared = staged(two())
    assert declared.seconds == pytest.approx(DECLARED)
    assert (declared.rate.rate_source, declared.rate.measured_at) == ("declared", None)
    at = NOW - timedelta(hours=3)
    measured = staged(with_traffic(two(), rates={("home", "there"): LinkRate(10 * MIB, at)}))
    assert measured.seconds == pytest.approx(10 * DECLARED)
    assert (measured.rate.rate_source, measured.rate.measured_at) == ("measured", at)


def test_a_rate_that_was_measured_a_month_ago_does_not_count():
    """The link may have been rebuilt since."""
    old = LinkRate(MIB, NOW - timedelta(days=31))
    assert staged(with_traffic(two(), rates={("home", "there"): old})).seconds == pytest.approx(DECLARED)


def test_copies_that_are_under_way_share_the_links_ends():
    """Two others leave the same cluster: a third gets a third."""
    moving = tuple(Moving(f"lab/x{number}", 1, "home", f"c{number}", GIB) for number in range(2))
    shared = staged(with_traffic(two(), moving=moving))
    assert shared.seconds == pytest.approx(3 * DECLARED)
    assert shared.rate.sharing == 2


def test_of_an_input_that_is_on_its_way_only_the_rest_counts_beside_the_wait():
    """9 of 10 GiB are there already: staging is a tenth, and the wait is longer."""
    taken = cluster(
        "there",
        node(used=node().allocatable),
        occupations=(busy("r", 60.0, cpus=8, memory_gib=32),),
        uplink=Uplink(100 * MIB),
    )
    full = meshed(cluster("home", node(), is_cordoned=True, uplink=Uplink(100 * MIB)), taken)
    table = with_traffic(full, moving=(Moving("lab/waves", 1, "home", "there", GIB),))
    made = decided(WANTED, table)
    terms = made.verdict("there").terms
    assert terms.staging_seconds == pytest.approx(DECLARED / 10)
    assert terms.done_seconds == pytest.approx(60.0 + 1000.0)
    assert terms.idle_seconds == pytest.approx(DECLARED / 20)


def test_a_copy_that_began_elsewhere_or_of_another_version_helps_nobody():
    """Only the version that the job reads, to where it would run, counts; and not over a link that is cut."""
    for moving in (
        Moving("lab/waves", 2, "home", "there", GIB),
        Moving("lab/waves", 1, "home", "elsewhere", GIB),
        Moving("lab/waves", 1, "lost", "there", GIB),
    ):
        sharing = 2 if moving.source == "home" or moving.destination == "there" else 1
        assert staged(with_traffic(two(), moving=(moving,))).seconds == pytest.approx(sharing * DECLARED)
