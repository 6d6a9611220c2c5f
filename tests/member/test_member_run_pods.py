"""What people ask of the pods of a run, where its kind makes them and Atoll's label is not on them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import ObjectRef
from atoll.federation.bus.command_messages import STDOUT, ExecRequest
from atoll.federation.bus.messages import LogsRequest, RunReport
from atoll.federation.bus.subjects import rpc_subject
from atoll.federation.bus.usage_messages import TopReport, TopRequest
from member.harness import CLUSTER, HubSide
from member.orders import NAMESPACE
from member.sandbox_world import sandbox_world
from member.workloads import order
from member.world import Json, eventually

RUN = "train-1"
TRAIN_JOB: Json = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "TrainJob",
    "spec": {"runtimeRef": {"name": "torch"}},
}


def pod_of_the_runtime() -> Json:
    """A pod as the runtime of a TrainJob makes it, by a JobSet: with the label of that only."""
    container: Json = {"name": "node", "image": "any", "command": ["sh", "-c", "echo trains; sleep 600"]}
    labels = {"jobset.sigs.k8s.io/jobset-name": RUN}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "train-1-node-0", "namespace": NAMESPACE, "labels": labels},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]},
    }


@pytest.fixture
async def training(nats_server: Any, tmp_path: Path, hub: HubSide) -> AsyncIterator[HubSide]:
    """A cluster where a TrainJob was ordered whose one pod runs."""
    async with sandbox_world(nats_server.url, tmp_path) as world:
        await hub.order(f"run/{NAMESPACE}/{RUN}", order(TRAIN_JOB, run=RUN))
        await hub.reported(f"run/{NAMESPACE}/{RUN}", RunReport)
        kube = await Kube.connect(world.kubeconfig)
        await kube.server_side_apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        made = ObjectRef.of(await kube.server_side_apply(pod_of_the_runtime()))

        async def runs() -> bool:
            pod = await kube.get(made)
            return pod is not None and pod.get("status", {}).get("phase") == "Running"

        async def is_gone() -> bool:
            return await kube.get(made) is None

        await eventually(runs)
        yield hub
        await kube.delete(made)
        await eventually(is_gone)
        await kube.close()


async def answers(hub: HubSide, verb: str, request: bytes) -> list[bytes]:
    chunks = hub.bus.request_many(rpc_subject(CLUSTER, verb), request, timeout_seconds=20)
    return [chunk async for chunk in chunks]


async def test_the_log_of_a_pod_without_the_label_of_its_run_is_found(training: HubSide) -> None:
    """Logs are of the pods that the kind's own selector names."""

    async def printed() -> bool:
        request = LogsRequest(namespace=NAMESPACE, run=RUN).encode()
        return b"".join(await answers(training, "logs", request)) == b"trains\n"

    await eventually(printed)


async def test_a_command_runs_in_a_pod_without_the_label_of_its_run(training: HubSide) -> None:
    """Exec enters the pod that logs reads."""
    request = ExecRequest(namespace=NAMESPACE, run=RUN, command=("echo", "inside"), session="0" * 32)
    frames = await answers(training, "exec", request.encode())
    assert b"".join(frame[1:] for frame in frames if frame[0] == STDOUT) == b"inside\n"


async def test_what_a_pod_uses_without_the_label_of_its_run_is_told(training: HubSide) -> None:
    """Top measures the pod that logs reads, too."""

    async def measured() -> bool:
        (report,) = await answers(training, "top", TopRequest(namespace=NAMESPACE, run=RUN).encode())
        (use,) = TopReport.decode(report).pods
        return use.pod == "train-1-node-0" and use.used_memory_bytes is not None

    await eventually(measured)
