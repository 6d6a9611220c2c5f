"""The placement simulator on federations so small that what happens can be counted by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.placement.simulator.atoll_policy import Atoll
from benchmarks.placement.simulator.bounds import least_makespan, least_mean_wait, mean_busy_times
from benchmarks.placement.simulator.engine import Engine
from benchmarks.placement.simulator.measures import Saturation, fairness_error, percentile
from benchmarks.placement.simulator.openb import Size, Trace, TraceNode, TraceTask
from benchmarks.placement.simulator.policies import baselines
from benchmarks.placement.simulator.run import compare
from benchmarks.placement.simulator.scenario import Data, Options, Scenario, Site, Task, make_scenario
from benchmarks.placement.simulator.transfers import Transfers

GB = 10**9
NODE = Size(8000, 2**35, 2)
ROOT = Path(__file__).parents[2]


def site(name, nodes=1, uplink=GB / 10):
    """A cluster of nodes with two GPUs each."""
    return Site(name, "eu", "T4", tuple(TraceNode(f"{name}-{at}", NODE, "T4") for at in range(nodes)), uplink)


def task(name, *, arrives=0.0, seconds=100.0, gpus=2, inputs=()):
    """A task whose run time is expected as it is."""
    return Task(name, Size(1000, 2**30, gpus), (), inputs, "queue-1", arrives, seconds, int(seconds))


def scenario(sites, tasks, *data):
    """Put together what a test needs."""
    return Scenario(tuple(sites), {each.name: each for each in data}, {"queue-1": 1}, tuple(tasks))


def policy(name):
    """Find a policy by its name."""
    return next(each for each in (*baselines(1), Atoll()) if each.name == name)


def waits(world):
    """Give how long each task waited."""
    return {name: story.wait_seconds for name, story in world.stories.items()}


def trace(tasks=60):
    """A trace of three models and tasks of one to four GPUs."""
    nodes = [TraceNode(f"n{at}", Size(16_000, 2**36, 4), ("T4", "G2", "P100")[at % 3]) for at in range(12)]
    size = [Size(2000 * gpus, 2**32, gpus) for gpus in (1, 1, 2, 4)]
    made = [TraceTask(f"t{at}", size[at % 4], 10 * at, 50 + 37 * at % 400) for at in range(tasks)]
    return Trace(tuple(nodes), tuple(made))


SMALL = Options(shrink=1, tasks=None, datasets=6, largest_bytes=20 * GB, load=1.2)


def test_a_task_waits_for_its_data_for_as_long_as_the_link_takes():
    world = Engine(
        scenario([site("full"), site("there")], [task("t", inputs=("d",))], Data("d", 10 * GB, ("there",))),
        policy("first-to-admit"),
    ).run()
    assert waits(world) == {"t": pytest.approx(100.0)}
    assert world.transfers.moved_bytes == 10 * GB
    assert world.stories["t"].ended_at == pytest.approx(200.0)


def test_two_copies_over_one_link_take_twice_as_long():
    transfers = Transfers({"from": 100.0, "one": 100.0, "other": 100.0})
    transfers.start(("a", "one"), "from", 1000)
    transfers.start(("b", "other"), "from", 1000)
    assert transfers.next_end() == pytest.approx(20.0)
    transfers.advance(10.0)
    transfers.start(("c", "one"), "other", 500)  # its way in is shared, its way out is not
    assert transfers.next_end() == pytest.approx(20.0)
    assert sorted(transfers.advance(20.0)) == [("a", "one"), ("b", "other"), ("c", "one")]


def test_a_third_task_waits_until_one_of_two_has_ended():
    tasks = [task("a", seconds=100.0), task("b", seconds=50.0), task("c", seconds=10.0)]
    for name in ("random", "least-loaded", "locality", "atoll"):
        world = Engine(scenario([site("x"), site("y")], tasks), policy(name)).run()
        assert sorted(waits(world).values()) == [0.0, 0.0, 50.0], name
        assert max(story.ended_at for story in world.stories.values()) == 100.0, name


def test_atoll_waits_for_its_data_where_that_is_sooner_and_brings_it_where_not():
    sites, data = [site("data"), site("idle")], Data("d", 10 * GB, ("data",))
    for seconds, moved in ((40.0, 0), (1000.0, 10 * GB)):
        blocking = task("blocking", seconds=seconds, inputs=("d",))
        world = Engine(
            scenario(sites, [blocking, task("second", arrives=5.0, inputs=("d",))], data), policy("atoll")
        ).run()
        assert world.stories["blocking"].cluster == "data"
        assert world.transfers.moved_bytes == moved


def test_one_machine_that_serves_the_least_work_first_has_the_busy_times_of_hand():
    # The second comes at 1 with less work in all: it is served from 1 to 2, the first from 0 to 1 and from 2 to 5.
    assert mean_busy_times([0.0, 1.0], [4.0, 1.0], 1.0) == pytest.approx([(0.5 + 3 * 3.5) / 4, 1.5])


def test_the_bounds_are_those_of_one_machine():
    tasks = [task(name, seconds=100.0, gpus=2) for name in ("a", "b", "c")]
    held = scenario([site("x")], tasks)  # one node for three: waits of 0, 100 and 200
    assert least_mean_wait(held) == pytest.approx(100.0)
    assert least_makespan(held) == pytest.approx(300.0)


def test_a_free_gpu_that_no_common_task_fits_beside_is_a_fragment():
    held = scenario([site("x")], [task("both", gpus=2), task("one", gpus=1, seconds=500.0), task("late", gpus=2)])
    saturation = Saturation.of(held)
    Engine(held, policy("locality"), (saturation,)).run()
    # While `late` waits, first `both` holds all; then `one` does, and a GPU is free that two tasks in three cannot use.
    assert {round(part, 4) for part in saturation.fragmented} == {0.0, round(1 * (2 / 3) / 2, 4)}


def test_the_fairness_error_is_the_part_that_is_with_the_wrong_queue():
    assert fairness_error({"a": 0.3, "b": 0.3}, {"a": 1, "b": 1}) == 0
    assert fairness_error({"a": 0.6, "b": 0.0}, {"a": 1, "b": 3}) == pytest.approx(0.75)
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert percentile(list(range(100)), 0.99) == 98


def test_every_policy_ends_every_task_and_none_undercuts_the_bounds():
    rows = list(compare(trace(40), SMALL))
    bound, policies = rows[0], rows[1:]
    assert [row["policy"] for row in policies] == [
        "random", "least-loaded", "first-to-admit", "locality", "data-bound", "atoll",
    ]  # fmt: skip
    for row in policies:
        assert row["tasks"] == bound["tasks"] == 40
        assert row["wait_mean_seconds"] >= bound["wait_mean_seconds"]
        assert row["makespan_seconds"] >= bound["makespan_seconds"]


def test_a_seed_gives_the_same_again_and_another_seed_does_not():
    def lived(seed):
        made = make_scenario(trace(20), Options(**{**SMALL.__dict__, "seed": seed}))
        return [(story.cluster, story.started_at) for story in Engine(made, Atoll()).run().stories.values()]

    assert lived(1) == lived(1) != lived(2)


def test_without_the_trace_it_says_what_to_do(tmp_path):
    command = [sys.executable, "-m", "benchmarks.placement.simulator.run", "--traces", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 77, "left out, as the runner of all benchmarks reads it"
    assert "--traces or ATOLL_TRACES" in done.stderr


def test_it_reads_the_form_of_the_trace_and_prints_a_line_per_policy(tmp_path):
    head = (
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time"
    )
    pods = [f"p{at},1000,1024,1,500,,LS,Running,{at},{at + 100},{at}" for at in range(8)]
    (tmp_path / "openb_pod_list_default.csv").write_text("\n".join([head, *pods]) + "\n")
    nodes = ["sn,cpu_milli,memory_mib,gpu,model", "n0,8000,32768,2,T4", "n1,8000,32768,2,G3"]
    (tmp_path / "openb_node_list_gpu_node.csv").write_text("\n".join(nodes) + "\n")
    command = [sys.executable, "-m", "benchmarks.placement.simulator.run", "--traces", tmp_path]
    command += ["--loads", "1", "--seeds", "1", "--shrink", "1", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    *rows, summary = map(json.loads, done.stdout.splitlines())
    assert [row["policy"] for row in rows] == [row["policy"] for row in summary["medians"]]
    assert {row["tasks"] for row in rows} == {8}
