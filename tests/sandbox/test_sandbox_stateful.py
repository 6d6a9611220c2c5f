"""Members of a quorum in a simulated cluster: numbered pods with volumes, and names by which they find each other."""

from typing import Any

import pytest

from atoll.federation.errors import InvalidInput
from atoll.sandbox.controllers.stateful import claims, new_pod, plan
from atoll.sandbox.kubelet.names import lines
from atoll.sandbox.spec import LAB_K3S, check_pod_network
from sandbox.worlds import Json

READY = [{"type": "Ready", "status": "True"}]


def stateful_set(replicas: int = 3, *, image: str = "a", management: str = "Parallel") -> Json:
    return {
        "metadata": {"name": "nats", "namespace": "atoll", "uid": "u", "generation": 1},
        "spec": {
            "replicas": replicas,
            "serviceName": "nats",
            "podManagementPolicy": management,
            "selector": {"matchLabels": {"app": "nats"}},
            "template": {"metadata": {"labels": {"app": "nats"}}, "spec": {"containers": [{"image": image}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
        },
    }


def pod(of: Json, number: int, *, ready: bool = True, phase: str = "Running", **metadata: Any) -> Json:
    made = new_pod(of, number)
    status = {"phase": phase, "conditions": READY if ready else [], "podIP": f"127.77.0.{number + 2}"}
    return {**made, "metadata": {**made["metadata"], **metadata}, "status": status}


def test_all_pods_begin_at_once_or_one_after_the_other() -> None:
    assert plan(stateful_set(), []).create == (0, 1, 2)
    ordered = stateful_set(management="OrderedReady")
    assert plan(ordered, []).create == (0,)
    assert plan(ordered, [pod(ordered, 0, ready=False)]).create == ()
    assert plan(ordered, [pod(ordered, 0)]).create == (1,)


def test_a_pod_that_is_missing_or_ended_comes_back_under_its_own_number() -> None:
    wanted = stateful_set()
    assert plan(wanted, [pod(wanted, 0), pod(wanted, 2)]).create == (1,)
    ended = plan(wanted, [pod(wanted, 0), pod(wanted, 1, phase="Failed", ready=False), pod(wanted, 2)])
    assert (ended.create, ended.delete) == ((), ("nats-1",))


def test_a_changed_template_replaces_the_last_pod_first_and_only_while_all_are_ready() -> None:
    old, new = stateful_set(), stateful_set(image="b")
    assert plan(new, [pod(old, number) for number in range(3)]).delete == ("nats-2",)
    assert plan(new, [pod(old, 0), pod(old, 1), pod(new, 2, ready=False)]).delete == ()
    assert plan(new, [pod(old, 0), pod(old, 1), pod(new, 2)]).delete == ("nats-1",)
    assert plan(new, [pod(old, 0, ready=False), pod(old, 1), pod(new, 2)]).delete == ("nats-0",)


def test_what_is_too_many_goes_and_a_pod_that_leaves_is_waited_for() -> None:
    wanted = stateful_set(2)
    assert plan(wanted, [pod(wanted, number) for number in range(3)]).delete == ("nats-2",)
    leaving = pod(wanted, 1, deletionTimestamp="2026-01-01T00:00:00Z")
    step = plan(wanted, [pod(wanted, 0), leaving])
    assert (step.create, step.delete, step.status["replicas"]) == ((), (), 1)


def test_each_pod_has_a_volume_of_its_own_that_its_successor_finds() -> None:
    wanted = stateful_set()
    assert [claim["metadata"]["name"] for claim in claims(wanted, 2)] == ["data-nats-2"]
    (volume,) = new_pod(wanted, 2)["spec"]["volumes"]
    assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": "data-nats-2"}}


def test_a_service_is_its_ready_pods_and_each_member_has_a_name_before_it_is_ready() -> None:
    wanted = stateful_set(2)
    early = {"metadata": {"name": "nats", "namespace": "atoll"}, "spec": {"selector": {"app": "nats"}}}
    early["spec"]["publishNotReadyAddresses"] = True
    late = {"metadata": {"name": "members", "namespace": "atoll"}, "spec": {"selector": {"app": "nats"}}}
    gone = pod(wanted, 3, deletionTimestamp="2026-01-01T00:00:00Z")
    told = list(lines([early, late], [pod(wanted, 0), pod(wanted, 1, ready=False), gone]))
    assert told == [
        "127.77.0.2 nats.atoll.svc.cluster.local nats.atoll.svc nats.atoll",
        "127.77.0.2 nats-0.nats.atoll.svc.cluster.local nats-0.nats.atoll.svc nats-0.nats.atoll",
        "127.77.0.3 nats.atoll.svc.cluster.local nats.atoll.svc nats.atoll",
        "127.77.0.3 nats-1.nats.atoll.svc.cluster.local nats-1.nats.atoll.svc nats-1.nats.atoll",
        "127.77.0.2 members.atoll.svc.cluster.local members.atoll.svc members.atoll",
    ]


def test_a_service_without_a_selector_or_of_another_namespace_names_no_pod() -> None:
    wanted = stateful_set(1)
    services = [
        {"metadata": {"name": "by-hand", "namespace": "atoll"}, "spec": {}},
        {"metadata": {"name": "nats", "namespace": "other"}, "spec": {"selector": {"app": "nats"}}},
    ]
    assert list(lines(services, [pod(wanted, 0)])) == []


@pytest.mark.parametrize("text", ["10.1.0.0/16", "127.77.0.0/24", "127.0.0.0/16", "127.77.0.1/16", "pods"])
def test_a_pod_network_that_is_not_this_machine_s_own_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="podNetwork"):
        check_pod_network(text)


def test_addresses_are_made_up_unless_a_network_was_asked_for() -> None:
    assert check_pod_network("") == ""
    assert LAB_K3S.pod_cidr(0) == "10.3.0.0/24"
