"""Gangs in a cluster without a batch engine: nothing starts before all of it can, and no half of it keeps GPUs."""

from typing import Any

import pytest

from atoll.edge.member import gangs
from atoll.edge.member.gangs import gang_of
from atoll.edge.member.room import Pods, less, why_no_room
from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.messages import RunReport
from atoll.federation.capacity import ResourceVector, Shape
from member.harness import HubSide, running_agent
from member.nodes import A100
from member.orders import NAMESPACE, RUN, RUN_KEY, run_order
from member.workloads import job_set, order, pods_of, pytorch_job, template
from member.world import Cluster, Json, eventually, node, now_text

OTHER, OTHER_KEY = "train-2", f"run/{NAMESPACE}/train-2"
GIB = 2**30


def shape(nodes: int, gpus: int, **labels: str) -> Shape:
    whole = ResourceVector(8000, 32 * GIB, gpus)
    return Shape(nodes, whole, whole, "NVIDIA-A100-SXM4-40GB", 40 * GIB, frozenset(labels.items()))


def pods(count: int, gpus: int, role: str = "worker", **spec: Any) -> Pods:
    resources = {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": str(gpus)}}
    return Pods.of(role, count, {"containers": [{"resources": resources}], **spec})


ARM = {"nodeSelector": {"kubernetes.io/arch": "arm64"}}
OWN_LABEL = {"nodeSelector": {"example.org/rack": "r1"}}
NOT_AMD = {"key": "kubernetes.io/arch", "operator": "NotIn", "values": ["amd64"]}
TERMS = {"nodeSelectorTerms": [{"matchExpressions": [NOT_AMD]}]}
AFFINITY = {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": TERMS}}}
# narrative: (gang, promised to others, nodes) → what is missing
ROOMS: dict[str, tuple[list[Pods], list[Pods], list[Shape], str]] = {
    "all fit": ([pods(4, 1)], [], [shape(2, 2)], ""),
    "one is missing": ([pods(5, 1)], [], [shape(2, 2)], "1 of 5 pods (worker)"),
    "no node is large enough": ([pods(1, 4)], [], [shape(4, 2)], "1 of 1 pods"),
    "the room is promised": ([pods(2, 1)], [pods(3, 1)], [shape(2, 2)], "1 of 2 pods"),
    "two groups of different size": ([pods(2, 1, "small"), pods(1, 2, "large")], [], [shape(2, 2)], ""),
    "the small ones take what the large ones leave": ([pods(3, 1, "s"), pods(1, 2, "l")], [], [shape(2, 2)], "(s)"),
    "no node is of the architecture": ([pods(1, 1, **ARM)], [], [shape(1, 4)], "1 of 1 pods"),
    "an affinity that no node satisfies": (
        [pods(1, 1, **AFFINITY)], [], [shape(1, 4, **{"kubernetes.io/arch": "amd64"})], "1 of 1",
    ),
    "a label that shapes do not tell": ([pods(1, 1, **OWN_LABEL)], [], [shape(1, 4)], ""),
    "no nodes at all": ([pods(2, 0)], [], [], "2 of 2 pods"),
}  # fmt: skip


@pytest.mark.parametrize("what", ROOMS)
def test_a_gang_has_room_when_all_of_its_pods_find_a_node_beside_what_is_promised(what: str) -> None:
    gang, promised, shapes, missing = ROOMS[what]
    said = why_no_room(gang, promised, shapes)
    assert missing in said
    assert bool(said) is bool(missing)


def test_of_a_promise_remains_what_is_not_on_nodes_yet_and_the_largest_of_it() -> None:
    rest = less([pods(2, 1, "small"), pods(2, 4, "large")], 3)
    assert [(each.role, each.count) for each in rest] == [("large", 1)]
    assert less([pods(2, 1)], 2) == ()


def indexed(parallelism: int = 4, **spec: Any) -> Json:
    own = {"completionMode": "Indexed", "parallelism": parallelism, "completions": 4, "template": template(RUN)}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": own | spec}


SCHEDULED = job_set()
SCHEDULED["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["schedulerName"] = "volcano"
# narrative: workload → how many pods the agent keeps together
KEPT: dict[str, tuple[Json, int]] = {
    "a JobSet": (job_set(pods=3), 3),
    "a PyTorchJob": (pytorch_job(workers=3), 4),
    "a JobSet of one pod": (job_set(pods=1), 0),
    "a JobSet that Kueue lets go": (job_set(suspend=True), 0),
    "a JobSet that Volcano schedules": (SCHEDULED, 0),
    "a Job whose indexes all run at once": (indexed(), 4),
    "a Job whose indexes run two at a time": (indexed(2), 0),
    "an array": (indexed(backoffLimitPerIndex=0), 0),
    "a Job without indexes": (run_order(parallelism=3).manifests[1], 0),
}


@pytest.mark.parametrize("what", KEPT)
def test_only_pods_that_need_each_other_and_that_nobody_else_keeps_are_kept_together(what: str) -> None:
    workload, count = KEPT[what]
    assert sum(each.count for each in gang_of(order(workload))) == count


async def occupied(cluster: Cluster, where: str, gpus: int) -> None:
    """Have a pod of somebody else hold GPUs."""
    container = {"name": "c", "image": "i", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    metadata = {"name": f"foreign-{where}", "namespace": "default"}
    if "default" not in await cluster.objects("Namespace"):
        await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    await cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"nodeName": where, "containers": [container]},
        }
    )


async def given_nodes(cluster: Cluster, count: int = 2, *, gpus: int = 1) -> None:
    for number in range(count):
        await cluster.join(node(f"n{number}", gpus=gpus, labels=A100))
    cluster.operate("JobSet", "PyTorchJob")


async def put_on_nodes(cluster: Cluster, run: str = RUN, *, but: int = 0) -> None:
    """Play the scheduler and the kubelet: all pods of a run come onto nodes, but for some that find none."""
    found = sorted(await pods_of(cluster, run), key=lambda pod: str(pod["metadata"]["name"]))
    for number, pod in enumerate(found):
        if number < len(found) - but:
            where = {"spec": {"nodeName": f"n{number}"}}
            await cluster.edit("Pod", pod["metadata"]["name"], where, namespace=NAMESPACE)
            bound = (await cluster.objects("Pod", NAMESPACE))[pod["metadata"]["name"]]
            await cluster.set_pod(bound, "Running", state={"running": {"startedAt": now_text()}})
        else:
            why = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
            await cluster.set_pod(pod, "Pending", conditions=[why])


async def is_let_go(cluster: Cluster, run: str = RUN) -> bool:
    found = (await cluster.objects("JobSet", NAMESPACE)).get(run)
    return found is not None and not found["spec"]["suspend"]


async def has_pods(cluster: Cluster, run: str = RUN, count: int = 2) -> bool:
    return len(await pods_of(cluster, run)) == count


def waits(report: RunReport) -> bool:
    return (report.phase, report.reason) == ("Pending", "WaitingForRoom")


async def test_a_gang_starts_only_when_there_is_room_for_all_of_it(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """While somebody else holds a GPU no pod is made and the report says what is missing; then all start and end."""
    await given_nodes(cluster)
    await occupied(cluster, "n0", 1)
    await hub.order(RUN_KEY, order(job_set()))
    report = await hub.reported(RUN_KEY, RunReport, waits)
    assert "1 of 2 pods" in report.message or "being read" in report.message
    await hub.reported(RUN_KEY, RunReport, lambda said: "1 of 2 pods" in said.message)
    assert not await is_let_go(cluster)
    assert await pods_of(cluster) == []

    await cluster.delete("Pod", "foreign-n0", namespace="default")
    await eventually(lambda: has_pods(cluster))
    await put_on_nodes(cluster)
    await hub.reported(RUN_KEY, RunReport, lambda said: said.phase == "Running")
    for pod in await pods_of(cluster):
        await cluster.end_pod(pod, 0, began=now_text())
    done = await hub.reported(RUN_KEY, RunReport, lambda said: said.phase == "Succeeded")
    assert done.exit_code == 0
    assert done.usage.gpu_seconds >= 0


async def test_of_two_gangs_that_want_the_same_room_one_is_released(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """The other waits until the first has left, although no pod of the first is on a node yet."""
    await given_nodes(cluster)
    for run, key in ((RUN, RUN_KEY), (OTHER, OTHER_KEY)):
        await hub.order(key, order(job_set(run), run=run))

    async def released() -> list[str]:
        return [run for run in (RUN, OTHER) if await is_let_go(cluster, run)]

    (first,) = await eventually(released)
    second = OTHER if first == RUN else RUN
    await eventually(lambda: has_pods(cluster, first))
    await hub.reported(f"run/{NAMESPACE}/{second}", RunReport, lambda said: "2 of 2 pods" in said.message)
    assert await released() == [first]
    await hub.withdraw(f"run/{NAMESPACE}/{first}")
    await eventually(lambda: has_pods(cluster, second))


async def test_an_agent_that_dies_before_it_lets_a_gang_go_does_so_when_it_is_back(
    cluster: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """What it had applied stays suspended meanwhile; another agent finds room and resumes it, with no second object."""
    await given_nodes(cluster)
    await occupied(cluster, "n0", 1)
    async with running_agent(settings):
        await hub.order(RUN_KEY, order(job_set()))
        await hub.reported(RUN_KEY, RunReport, waits)
    before = (await cluster.objects("JobSet", NAMESPACE))[RUN]["metadata"]["uid"]
    await cluster.delete("Pod", "foreign-n0", namespace="default")
    assert not await is_let_go(cluster)
    async with running_agent(settings):
        await eventually(lambda: has_pods(cluster))
    assert (await cluster.objects("JobSet", NAMESPACE))[RUN]["metadata"]["uid"] == before


async def test_a_gang_of_which_a_pod_finds_no_node_is_called_back_and_tried_again(
    cluster: Cluster, agent: None, hub: HubSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No half gang keeps a GPU: its pods go, and after a while it is released once more."""
    monkeypatch.setattr(gangs, "_GIVEN_SECONDS", 0.0)
    monkeypatch.setattr(gangs, "_FIRST_RETRY_SECONDS", 1.0)
    await given_nodes(cluster)
    await hub.order(RUN_KEY, order(job_set()))
    await eventually(lambda: has_pods(cluster))
    first = {pod["metadata"]["uid"] for pod in await pods_of(cluster)}
    await put_on_nodes(cluster, but=1)
    report = await hub.reported(RUN_KEY, RunReport, waits)
    assert "1 of its pods found no node" in report.message or "tried again" in report.message

    async def begun_anew() -> bool:
        return len(found := await pods_of(cluster)) == 2 and not {pod["metadata"]["uid"] for pod in found} & first

    await eventually(begun_anew)
    await put_on_nodes(cluster)
    await hub.reported(RUN_KEY, RunReport, lambda said: said.phase == "Running")


async def test_a_gang_that_was_whole_once_is_never_suspended_again(
    cluster: Cluster, agent: None, hub: HubSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod that its operator makes anew later may wait for a node as long as it has to."""
    monkeypatch.setattr(gangs, "_GIVEN_SECONDS", 0.0)
    await given_nodes(cluster)
    await hub.order(RUN_KEY, order(job_set()))
    await eventually(lambda: has_pods(cluster))
    await put_on_nodes(cluster)
    await hub.reported(RUN_KEY, RunReport, lambda said: said.phase == "Running")
    lost = (await pods_of(cluster))[0]["metadata"]["name"]
    await cluster.delete("Pod", lost, namespace=NAMESPACE)

    async def made_anew() -> bool:
        found = [pod for pod in await pods_of(cluster) if pod["metadata"]["name"] == lost]
        return bool(found) and not found[0]["spec"].get("nodeName")

    await eventually(made_anew)
    await put_on_nodes(cluster, but=1)
    await hub.order(OTHER_KEY, run_order(run=OTHER))  # a whole round of the agent's work lies between
    await hub.reported(OTHER_KEY, RunReport)
    assert await is_let_go(cluster)


async def test_a_gang_that_finds_no_room_for_long_goes_back_to_the_hub(
    cluster: Cluster, agent: None, hub: HubSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NoRoom is a displacement: another attempt follows. Nothing of this one is left."""
    monkeypatch.setattr(gangs, "PATIENCE_SECONDS", 0.5)
    await given_nodes(cluster, 1)
    await hub.order(RUN_KEY, order(job_set()))
    report = await hub.reported(RUN_KEY, RunReport, lambda said: said.phase == "Failed")
    assert report.reason == "NoRoom"
    assert await cluster.objects("JobSet", NAMESPACE) == {}


async def test_who_lets_a_gang_go_by_hand_has_it_his_way(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """An administrator who resumes a gang is not overruled."""
    await given_nodes(cluster, 1)
    await hub.order(RUN_KEY, order(job_set()))
    await hub.reported(RUN_KEY, RunReport, waits)
    await cluster.edit("JobSet", RUN, {"spec": {"suspend": False}}, namespace=NAMESPACE)
    await eventually(lambda: has_pods(cluster))
    await hub.reported(RUN_KEY, RunReport, lambda said: said.reason != "WaitingForRoom")
    assert await is_let_go(cluster)
