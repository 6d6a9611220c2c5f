"""The pure decisions of the simulated clusters: where a pod fits, what a Job and a Deployment need next."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.sandbox.controllers import deployment_plan, job_plan
from atoll.sandbox.controllers.fitting import NodeView, Unfit, choose, requests_of
from atoll.sandbox.kubelet.container import restarts
from atoll.sandbox.kubelet.devices import Devices, DevicesExhausted, visible
from atoll.sandbox.kubelet.environment import expand
from atoll.sandbox.kubelet.status import Container, PodView, phase

Json = dict[str, Any]
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def node(name: str, *, spec: Json | None = None, labels: Json | None = None, **amounts: str) -> Json:
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "110", **amounts}
    ready = {"type": "Ready", "status": "True"}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": spec or {},
        "status": {"allocatable": allocatable, "conditions": [ready]},
    }


def pod(spec: Json | None = None, **requests: str) -> Json:
    container = {"name": "c", "resources": {"requests": requests}}
    return {"metadata": {"name": "p"}, "spec": {"containers": [container], **(spec or {})}}


def affinity(*expressions: Json) -> Json:
    terms = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


EDGE_TAINT = {"taints": [{"key": "edge", "value": "yes", "effect": "NoSchedule"}]}
REFUSED = {
    "too little cpu": (pod(cpu="4500m"), node("n"), "1 Insufficient cpu"),
    "too little memory": (pod(memory="9Gi"), node("n"), "1 Insufficient memory"),
    "no such resource": (pod(**{"example.com/fpga": "1"}), node("n"), "1 Insufficient example.com/fpga"),
    "no room for a pod": (pod(), node("n", pods="0"), "1 Too many pods"),
    "cordoned": (pod(), node("n", spec={"unschedulable": True}), "1 node(s) were unschedulable"),
    "tainted": (pod(), node("n", spec=EDGE_TAINT), "1 node(s) had untolerated taint {edge: yes}"),
    "wrong label": (
        pod({"nodeSelector": {"zone": "a"}}),
        node("n", labels={"zone": "b"}),
        "1 node(s) didn't match Pod's node affinity/selector",
    ),
    "affinity not met": (
        pod(affinity({"key": "zone", "operator": "In", "values": ["a"]})),
        node("n"),
        "1 node(s) didn't match Pod's node affinity/selector",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_node_that_cannot_have_a_pod_says_why(case: str) -> None:
    """Each filter gives kube-scheduler's reason."""
    wanted, where, reason = REFUSED[case]
    assert choose(wanted, [NodeView(where)]) == Unfit(f"0/1 nodes are available: {reason}.")


TOLERATED = {
    "taint tolerated by value": (
        pod({"tolerations": [{"key": "edge", "value": "yes", "effect": "NoSchedule"}]}),
        node("n", spec=EDGE_TAINT),
    ),
    "everything tolerated": (pod({"tolerations": [{"operator": "Exists"}]}), node("n", spec=EDGE_TAINT)),
    "soft taint": (pod(), node("n", spec={"taints": [{"key": "x", "effect": "PreferNoSchedule"}]})),
    "exactly full": (pod(cpu="4", memory="8Gi"), node("n")),
    "greater than": (
        pod(affinity({"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["40000"]})),
        node("n", labels={"nvidia.com/gpu.memory": "40960"}),
    ),
}


@pytest.mark.parametrize("case", TOLERATED)
def test_a_node_that_suits_a_pod_is_chosen(case: str) -> None:
    """Tolerations, exact fits and affinity by number let a pod in."""
    wanted, where = TOLERATED[case]
    chosen = choose(wanted, [NodeView(where)])
    assert isinstance(chosen, NodeView)


def test_a_pod_without_gpus_leaves_the_gpu_node_alone() -> None:
    """With a plain node free, GPUs are kept for those who need them; a GPU pod goes where fewest GPUs are left."""
    plain, gpus = NodeView(node("plain")), NodeView(node("gpus", **{"nvidia.com/gpu": "4"}))
    assert choose(pod(cpu="1"), [gpus, plain]) is plain
    half = NodeView(node("half", **{"nvidia.com/gpu": "4"}))
    half.take(requests_of(pod(**{"nvidia.com/gpu": "2"})))
    assert choose(pod(**{"nvidia.com/gpu": "1"}), [gpus, half]) is half


def test_the_greatest_init_container_counts_if_it_needs_more() -> None:
    """Requests are those of the containers together, or of the greatest init container."""
    spec = {"initContainers": [{"name": "i", "resources": {"limits": {"memory": "3Gi"}}}]}
    asked = requests_of(pod(spec, cpu="1", memory="1Gi"))
    assert (asked["cpu"], asked["memory"]) == (1, 3 * 2**30)


def test_devices_are_given_once_and_taken_back() -> None:
    """Two pods get different GPUs, a third gets none, and after a release the same indexes come again."""
    devices = Devices()
    assert devices.assign("n", "a", count=3, total=4) == (0, 1, 2)
    assert devices.assign("n", "b", count=1, total=4) == (3,)
    with pytest.raises(DevicesExhausted, match="1 requested on n, 0 of 4 free"):
        devices.assign("n", "c", count=1, total=4)
    devices.release("n", "a")
    assert devices.assign("n", "c", count=2, total=4) == (0, 1)
    assert visible(()) == {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void"}


def job(**spec: Any) -> Json:
    defaults = {"completions": 1, "parallelism": 1, "backoffLimit": 0, "completionMode": "NonIndexed"}
    return {"metadata": {"name": "j", "uid": "u"}, "spec": {**defaults, **spec}}


def member(name: str, state: str, **metadata: Any) -> Json:
    identity = {"name": name, "uid": name, "creationTimestamp": "2026-11-22T11:00:00Z", **metadata}
    identity.setdefault("finalizers", [job_plan.TRACKING])
    return {"metadata": identity, "spec": {"nodeName": "n"}, "status": {"phase": state}}


def held(status: Json) -> list[str]:
    return [each["type"] for each in status.get("conditions", ()) if each["status"] == "True"]


def test_a_new_job_gets_as_many_pods_as_may_run_at_once() -> None:
    """Five completions with parallelism two begin with two pods."""
    assert job_plan.plan(job(completions=5, parallelism=2), [], NOW).create == (None, None)


def test_an_ended_pod_is_counted_once_however_often_it_is_seen() -> None:
    """The status that counts a pod remembers it until its finalizer is gone."""
    pods = [member("a", "Succeeded")]
    first = job_plan.plan(job(completions=2), pods, NOW)
    again = job_plan.plan({**job(completions=2), "status": first.status}, pods, NOW)
    assert (first.status["succeeded"], again.status["succeeded"]) == (1, 1)
    assert first.uncount == ("a",)


def test_a_job_is_failed_only_when_its_last_pod_has_ended() -> None:
    """While another pod still runs, a job beyond its limit is a FailureTarget and deletes that pod."""
    spec = {"completions": 2, "parallelism": 2}
    failing = job_plan.plan(job(**spec), [member("a", "Failed"), member("b", "Running")], NOW)
    assert (held(failing.status), failing.delete) == (["FailureTarget"], ("b",))
    after = {**job(**spec), "status": failing.status}
    ended = job_plan.plan(after, [member("a", "Failed"), member("b", "Failed")], NOW)
    assert held(ended.status) == ["FailureTarget", "Failed"]


def test_a_replacement_waits_for_the_back_off() -> None:
    """Right after a failure nothing is made; the plan asks to be called again when the time is over."""
    failed = member("a", "Failed", creationTimestamp="2026-11-22T12:00:00Z")
    step = job_plan.plan(job(backoffLimit=3), [failed], NOW)
    assert (step.create, step.again_seconds) == ((), job_plan.BACKOFF_SECONDS)
    later = job_plan.plan({**job(backoffLimit=3), "status": step.status}, [failed], NOW + timedelta(seconds=2))
    assert later.create == (None,)


def test_a_pod_deleted_before_it_had_a_node_counts_as_failed() -> None:
    """No kubelet will report its end, so the job itself takes it as failed."""
    deleted = member("a", "Pending", deletionTimestamp="2026-11-22T12:00:00Z")
    deleted["spec"] = {}
    assert "Failed" in held(job_plan.plan(job(), [deleted], NOW).status)


def test_a_deployment_replaces_what_is_dead_and_keeps_enough_ready_while_rolling() -> None:
    """A dead pod is deleted and replaced; with maxUnavailable 0 an old ready pod stays until the new one is ready."""
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    spec = {"replicas": 1, "template": template, "strategy": strategy}
    deployment = {"metadata": {"name": "d", "uid": "u", "generation": 1}, "spec": spec}
    current = {job_plan.INDEX: "", deployment_plan.HASH: deployment_plan.template_hash(deployment)}
    dead = member("dead", "Failed", labels=current)
    step = deployment_plan.plan(deployment, [dead], NOW)
    assert (step.create, step.delete) == (1, ("dead",))
    old, new = member("old", "Running", labels={deployment_plan.HASH: "x"}), member("new", "Running", labels=current)
    old["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    assert deployment_plan.plan(deployment, [old, new], NOW).delete == ()
    new["status"]["conditions"] = old["status"]["conditions"]
    assert deployment_plan.plan(deployment, [old, new], NOW).delete == ("old",)


RESTARTS = {
    "Always after success": ("Always", 0, False, True),
    "OnFailure after success": ("OnFailure", 0, False, False),
    "OnFailure after failure": ("OnFailure", 1, False, True),
    "Never after failure": ("Never", 1, False, False),
    "init done under Always": ("Always", 0, True, False),
    "init failed under Always": ("Always", 1, True, True),
    "init failed under Never": ("Never", 1, True, False),
}


@pytest.mark.parametrize("case", RESTARTS)
def test_containers_are_restarted_as_the_policy_says(case: str) -> None:
    """restartPolicy, exit code and whether it is an init container decide."""
    policy, code, is_init, expected = RESTARTS[case]
    assert restarts(policy, code, is_init=is_init) is expected


def ended(code: int) -> Json:
    return {"terminated": {"exitCode": code}}


PHASES: dict[str, tuple[list[Json], list[Json], str]] = {
    "nothing started": ([], [{"waiting": {}}], "Pending"),
    "init runs": ([{"running": {}}], [{"waiting": {}}], "Pending"),
    "init failed": ([ended(1)], [{"waiting": {}}], "Failed"),
    "one of two runs": ([], [ended(0), {"running": {}}], "Running"),
    "all succeeded": ([ended(0)], [ended(0), ended(0)], "Succeeded"),
    "one failed": ([], [ended(0), ended(2)], "Failed"),
}


@pytest.mark.parametrize("case", PHASES)
def test_the_phase_of_a_pod_follows_from_its_containers(case: str) -> None:
    """Pending until a container ran, Failed if any ended badly, Succeeded if all ended well."""
    inits, mains, expected = PHASES[case]
    views = [[Container("c", state=state) for state in states] for states in (inits, mains)]
    assert phase(PodView(views[0], views[1], "", "", "")) == expected


def test_references_in_arguments_are_expanded_like_kubernetes_does() -> None:
    """$(NAME) is replaced, $$ is a dollar sign, and what is unknown stays as written."""
    assert expand("$(A)/$$(A)/$(B)/$A", {"A": "1"}) == "1/$(A)/$(B)/$A"
