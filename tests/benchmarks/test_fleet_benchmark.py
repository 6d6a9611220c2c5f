"""The benchmark of a thousand agents, with three: real hub, real nats-server, real credentials."""

import json
import subprocess
import sys
from pathlib import Path

_BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "fleet" / "thousand_agents.py"
_SMALL = (
    "--sizes 3 --objects 20 --waiting 0 --changes 3 --changes-per-second 100 "
    "--rest-seconds 0.2 --quiet-seconds 0.3 --processes 1 -o json"
)


def test_the_benchmark_of_the_fleet_measures_every_limit_with_three_agents():
    done = subprocess.run(
        [sys.executable, _BENCHMARK, *_SMALL.split()], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert result["sizes"]["3"]["joins"]["clusters"] == 3
    assert result["hub_restart"]["serving_seconds"] >= result["hub_restart"]["ready_seconds"] > 0
    assert result["nats_restart"]["proven_seconds"] > 0
    assert set(result["limits"]) == {
        "joins: joins_per_second",
        "rest: hub_cores",
        "rest: hub_rss_mb",
        "changes: p99_seconds",
        "hub_restart: serving_seconds",
    }
