"""Placement policies beside each other on a trace, on virtual time.

    python -m benchmarks.placement.simulator.run [--traces FOLDER] [--loads 0.7 0.9 ...] [--seeds 1] [--full] [-o json]

Prints, per load and policy, the medians of the seeds; with -o json one line per load, policy and seed, and the medians.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from statistics import median

from benchmarks.placement.simulator.atoll_policy import Atoll
from benchmarks.placement.simulator.bounds import least_makespan, least_mean_wait
from benchmarks.placement.simulator.engine import Engine, Policy
from benchmarks.placement.simulator.measures import Fairness, Saturation, measured
from benchmarks.placement.simulator.openb import NoTrace, Trace, find_traces, read_trace
from benchmarks.placement.simulator.policies import baselines
from benchmarks.placement.simulator.scenario import Options, Scenario, make_scenario

Value = float | int | str | None
Row = dict[str, Value]
BOUND = "bound"
_COLUMNS = {
    "wait_mean_seconds": "wait mean s", "wait_p50_seconds": "p50", "wait_p99_seconds": "p99", "moved_gib": "moved GiB",
    "makespan_seconds": "makespan s", "gpus_allocated": "allocated", "gpus_fragmented": "fragments",
    "fairness_error": "unfairness", "decisions_per_second": "decisions/s",
}  # fmt: skip


def live(scenario: Scenario, policy: Policy) -> Row:
    """Let a policy live through a scenario, and measure it."""
    saturation, fairness = Saturation.of(scenario), Fairness()
    began = time.perf_counter()
    world = Engine(scenario, policy, (saturation, fairness)).run()
    row: Row = {"policy": policy.name, **measured(world, saturation, fairness)}
    row["took_seconds"] = round(time.perf_counter() - began, 2)
    if isinstance(policy, Atoll):
        row["cycles"], row["decisions"] = policy.cycles, policy.decisions
        row["decisions_per_second"] = round(policy.decisions / policy.seconds, 1)
    return row


def compare(trace: Trace, options: Options) -> Iterator[Row]:
    """Give a row for the bound and for every policy, on one scenario."""
    scenario = make_scenario(trace, options)
    known: Row = {"load": options.load, "seed": options.seed}
    bound: Row = {"policy": BOUND, "tasks": len(scenario.tasks)}
    bound["wait_mean_seconds"] = round(least_mean_wait(scenario), 1)
    bound["makespan_seconds"] = round(least_makespan(scenario), 1)
    yield known | bound
    policies: tuple[Policy, ...] = (*baselines(options.seed), Atoll())
    for policy in policies:
        yield known | live(scenario, policy)


def medians(rows: Sequence[Row]) -> list[Row]:
    """Give the medians over seeds, per load and policy, in the order of the rows."""
    groups: dict[tuple[Value, Value], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["load"], row["policy"]), []).append(row)
    return [
        {"load": load, "policy": policy, "seeds": len(group), **{name: _median(group, name) for name in _COLUMNS}}
        for (load, policy), group in groups.items()
    ]


def _median(rows: Sequence[Row], name: str) -> float | None:
    values = [value for row in rows if isinstance(value := row.get(name), int | float)]
    return round(median(values), 4) if values else None


def as_table(rows: Sequence[Row]) -> str:
    """Write medians as a table of Markdown."""
    head = ("load", "policy", *_COLUMNS.values())
    lines = [head, ("---:", "---", *("---:" for _ in _COLUMNS))]
    lines += [(f"{row['load']}", f"{row['policy']}", *(_cell(row[name]) for name in _COLUMNS)) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if isinstance(value, int | float) and abs(value) >= 10 else f"{value:.3g}"


def main(arguments: Sequence[str]) -> None:
    """Parse, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--traces", help="the folder of the openb trace; default: $ATOLL_TRACES, or beside this repository"
    )
    parser.add_argument("--loads", type=float, nargs="+", default=(0.7, 0.9, 1.1, 1.3))
    parser.add_argument("--seeds", type=int, default=1, help="how many; medians are told")
    parser.add_argument("--tasks", type=int, default=Options.tasks, help="of the trace, taken evenly")
    parser.add_argument("--shrink", type=int, default=Options.shrink, help="keep one node in so many")
    parser.add_argument("--full", action="store_true", help="all tasks of the trace")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    try:
        trace = read_trace(find_traces(options.traces))
    except NoTrace as error:
        print(error, file=sys.stderr)
        sys.exit(77)  # left out, as benchmarks.suite.running reads it
    made = Options(tasks=None if options.full else options.tasks, shrink=options.shrink)
    rows: list[Row] = []
    for load in options.loads:
        for seed in range(1, options.seeds + 1):
            for row in compare(trace, replace(made, load=load, seed=seed)):
                rows.append(row)
                if options.output == "json":
                    print(json.dumps(row), flush=True)
    if options.output == "json":
        print(json.dumps({"options": asdict(made), "medians": medians(rows)}))
    else:
        print(as_table(medians(rows)))


if __name__ == "__main__":
    main(sys.argv[1:])
