"""The sandbox's operator: pods of any adapted kind, its status in the kind's own fields, suspension, and the end."""

from datetime import UTC, datetime
from typing import Any

import pytest

from atoll.federation.errors import InvalidInput
from atoll.federation.workloads import ADAPTERS, Adapter, pod_groups, state_of, with_suspend
from atoll.sandbox.controllers.operator_plan import ROLE, plan
from atoll.sandbox.kinds.operated import adapters_of, check_kinds, offered_kinds, operated

Json = dict[str, Any]
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TEMPLATE: Json = {
    "metadata": {"labels": {"atoll.dev/run": "r"}},
    "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i", "command": ["true"]}]},
}
REPLICAS = {"replicas": 1, "template": TEMPLATE}
JOBS = {"name": "w", "replicas": 1, "template": {"spec": {"parallelism": 2, "completions": 2, "template": TEMPLATE}}}
RAY = {"headGroupSpec": {"template": TEMPLATE}, "workerGroupSpecs": [{"groupName": "g", **REPLICAS}]}
SPECS: dict[str, Json] = {
    "JobSet": {"replicatedJobs": [JOBS]},
    "PyTorchJob": {"pytorchReplicaSpecs": {"Master": REPLICAS, "Worker": {**REPLICAS, "replicas": 2}}},
    "MPIJob": {"mpiReplicaSpecs": {"Launcher": REPLICAS, "Worker": REPLICAS}},
    "RayJob": {"entrypoint": "python x.py", "rayClusterSpec": RAY},
}


def thing(name: str, **status: Any) -> tuple[Json, Adapter]:
    (adapter,) = adapters_of([name])
    metadata = {"name": "r", "namespace": "lab", "uid": "u1"}
    of_kind = {"apiVersion": adapter.api_version, "kind": adapter.kind, "metadata": metadata}
    return of_kind | {"spec": SPECS[name], "status": status}, adapter


def with_phases(pods: tuple[Json, ...], **phases: str) -> list[Json]:
    """Pods as their kubelet would tell them; `others` is the phase of the roles that are not named."""
    return [pod | {"status": {"phase": phases.get(pod["metadata"]["labels"][ROLE], phases["others"])}} for pod in pods]


@pytest.mark.parametrize("name", SPECS)
def test_pods_are_made_as_the_templates_say_and_belong_to_their_object(name: str) -> None:
    obj, adapter = thing(name)
    step = plan(obj, adapter, [], NOW)
    assert len(step.create) == sum(group.count for group in pod_groups(obj))
    for pod in step.create:
        assert pod["metadata"]["labels"]["atoll.dev/run"] == "r"
        assert pod["metadata"]["ownerReferences"][0]["uid"] == "u1"
        assert pod["spec"]["containers"][0]["command"] == ["true"]
    assert plan(obj, adapter, with_phases(step.create, others="Pending"), NOW).create == ()


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize(("phase", "told"), [("Running", "Running"), ("Succeeded", "Succeeded"), ("Failed", "Failed")])
def test_the_status_says_what_the_kinds_adapter_reads(name: str, phase: str, told: str) -> None:
    """Through all phases before, as an operator goes: what held earlier holds no more."""
    obj, adapter = thing(name)
    pods = plan(obj, adapter, [], NOW).create
    obj["status"] = plan(with_suspend(obj, True), adapter, [], NOW).status
    assert state_of(obj).reason == "Suspended"
    obj["status"] = plan(obj, adapter, with_phases(pods, others="Pending"), NOW).status
    assert state_of(obj).phase == "Pending"
    for each in ("Running", phase):
        obj["status"] = plan(obj, adapter, with_phases(pods, others=each), NOW).status
    running = with_phases(pods, others="Running")
    assert state_of(obj, running if told == "Running" else ()).phase == told


def test_a_suspended_object_loses_its_pods_and_gets_them_again() -> None:
    obj, adapter = thing("JobSet")
    pods = with_phases(plan(obj, adapter, [], NOW).create, others="Running")
    held = plan(with_suspend(obj, True), adapter, pods, NOW)
    assert set(held.delete) == {pod["metadata"]["name"] for pod in pods}
    assert held.create == ()
    assert len(plan(obj, adapter, [], NOW).create) == len(pods)


def test_where_a_pod_leads_its_success_ends_the_others() -> None:
    obj, adapter = thing("PyTorchJob")
    pods = with_phases(plan(obj, adapter, [], NOW).create, master="Succeeded", others="Running")
    done = plan(obj, adapter, pods, NOW)
    assert state_of(obj | {"status": done.status}).phase == "Succeeded"
    assert sorted(done.delete) == ["r-worker-0", "r-worker-1"]


def test_one_failed_pod_fails_the_whole_for_good() -> None:
    obj, adapter = thing("PyTorchJob")
    pods = with_phases(plan(obj, adapter, [], NOW).create, worker="Failed", others="Running")
    failed = plan(obj, adapter, pods, NOW)
    assert failed.delete == ("r-master-0",)
    after = plan(obj | {"status": failed.status}, adapter, with_phases(tuple(pods), others="Succeeded"), NOW)
    assert after.status == failed.status


def test_kinds_that_are_not_offered_are_refused_by_name() -> None:
    assert check_kinds(["RayJob", "JobSet", "RayJob"]) == ("JobSet", "RayJob")
    with pytest.raises(InvalidInput, match="'Pod' is simulated; those of JAXJob"):
        check_kinds(["Pod"])


@pytest.mark.parametrize("name", offered_kinds())
def test_every_kind_that_is_offered_is_served_as_its_adapter_names_it(name: str) -> None:
    (adapter,) = adapters_of([name])
    rt = operated(adapter)
    assert ADAPTERS[rt.api_version, rt.kind].plural == rt.plural
    assert rt.has_status
