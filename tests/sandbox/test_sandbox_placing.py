"""Scheduling, GPUs, cordon and Deployments on a simulated cluster, by the real kubectl."""

import os
import signal
from typing import Any

from sandbox.worlds import Job, Kubectl, condition, eventually, python

GPU = "nvidia.com/gpu"


def _running(kubectl: Kubectl, selector: str, count: int) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]]:
        pods = [p for p in kubectl.pods(selector) if condition(p["status"], "Ready") and not _is_going(p)]
        return pods if len(pods) == count else []

    pods: list[dict[str, Any]] = eventually(found, what=f"{count} running pods of {selector}")
    return pods


def _is_going(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _sleeper(name: str, gpus: int) -> dict[str, Any]:
    code = "import os, time\nprint(os.environ['CUDA_VISIBLE_DEVICES'])\ntime.sleep(60)"
    container = {"resources": {"limits": {GPU: gpus}}}
    return Job(name, python(code), container=container, pod={"terminationGracePeriodSeconds": 1}).manifest()


def test_gpus_run_out_and_no_two_pods_share_one(onprem: Kubectl) -> None:
    """Four pods of two GPUs fill both nodes, each GPU once; the fifth waits and says what is insufficient."""
    onprem.apply(*(_sleeper(f"gpu-{n}", 2) for n in range(4)))
    pods = [_running(onprem, f"job-name=gpu-{n}", 1)[0] for n in range(4)]
    eventually(lambda: all(onprem("logs", pod["metadata"]["name"]) for pod in pods), what="the devices in the logs")
    given = [
        (pod["spec"]["nodeName"], index)
        for pod in pods
        for index in onprem("logs", pod["metadata"]["name"]).strip().split(",")
    ]
    assert sorted(given) == [(node, str(index)) for node in ("gpu-a", "gpu-b") for index in range(4)]
    onprem.apply(_sleeper("gpu-more", 1))
    why = eventually(lambda: _refusal(onprem, "gpu-more"), what="a reason for waiting")
    assert why == ("Unschedulable", f"0/2 nodes are available: 2 Insufficient {GPU}.")
    assert "FailedScheduling" in onprem("get", "events")
    onprem("delete", "job", "gpu-0", "--wait=false")
    _running(onprem, "job-name=gpu-more", 1)
    onprem("delete", "jobs", "--all")
    eventually(lambda: not onprem.pods(), what="the end of all pods")


def test_gpus_that_are_given_back_are_used_at_once(onprem: Kubectl) -> None:
    """Eight pods that each need a whole node run two at a time, and none is refused for a GPU not yet given back."""
    spec = {"completions": 8, "parallelism": 2}
    container = {"resources": {"limits": {GPU: 4}}}
    onprem.apply(Job("relay", ["true"], spec=spec, container=container).manifest())
    status = eventually(lambda: _finished(onprem, "relay"), seconds=40, what="the end of the job")
    assert (status["succeeded"], status["failed"]) == (8, 0)


def _finished(kubectl: Kubectl, job: str) -> dict[str, Any]:
    status = kubectl.status("job", job)
    return status if condition(status, "Complete") or condition(status, "Failed") else {}


def _refusal(kubectl: Kubectl, job: str) -> tuple[str, str] | None:
    for pod in kubectl.pods(f"job-name={job}"):
        for each in pod["status"].get("conditions", ()):
            if each["type"] == "PodScheduled" and each["status"] == "False":
                return each["reason"], each["message"]
    return None


def test_a_gpu_model_is_chosen_by_its_label(sandbox: Any) -> None:
    """A node selector for H100 places the pod on the H100 node, and one for an unknown model nowhere."""
    cloud = sandbox.fresh("cloud-eu")
    for name, product in (("h100", "NVIDIA-H100-80GB-HBM3"), ("none", "NVIDIA-B200")):
        pod = {"nodeSelector": {"nvidia.com/gpu.product": product}}
        cloud.apply(Job(name, ["true"], pod=pod, container={"resources": {"limits": {GPU: 1}}}).manifest())
    placed = eventually(lambda: [p for p in cloud.pods("job-name=h100") if p["spec"].get("nodeName")], what="placement")
    assert placed[0]["spec"]["nodeName"] == "gke-cloud-eu-h100-0"
    why = eventually(lambda: _refusal(cloud, "none"), what="a reason")
    assert why[1] == "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."


def test_a_drained_node_loses_its_pods_and_gets_no_new_ones(sandbox: Any) -> None:
    """Pods deleted from a cordoned node come back on the others."""
    edge = sandbox.fresh("lab-kubeedge")
    edge.apply(_deployment("spread", 6, ["sleep", "60"]))
    _running(edge, "app=spread", 6)
    edge("cordon", "kubeedge-edge-0")
    edge("delete", "pods", "--field-selector=spec.nodeName=kubeedge-edge-0", "--wait=false")
    try:
        moved = _running(edge, "app=spread", 6)
        assert {pod["spec"]["nodeName"] for pod in moved} <= {"kubeedge-edge-1", "kubeedge-cloud-0"}
    finally:
        edge("uncordon", "kubeedge-edge-0")


def _deployment(name: str, replicas: int, command: list[str]) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "main", "command": command, "resources": {"requests": {"cpu": "100m"}}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def test_a_killed_process_of_a_deployment_is_started_again(lab: Kubectl) -> None:
    """Killing the process restarts the container in its pod; deleting the pod makes a new pod."""
    lab.apply(_deployment("server", 1, python("import os, time\nprint(os.getpid())\ntime.sleep(600)")))
    (pod,) = _running(lab, "app=server", 1)
    name = pod["metadata"]["name"]
    first = int(eventually(lambda: lab("logs", name).strip(), what="the pid in the log"))
    os.kill(first, signal.SIGKILL)
    eventually(lambda: _restarts(lab, name) == 1, what="the restart")
    _running(lab, "app=server", 1)
    second = int(eventually(lambda: lab("logs", name).strip(), what="the new pid in the log"))
    assert second != first
    assert lab.pods()[0]["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137
    lab("delete", "pod", name)
    (new,) = _running(lab, "app=server", 1)
    assert new["metadata"]["name"] != name


def _restarts(kubectl: Kubectl, name: str) -> int:
    return int(kubectl.status("pod", name)["containerStatuses"][0]["restartCount"])


def test_a_changed_deployment_rolls_to_its_new_template(lab: Kubectl) -> None:
    """kubectl rollout status comes to its end, and only pods of the new template are left."""
    lab.apply(_deployment("rolling", 2, ["sleep", "600"]))
    lab("rollout", "status", "deployment/rolling", "--timeout=20s")
    lab.apply(_deployment("rolling", 2, ["sleep", "601"]))
    lab("rollout", "status", "deployment/rolling", "--timeout=20s")
    pods = _running(lab, "app=rolling", 2)
    assert {pod["spec"]["containers"][0]["command"][1] for pod in pods} == {"601"}
    lab("patch", "deployment", "rolling", "-p", '{"spec":{"replicas":1}}')
    _running(lab, "app=rolling", 1)
