"""What ended runs and finished copies teach: pure, over a few samples."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.estimates import (
    ANY_COMMAND,
    Estimates,
    History,
    Sample,
    TrafficLog,
    differs,
    learned,
    ran_seconds,
    subject_of,
    with_sample,
)
from atoll.federation.estimates.run_times import MOST_SAMPLES
from atoll.federation.resources import Job, Transfer

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
MIB = 2**20


def sample(run, seconds, *, user="ann", model="", speed=1.0, days_ago=0.0, command=""):
    """A run that ended some days ago."""
    return Sample(
        run=run,
        user=user,
        command=command,
        seconds=seconds,
        model=model,
        speed=speed,
        ended_at=NOW - timedelta(days=days_ago),
    )


def history(*samples):
    """The history that these runs make, in the order in which they are learned."""
    known = History()
    for each in samples:
        known = with_sample(known, each)
    return known


# --- run times


def test_a_median_of_runs_is_expected_and_one_wild_run_does_not_move_it():
    """A run that hung for a day among ten of a minute leaves the estimate at a minute."""
    runs = [sample(str(number), 60 + number) for number in range(10)]
    told = learned(history(*runs, sample("hung", 86400)), "ann")
    assert told is not None
    assert told.seconds == pytest.approx(65, abs=2)
    assert told.high_seconds >= 65
    assert told.runs == 11


def test_two_runs_teach_nothing():
    """A number that rests on two runs is an anecdote."""
    assert learned(history(sample("a", 60), sample("b", 61)), "ann") is None


def test_a_user_learns_from_own_runs_and_a_newcomer_from_everybody():
    """Ann's work takes a minute and Bob's an hour, with the same image."""
    known = history(
        *(sample(f"a{number}", 60, user="ann") for number in range(4)),
        *(sample(f"b{number}", 3600, user="bob") for number in range(3)),
    )
    assert learned(known, "ann").seconds == 60
    assert learned(known, "bob").seconds == 3600
    assert learned(known, "eve").runs == 7


def test_newer_runs_count_more_than_old_ones():
    """The work became ten times as long two weeks ago: three new runs outweigh five old ones."""
    known = history(
        *(sample(f"old{number}", 60, days_ago=60) for number in range(5)),
        *(sample(f"new{number}", 600, days_ago=1) for number in range(3)),
    )
    assert learned(known, "ann").seconds == 600


def test_runs_on_several_models_add_up_by_speed_and_each_seen_model_keeps_its_own_time():
    """An A100 run of 100 s is a T4 run of 400 s by the data sheets; this work needs 800 s on a T4, and that counts."""
    a100, t4 = "NVIDIA-A100-SXM4-40GB", "Tesla-T4"
    known = history(
        *(sample(f"a{number}", 100, model=a100, speed=1.0) for number in range(4)),
        *(sample(f"t{number}", 800, model=t4, speed=0.25) for number in range(3)),
    )
    told = learned(known, "ann")
    assert told.seconds == 100
    assert dict(told.speeds)[a100] == 1.0
    assert told.seconds / dict(told.speeds)[t4] == pytest.approx(800, rel=0.05)


def test_a_run_counts_once_however_often_it_is_learned_and_in_whatever_order():
    """Hubs that take over learn the same run again."""
    runs = [sample(str(number), 60 + number, days_ago=number) for number in range(5)]
    once = history(*runs)
    for order in itertools.islice(itertools.permutations(runs), 20):
        assert history(*order, *order) == once


def test_a_history_is_bounded_and_forgets_the_oldest():
    """The newest runs are kept; one that is older than all of them is not taken in."""
    known = history(*(sample(str(number), 60, days_ago=100 - number) for number in range(MOST_SAMPLES + 5)))
    assert len(known.samples) == MOST_SAMPLES
    assert with_sample(known, sample("ancient", 60, days_ago=1000)) is known
    assert with_sample(known, sample("0", 60, days_ago=100)) is known


@pytest.mark.parametrize(
    ("began", "ended", "seconds"),
    [(0, 0, 1.0), (0, 60, 60.0), (60, 0, None), (0, 10 * 366 * 86400, None), (None, 60, None), (0, None, None)],
)
def test_absurd_durations_teach_nothing_and_the_shortest_is_a_second(began, ended, seconds):
    """Agents tell whole seconds; a clock that jumped tells nothing."""
    instants = [None if offset is None else NOW + timedelta(seconds=offset) for offset in (began, ended)]
    assert ran_seconds(*instants) == seconds


def test_another_run_of_the_same_length_is_no_news():
    """What the scheduler remembers of jobs need not be read again for it."""
    known = history(*(sample(str(number), 60) for number in range(5)))
    assert not differs(known, with_sample(known, sample("x", 60)))
    assert differs(known, history(*(sample(str(number), 90) for number in range(5))))
    assert differs(None, known)
    assert not differs(None, history(sample("a", 60)))


@given(st.lists(st.floats(min_value=1, max_value=366 * 86400), min_size=3, max_size=40))
def test_an_estimate_lies_within_the_runs_that_it_rests_on(lengths):
    """Whatever the runs are; two digits are kept of it."""
    told = learned(history(*(sample(str(number), each) for number, each in enumerate(lengths))), "ann")
    assert 0.94 * min(lengths) <= told.seconds <= 1.06 * max(lengths)
    assert told.low_seconds <= told.seconds <= told.high_seconds


# --- whose run times belong together


def job(name="j", *, image="lab/picks:1", command=("run",), user="ann", namespace="lab", **workload):
    """A job of one container."""
    container = {"name": "main", "image": image, "command": list(command)}
    spec = {"template": {"spec": {"containers": [container]}}, **workload}
    return Job.model_validate(
        {
            "metadata": {"name": name, "namespace": namespace, "annotations": {"atoll.dev/submitter": user}},
            "spec": {"queue": "q", "workload": {"apiVersion": "batch/v1", "kind": "Job", "spec": spec}},
        }
    )


def test_jobs_of_one_image_and_as_many_tasks_belong_together_and_their_commands_tell_them_apart():
    """Names, users and the numbers in commands differ; image, namespace, tasks and what is to be done do not."""
    one, other = subject_of(job("a")), subject_of(job("b", command=("run", "--day=2"), user="bob"))
    assert (one.key, one.user) == (other.key, "ann")
    assert one.command != other.command == subject_of(job(command=("run", "--day=7"))).command
    assert subject_of(job(command=())).command == ""
    for stranger in (job(image="lab/picks:2"), job(namespace="other"), job(completions=10, parallelism=10)):
        assert subject_of(stranger).key != one.key


def expected(known, of):
    """Tell what a job may expect."""
    return known.run_time_for(subject_of(of))


def test_what_was_learned_of_other_work_says_nothing_of_a_job():
    """Neither another image nor another command: three that echo do not tell how long one sleeps."""
    subject = subject_of(job(command=("echo", "1")))
    runs = (sample(str(each), 60, command=subject.command) for each in range(3))
    known = Estimates({subject.key: history(*runs)})
    assert expected(known, job("another", command=("echo", "2"))).seconds == 60
    assert expected(known, job(image="lab/other:1", command=("echo", "1"))) is None
    for words in (("sleep", "600"), ("echo", "1000")):
        assert expected(known, job(command=words)) is None
    assert known.run_time_for(replace(subject, command=ANY_COMMAND)).seconds == 60


@pytest.mark.parametrize(
    ("seconds", "commands", "expected"),
    [
        ((60, 70, 80, 90, 100), 5, 80),
        ((60, 70, 80, 90, 100), 4, None),
        ((60, 70, 80, 90, 200), 5, None),
        ((1, 1, 1, 1, 1), 5, None),
    ],
    ids=["five agree", "four commands", "they differ", "over at once"],
)
def test_an_image_tells_something_of_a_new_command_only_if_many_commands_agree(seconds, commands, expected):
    """Within a factor of two of each other, and long enough to be work."""
    runs = [sample(str(n), each, command=f"c{min(n, commands - 1)}") for n, each in enumerate(seconds)]
    told = learned(history(*runs), "ann", command="new")
    assert (told.seconds if told else None) == expected


def test_a_history_that_an_older_hub_kept_can_be_read():
    """Its runs have no command, and count as those of images that are told nothing."""
    old = History.model_validate({"samples": [{"run": "a", "seconds": 60, "endedAt": NOW.isoformat()}]})
    assert old.samples[0].command == ""


# --- links


def copy(name, *, way=("a", "b"), rate=100 * MIB, size=1000 * MIB, ended_ago=60.0, phase="Succeeded", copied=None):
    """A transfer; one that is finished lasted as long as its size takes at its rate."""
    finished = {"finishedAt": NOW - timedelta(seconds=ended_ago)} if phase in ("Succeeded", "Failed") else {}
    told = {
        "phase": phase,
        "bytesPerSecond": rate,
        "totalBytes": size,
        "copiedBytes": size if copied is None else copied,
    }
    return Transfer.model_validate(
        {
            "metadata": {"name": name, "namespace": "lab"},
            "spec": {"dataset": name, "version": 1, "source": way[0], "destination": way[1]},
            "status": {**told, **finished},
        }
    )


def log(*transfers):
    """What is known after these."""
    known = TrafficLog()
    for each in transfers:
        known.note(each, NOW)
    return known


def test_a_rate_is_the_median_of_finished_copies_and_small_or_failed_ones_say_nothing():
    """One copy through a stalled link, one of a few bytes and one that failed do not move it."""
    traffic = log(
        copy("x", ended_ago=3000), copy("y", ended_ago=2000), copy("z", ended_ago=1000, rate=110 * MIB),
        copy("stalled", ended_ago=10_000, rate=0.01 * MIB, size=5 * MIB),
        copy("small", ended_ago=20, rate=1.0, size=1000), copy("failed", ended_ago=10, rate=1.0, phase="Failed"),
    ).traffic  # fmt: skip
    rate = traffic.rate(("a", "b"), NOW)
    assert rate.bytes_per_second == pytest.approx(100 * MIB, rel=0.1)
    assert rate.copies == 4
    assert traffic.rate(("b", "a"), NOW) is None, "the way back is another one"


def test_copies_that_shared_an_uplink_count_as_fast_as_they_would_have_been_alone():
    """Two copies out of one cluster at once, each at half of what the link carries."""
    shared = log(
        copy("x", way=("a", "b"), rate=50 * MIB, ended_ago=60), copy("y", way=("a", "c"), rate=50 * MIB, ended_ago=60)
    ).traffic
    assert shared.rate(("a", "b"), NOW).bytes_per_second == pytest.approx(100 * MIB, rel=0.1)
    assert shared.rate(("a", "c"), NOW).bytes_per_second == pytest.approx(100 * MIB, rel=0.1)


def test_an_old_measurement_says_nothing_any_more():
    """After a month what the operator declares is the better guess."""
    traffic = log(copy("x", ended_ago=40 * 86400)).traffic
    assert traffic.rate(("a", "b"), NOW) is None


def test_a_mover_whose_clock_is_ahead_has_measured_now():
    """No measurement is from the future, or it would stand for ever."""
    rate = log(copy("x", ended_ago=-10 * 365 * 86400)).traffic.rate(("a", "b"), NOW)
    assert rate.measured_at == NOW


def test_what_moves_is_counted_once_per_end_that_it_shares():
    """A new copy from a to b shares with what leaves a and with what comes to b; one on the same way counts once."""
    known = log(
        copy("x", way=("a", "b"), phase="Copying", copied=0), copy("y", way=("a", "c"), phase="Pending", size=0),
        copy("z", way=("d", "b"), phase="Copying", copied=0), copy("w", way=("d", "c"), phase="Copying", copied=0),
    )  # fmt: skip
    assert known.traffic.sharing("a", "b") == 3
    assert known.traffic.sharing("e", "f") == 0
    known.note(copy("z", way=("d", "b")), NOW)
    known.forget("lab/y")
    assert known.traffic.sharing("a", "b") == 1


def test_what_is_left_of_a_copy_is_known_by_its_destination():
    """A report that brings it a little further is no news: the traffic stays the same object."""
    known = log(copy("x", phase="Copying", copied=510 * MIB))
    before = known.traffic
    assert before.arriving("lab/x", 1)["b"].left_bytes == pytest.approx(500 * MIB, rel=0.02)
    known.note(copy("x", phase="Copying", copied=520 * MIB), NOW)
    assert known.traffic is before
