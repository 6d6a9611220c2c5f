"""`atoll cluster drain`: who leaves, who stays, and what is said while a person waits; against a real hub."""

import json
import signal
import time
from pathlib import Path

from clitool import Cli

CLUSTER = "apiVersion: atoll.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}}}\n"
JOB = """
apiVersion: atoll.dev/v1alpha1
kind: Queue
metadata: {{name: drain}}
---
apiVersion: atoll.dev/v1alpha1
kind: Job
metadata: {{name: {name}, namespace: default}}
spec:
  queue: drain
  lossPolicy: {policy}
  workload: {{spec: {{template: {{spec: {{containers: [{{name: main, image: busybox}}]}}}}}}}}
---
apiVersion: atoll.dev/v1alpha1
kind: Run
metadata: {{name: {name}-1, namespace: default}}
spec: {{job: {name}, cluster: {cluster}, epoch: 1}}
"""


def _spec(hub: Cli, name: str) -> dict[str, object]:
    return dict(json.loads(hub.ok("get", "cluster", name, "-o", "json"))["spec"])


def _cluster(hub: Cli, folder: Path, name: str) -> None:
    file = folder / f"{name}.yaml"
    file.write_text(CLUSTER.format(name=name))
    hub.ok("apply", "-f", str(file))


def test_an_empty_cluster_is_drained_at_once_and_shown_so_until_it_is_uncordoned(hub: Cli, tmp_path: Path) -> None:
    _cluster(hub, tmp_path, "drain-empty")
    assert hub.ok("cluster", "drain", "drain-empty") == "cluster/drain-empty cordoned\ncluster/drain-empty drained\n"
    spec = _spec(hub, "drain-empty")
    assert (spec["unschedulable"], spec["draining"], spec["evict"]) == (True, True, "ByPolicy")
    assert "Pending,Draining" in hub.ok("cluster", "list")
    hub.ok("cluster", "uncordon", "drain-empty")
    spec = _spec(hub, "drain-empty")
    assert (spec["unschedulable"], spec["draining"]) == (False, False)
    hub.ok("cluster", "cordon", "drain-empty")
    assert "Pending,Cordoned" in hub.ok("cluster", "list")


def test_who_stays_is_named_and_a_drain_goes_on_when_nobody_waits_any_more(hub: Cli, tmp_path: Path) -> None:
    """A run that stays keeps the drain waiting: for as long as it was told, until Ctrl-C, or until it is gone."""
    _cluster(hub, tmp_path, "drain-busy")
    file = tmp_path / "busy.yaml"
    file.write_text(JOB.format(name="busy", policy="Wait", cluster="drain-busy"))
    hub.ok("apply", "-f", str(file))
    _wait_for(hub, "busy-1", "Starting")
    late = hub("cluster", "drain", "drain-busy", "--timeout", "1s")
    assert late.returncode == 3
    assert "run/busy-1 -n default (lossPolicy Wait) goes on to its end; --force stops it" in late.stderr
    assert "1 run still there after 1 s: run/busy-1 -n default" in late.stderr
    assert "cluster/drain-busy drained" not in late.stdout
    with hub.running("cluster", "drain", "drain-busy") as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "cluster/drain-busy already cordoned\n"
        assert waiting.stderr is not None
        waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        _, rest = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert "cluster/drain-busy is still draining; atoll cluster uncordon drain-busy ends that" in rest
    assert _spec(hub, "drain-busy")["draining"]
    with hub.running("cluster", "drain", "drain-busy") as waiting:
        assert waiting.stdout is not None
        waiting.stdout.readline()
        hub.ok("delete", "job", "busy")
        assert waiting.stdout.readline() == "run/busy-1 -n default deleted\n"
        assert waiting.stdout.readline() == "cluster/drain-busy drained\n"


def _wait_for(hub: Cli, run: str, phase: str) -> None:
    end = time.monotonic() + 20
    while json.loads(hub.ok("get", "run", run, "-o", "json")).get("status", {}).get("phase") != phase:
        assert time.monotonic() < end, f"{run} never was {phase}"


def test_a_dry_run_drains_nothing(hub: Cli, tmp_path: Path) -> None:
    _cluster(hub, tmp_path, "drain-dry")
    assert hub.ok("cluster", "drain", "drain-dry", "--dry-run") == "cluster/drain-dry cordoned (dry run)\n"
    assert not _spec(hub, "drain-dry")["draining"]


def test_a_cluster_that_is_not_there_and_a_time_that_is_none_are_refused(hub: Cli) -> None:
    missing = hub("cluster", "drain", "nowhere")
    assert (missing.returncode, "nowhere" in missing.stderr) == (1, True)
    nonsense = hub("cluster", "drain", "nowhere", "--timeout", "soon")
    assert (nonsense.returncode, "'soon' is no duration" in nonsense.stderr) == (1, True)
