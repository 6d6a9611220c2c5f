"""`atoll queue usage`, and what `job explain` says of a job that waits for its queue."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from clitool import Cli

from atoll.cli.explaining import headline
from atoll.cli.queue_usage import JOB_HEADERS, RESOURCE_HEADERS, usage
from atoll.cli.tables import lay_out
from atoll.federation.errors import NotFound
from atoll.federation.resources import Queue

NOW = datetime(2026, 11, 23, tzinfo=UTC)
QUEUES = """
apiVersion: atoll.dev/v1alpha1
kind: Queue
metadata: {name: usage}
spec: {weight: 3, quota: {guaranteed: {gpus: 4, cpu: "16"}, limit: {gpus: 8, memory: 64Gi, gpuModels: {A100: 2}}}}
---
apiVersion: atoll.dev/v1alpha1
kind: Queue
metadata: {name: usage.batch}
spec: {parent: usage, maxRunningJobs: 0}
---
apiVersion: atoll.dev/v1alpha1
kind: Job
metadata: {name: held-back, namespace: default}
spec:
  queue: usage.batch
  workload: {spec: {template: {spec: {containers: [{name: main, image: i}]}}}}
"""


def queue(name: str, spec: object, status: object) -> Queue:
    return Queue.model_validate({"metadata": {"name": name}, "spec": spec, "status": status})


def test_usage_shows_who_has_what_and_explain_says_which_queue_is_in_the_way(hub: Cli) -> None:
    """From manifests to both tables and JSON, by the program itself, within 80 columns."""
    hub.ok("apply", "-f", "-", stdin=QUEUES)
    deadline = time.monotonic() + 20
    while "waits for its queue" not in (explained := hub.ok("job", "explain", "held-back")):
        assert time.monotonic() < deadline, explained
    assert explained == (
        "job/held-back waits for its queue: queue usage.batch lets no job start (maxRunningJobs: 0): "
        "raise maxRunningJobs\nwould help: raise maxRunningJobs of queue usage.batch\n"
    )
    record = json.loads(hub.ok("job", "explain", "held-back", "-o", "json"))
    assert (record["queue"]["queue"], record["queue"]["field"]) == ("usage.batch", "maxRunningJobs")
    shown = hub.ok("queue", "usage", "usage")
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == list(JOB_HEADERS)
    assert any(line.split()[:2] == ["usage", "3"] for line in lines)
    assert ["usage", "A100", "-", "2", "0", "0", "-"] in [line.split() for line in lines]
    both = json.loads(hub.ok("queue", "usage", "usage", "-o", "json"))
    assert [each["name"] for each in both] == ["usage", "usage.batch"]
    assert both[0]["limit"] == {"gpus": 8, "memory": 64 * 2**30, "gpuModels.A100": 2}
    assert [each["name"] for each in json.loads(hub.ok("queue", "usage", "usage.batch", "-o", "json"))] == [
        "usage.batch"
    ]
    done = hub("queue", "usage", "nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert "queue 'nowhere' does not exist" in done.stderr


def test_an_average_is_shown_as_it_is_now() -> None:
    """The status is an hour old, which is its half-life: half of what was held then, half of what is held since."""
    past = {"at": NOW - timedelta(hours=1), "halfLifeSeconds": 3600, "gpus": 8.0}
    (record,) = usage([queue("a", {}, {"past": past, "used": {"gpus": 2}})], None, NOW)
    assert record["average"]["gpus"] == pytest.approx(5)


def test_a_queue_that_is_below_itself_is_shown_with_its_problem() -> None:
    """Nothing hangs, and the message of the condition is there."""
    condition = {"type": "Sound", "status": "False", "reason": "BelowItself", "message": "m", "lastTransitionTime": NOW}
    queues = [queue("a", {"parent": "b"}, {"conditions": [condition]}), queue("b", {"parent": "a"}, {})]
    assert {each["name"]: each["problem"] for each in usage(queues, None, NOW)} == {"a": "m", "b": ""}
    with pytest.raises(NotFound):
        usage(queues, "c", NOW)


def test_the_resource_table_of_a_long_name_fits_eighty_columns() -> None:
    """A name of 22 characters beside amounts of usual length."""
    row = ("seismology.interactive", "memory", "128Gi", "1024Gi", "1000Gi", "872Gi", "512.5Gi")
    layout = lay_out(RESOURCE_HEADERS, [row], width=80)
    assert sum(layout.widths) + layout.gap * (len(layout.widths) - 1) <= 80


def test_the_headline_of_a_job_that_no_cluster_can_take_is_as_it_was() -> None:
    """Only a queue in the way changes it."""
    assert headline("j", {"selected": None}) == "job/j waits: no cluster can take it"
