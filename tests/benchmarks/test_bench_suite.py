"""`make bench`: figures are read from what measures really print, failures are no numbers, and commits take turns."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.placement.simulator.openb import VARIABLE
from benchmarks.suite.catalogue import MEASURES, Figure, Measure, chosen
from benchmarks.suite.running import Failed, LeftOut, Told, once, rounds, told
from benchmarks.suite.telling import change, markdown

ROOT = Path(__file__).parents[2]
SPEED = Figure("speed", "speed", "1/s", "higher", aim=10)
COST = Figure("cost", "cost", "s", "lower", aim=2)


def measure(program: str) -> Measure:
    """Make a measure of a script in the tree."""
    return Measure("room", "name", program, "--full", "--small", (SPEED, COST), "nothing")


def script(tree: Path, text: str) -> Measure:
    """Put a script into a tree."""
    tree.mkdir(exist_ok=True)
    (tree / "script.py").write_text(text)
    return measure("script.py")


def suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as the Makefile does."""
    command = [sys.executable, "-m", "benchmarks.suite", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)


def suite_without_trace(folder: Path) -> subprocess.CompletedProcess[str]:
    """Ask for the measure of the trace where there is none."""
    command = [sys.executable, "-m", "benchmarks.suite", "placement/trace", "--size", "small", "-o", "markdown"]
    environment = os.environ | {VARIABLE: str(folder)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_every_figure_of_a_real_measure_is_found_in_what_it_prints():
    """The smallest of all, as its user runs it, for scripts."""
    done = suite("policy/engine", "--size", "small", "--rounds", "1", "-o", "json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["measures"]
    assert [each["name"] for each in result["figures"]] == [each.name for each in MEASURES_BY_NAME["engine"].figures]
    assert all(each["median"] > 0 for each in result["figures"])


MEASURES_BY_NAME = {each.name: each for each in MEASURES}


@pytest.mark.parametrize("each", MEASURES, ids=lambda each: f"{each.room}/{each.name}")
def test_every_program_of_the_catalogue_is_there(each: Measure):
    """A measure that moved is noticed before an hour of measuring is over."""
    program = each.program.split()
    path = program[1].replace(".", "/") + ".py" if program[0] == "-m" else program[0]
    assert (ROOT / path).is_file()


def test_a_name_that_is_not_there_is_told_with_all_that_are():
    done = suite("nonsense")
    assert done.returncode == 2
    assert done.stderr.startswith("there is no measure nonsense: there are kubeapi/lists, ")


def test_a_room_and_a_measure_choose():
    assert {each.room for each in chosen(["policy"])} == {"policy"}
    assert [each.name for each in chosen(["sink/formats", "placement/kernel"])] == ["kernel", "formats"]
    assert chosen([]) == list(MEASURES)


FAILURES = {
    "it ends with an error": ("import sys; sys.exit('no broker here')", "exit code 1: no broker here"),
    "it prints words": ("print('fast!')", "printed no JSON: fast!"),
}


def test_what_a_machine_lacks_is_told_and_is_no_failure(tmp_path: Path):
    """The trace is not part of the repository: who has cloned only that measures everything else."""
    with pytest.raises(LeftOut, match=r"^no broker here$"):
        once(script(tmp_path, "import sys; print('no broker here', file=sys.stderr); sys.exit(77)"), "small", tmp_path)
    done = suite_without_trace(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "left out: " in done.stdout
    assert "name the folder of the trace" in done.stdout


@pytest.mark.parametrize("case", FAILURES.values(), ids=FAILURES)
def test_what_goes_wrong_is_no_number(tmp_path: Path, case: tuple[str, str]):
    text, words = case
    with pytest.raises(Failed, match=words):
        once(script(tmp_path, text), "small", tmp_path)


def test_a_program_that_a_commit_does_not_have_is_said_so(tmp_path: Path):
    with pytest.raises(Failed, match="No such file"):
        once(measure("missing.py"), "full", tmp_path)


def test_two_trees_take_turns_after_one_small_run_of_each(tmp_path: Path):
    """Who begins changes from round to round, and the first small runs are not counted."""
    text = f"""
import json, pathlib, sys
with open({str(tmp_path / "diary")!r}, "a") as diary:
    diary.write(pathlib.Path.cwd().name + sys.argv[1] + " ")
print(json.dumps({{"speed": 1}}))
"""
    trees = [tmp_path / "a", tmp_path / "b"]
    wanted, _ = (script(tree, text) for tree in trees)
    results, _ = rounds(wanted, "full", trees, 2)
    assert (tmp_path / "diary").read_text().split() == [
        "a--small",
        "b--small",
        "a--full",
        "b--full",
        "b--full",
        "a--full",
    ]
    assert [len(each) for each in results] == [2, 2]


def test_a_figure_that_a_run_leaves_out_is_none_and_lines_of_json_are_a_list():
    """A small size may leave parts out: the figure is empty, not zero."""
    speed, cost = told(measure("x"), [{"speed": 3}, {"speed": 5, "cost": None}, {"speed": 4}])
    assert (speed.median, speed.values, cost.median) == (4, (3, 5, 4), None)
    assert speed.spread == 0.5


CHANGES = {
    "more of what should be more": (SPEED, (10, 10), (20, 20), "2.00 x better"),
    "more of what should be less": (COST, (1, 1), (2, 2), "2.00 x worse"),
    "less of what should be less": (COST, (4, 4), (2, 2), "2.00 x better"),
    "no more than the rounds differ": (SPEED, (8, 12), (11, 11), "the same (± 40%)"),
    "not there before": (SPEED, (), (2, 2), ""),
}


@pytest.mark.parametrize("case", CHANGES.values(), ids=CHANGES)
def test_a_change_is_told_only_where_it_is_more_than_noise(
    case: tuple[Figure, tuple[float, ...], tuple[float, ...], str],
):
    figure, before, after, words = case
    assert change(Told(figure, before), Told(figure, after)).endswith(words)


def test_an_aim_is_met_by_its_direction():
    assert (SPEED.is_met(11), SPEED.is_met(9), COST.is_met(1), COST.is_met(3)) == (True, False, True, False)
    assert Figure("bare", "x", "", "lower").is_met(1) is None


def test_the_table_for_the_documentation_has_what_people_see_and_no_colours():
    """Also of a measure that failed, whatever it said."""
    told_ = [{"name": "speed", "unit": "1/s", "better": "higher", "aim": 100, "median": 250.0, "lowest": 90.0,
              "highest": 300.0, "is_met": True}]  # fmt: skip
    results = [
        {"measure": "a/b", "bound": "the disk", "figures": told_},
        {"measure": "c/d", "failed": "no [/red] here"},
    ]
    assert markdown(results).splitlines()[2:] == [
        "| a/b | speed | 250 1/s | 90 to 300 | ≥ 100 met |",
        "|  | bound by the disk |  |  |  |",
        "| c/d | failed: no [/red] here |  |  |  |",
    ]
