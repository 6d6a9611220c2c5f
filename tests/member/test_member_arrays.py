"""Arrays in a member: which tasks run, how many at once, what is reported."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from atoll.edge.member.array_tasks import (
    patience_seconds,
    pods_to_read,
    skipped,
    status_skipping,
    why_no_array,
    with_tasks,
)
from atoll.edge.member.ended_pods import EndedPods
from atoll.edge.member.inventory.pods import project_pod
from atoll.edge.member.run_status import RunState, Spent
from atoll.edge.member.work import DONE, Result, Worker
from atoll.federation.bus.messages import RunOrder, RunReport
from atoll.federation.errors import Unavailable
from atoll.sandbox.kinds.catalog import JOB
from member.harness import HubSide
from member.orders import NAMESPACE, RUN, RUN_KEY, run_order
from member.world import Cluster, Json, eventually, now_text

INDEX = "batch.kubernetes.io/job-completion-index"
INDEXED = {"completionMode": "Indexed", "backoffLimitPerIndex": 0, "backoffLimit": 2**31 - 1}


def array_order(count: int, parallelism: int, **changes: Any) -> RunOrder:
    order = run_order(**INDEXED, completions=count, parallelism=parallelism)
    return order.model_copy(update={"parallelism": parallelism, **changes})


async def pods_by_index(cluster: Cluster) -> dict[str, Json]:
    pods = (await cluster.objects("Pod", NAMESPACE)).values()
    return {pod["metadata"]["annotations"][INDEX]: pod for pod in pods}


async def has_indexes(cluster: Cluster, *indexes: str) -> dict[str, Json]:
    async def look() -> dict[str, Json] | None:
        found = await pods_by_index(cluster)
        return found if set(found) == set(indexes) else None

    return dict(await eventually(look))


async def test_only_the_tasks_of_the_attempt_run_under_their_own_numbers(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """Tasks 0, 2 and 4 were done elsewhere: no pod is ever made for them, and the report is of 1 and 3 alone."""
    await hub.order(RUN_KEY, array_order(5, 2, tasks="1,3"))
    pods = await has_indexes(cluster, "1", "3")
    job = (await cluster.objects("Job", NAMESPACE))[RUN]
    assert (job["status"]["completedIndexes"], job["spec"]["suspend"]) == ("0,2,4", False)
    await cluster.end_pod(pods["1"], 0, began=now_text())
    await hub.reported(RUN_KEY, RunReport, lambda report: report.succeeded_tasks == "1")
    await cluster.end_pod(pods["3"], 7, began=now_text())
    failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed")
    assert (failed.succeeded_tasks, failed.failed_tasks, failed.exit_code) == ("1", "3", 7)


async def test_kueue_hears_of_an_attempt_only_when_the_tasks_that_are_done_are_written_down(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """Its label comes last, in no state of the Job before the indexes that are done."""
    order, queued = array_order(5, 2, tasks="1,3"), {"kueue.x-k8s.io/queue-name": "lab"}
    order.manifests[1]["metadata"]["labels"].update(queued)
    order.manifests[1]["spec"]["suspend"] = True
    seen: list[tuple[bool, str]] = []

    async def watch() -> None:
        async for event in cluster.store.watch(JOB):
            job = event.object
            is_queued = queued.items() <= job["metadata"]["labels"].items()
            seen.append((is_queued, job.get("status", {}).get("completedIndexes", "")))

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        await hub.order(RUN_KEY, order)

        async def has_label() -> bool:
            return any(is_queued for is_queued, _ in seen)

        await eventually(has_label)
        watching.cancel()
    assert {done for is_queued, done in seen if is_queued} == {"0,2,4"}
    assert (await cluster.objects("Job", NAMESPACE))[RUN]["spec"]["suspend"] is True, "Kueue lets it go, nobody else"


async def test_an_array_grows_and_shrinks_as_it_is_ordered_without_a_new_attempt(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """More room lets more tasks run at once, within the same Job."""
    await hub.order(RUN_KEY, array_order(9, 1))
    before = await has_indexes(cluster, "0")
    await hub.order(RUN_KEY, array_order(9, 1).model_copy(update={"parallelism": 3}))
    after = await has_indexes(cluster, "0", "1", "2")
    assert after["0"]["metadata"]["uid"] == before["0"]["metadata"]["uid"]
    await hub.reported(RUN_KEY, RunReport, lambda report: report.running_tasks == 3)


def job(count: int, *, parallelism: int = 1, **status: Any) -> Json:
    return {"kind": "Job", "spec": {**INDEXED, "completions": count, "parallelism": parallelism}, "status": status}


def test_a_hundred_thousand_tasks_make_a_small_report_and_a_status_that_is_read_back() -> None:
    order = array_order(100_000, 1000)
    state = with_tasks(order, RunState("Running"), job(100_000, completedIndexes="0-41,43-99998"), (), spent=Spent())
    assert (state.succeeded_tasks, len(state.pods)) == ("0-41,43-99998", 0)
    rest = order.model_copy(update={"tasks": "42,99999"})
    assert str(skipped(rest, job(100_000))) == "0-41,43-99998"
    assert status_skipping(rest, job(100_000)) == {"completedIndexes": "0-41,43-99998", "succeeded": 99_998}
    assert status_skipping(rest, job(100_000, completedIndexes="0-41,43-99998")) is None, "said once"


@pytest.mark.parametrize("text", ["5-1", "x", "-3", "0-"])
def test_a_status_that_nobody_can_read_counts_as_none(text: str) -> None:
    state = with_tasks(
        array_order(9, 1), RunState("Running"), job(9, completedIndexes=text, failedIndexes=text), (), spent=Spent()
    )
    assert (state.succeeded_tasks, state.failed_tasks) == ("", "")


PODS = {
    "nothing has ended: what there is": (job(9), ""),
    "some tasks have ended": (job(9, completedIndexes="0-3"), "status.phase!=Succeeded,status.phase!=Failed"),
    "one has failed": (job(9, failedIndexes="0"), "status.phase!=Succeeded,status.phase!=Failed"),
    "it is over": (job(9, conditions=[{"type": "Failed", "status": "True"}]), "status.phase=Failed"),
    "it is no array": ({"kind": "Job", "spec": {"completions": 9}}, ""),
}


@pytest.mark.parametrize(("given", "fields"), PODS.values(), ids=PODS)
def test_the_thousands_of_ended_pods_of_an_array_are_not_read(given: Json, fields: str) -> None:
    assert pods_to_read(array_order(9, 1), given) == fields


def test_an_array_of_which_tasks_have_ended_runs_also_while_the_next_ones_wait() -> None:
    told = with_tasks(
        array_order(9, 1), RunState("Pending", "Unschedulable"), job(9, completedIndexes="0"), (), spent=Spent()
    )
    assert (told.phase, told.reason) == ("Running", "")
    held = with_tasks(
        array_order(9, 1), RunState("Pending", is_suspended=True), job(9, completedIndexes="0"), (), spent=Spent()
    )
    assert held.phase == "Pending"


def test_a_cluster_that_drops_what_an_array_needs_is_said_to_be_too_old() -> None:
    made = {"kind": "Job", "spec": {"completionMode": "Indexed", "completions": 9}}
    assert "1.29" in why_no_array(job(9), made)
    assert why_no_array(job(9), job(9)) == why_no_array(made, made) == ""


def test_news_of_an_array_waits_the_longer_the_more_of_it_runs_and_of_other_runs_not_at_all() -> None:
    patience = [
        patience_seconds(RunState("Running", parallelism=9, running_tasks=count)) for count in (1, 1000, 90_000)
    ]
    assert patience == sorted(patience)
    assert patience[-1] <= 10
    assert patience_seconds(RunState("Running")) == patience_seconds(None) == 0


def test_what_ended_pods_have_used_is_counted_once_and_stays_when_they_are_gone() -> None:
    ordered = {"lab/sweep-1"}
    pods = EndedPods(is_ordered=ordered.__contains__, has_seen=lambda: True)
    ended = project_pod(ended_pod("2026-11-23T12:00:00Z", "2026-11-23T12:00:30Z"))
    for _ in range(2):
        pods.put("lab/a", ended)
    pods.put("lab/a", None)
    pods.put("lab/b", project_pod(ended_pod("2026-11-23T12:01:00Z", "2026-11-23T12:01:30Z")))
    used = pods.of("lab/sweep-1")
    assert (used.cpu_seconds, used.gpu_seconds, used.began) == (120.0, 60.0, datetime(2026, 11, 23, 12, tzinfo=UTC))
    ordered.clear()
    pods.settle("lab/sweep-1")
    assert pods.of("lab/sweep-1") == Spent()


def test_nothing_is_said_of_ended_pods_before_they_were_read_once() -> None:
    with pytest.raises(Unavailable):
        EndedPods(is_ordered=lambda _run: True, has_seen=lambda: False).of("lab/sweep-1")


def ended_pod(began: str, ended: str) -> Json:
    resources = {"requests": {"cpu": "2"}, "limits": {"nvidia.com/gpu": "1"}}
    state = {"terminated": {"exitCode": 0, "startedAt": began, "finishedAt": ended}}
    return {
        "metadata": {"name": "a", "namespace": "lab", "labels": {"atoll.dev/run": "sweep-1"}},
        "spec": {"nodeName": "n", "containers": [{"name": "main", "resources": resources}]},
        "status": {"phase": "Succeeded", "containerStatuses": [{"name": "main", "state": state}]},
    }


async def test_news_that_may_wait_is_worked_on_once_and_urgent_news_takes_it_along() -> None:
    done: list[str] = []
    worked = asyncio.Event()

    async def reconcile(key: str) -> Result:
        done.append(key)
        worked.set()
        return DONE

    worker = Worker("arrays", reconcile)
    for _ in range(100):
        worker.add("lab/sweep-1", within_seconds=3600)
    worker.add("lab/sweep-1", within_seconds=0.01)
    running = asyncio.create_task(worker.run())
    await worked.wait()
    assert done == ["lab/sweep-1"]
    worked.clear()
    worker.add("lab/sweep-1", within_seconds=3600)
    worker.add("lab/sweep-1")
    await worked.wait()
    assert done == ["lab/sweep-1"] * 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
