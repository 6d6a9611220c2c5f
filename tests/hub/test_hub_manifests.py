"""What members are told to apply: mounts, GPUs, labels, and nothing of the user's lost."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from atoll.federation.resources import Cluster, Job, ObjectMeta, Run, RunInput, RunSpec
from atoll.federation.workloads import LEVEL_LABEL
from atoll.hub.controllers.manifests import DataService, compile_run, compile_service
from hub.support import inventory, job_spec

EXAMPLES = Path(__file__).parents[2] / "examples" / "workloads"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
SERVICE = DataService(("python", "-m", "atoll"), "image:1", "nats://hub:4222")


def example(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    return loaded


def cluster(**spec: Any) -> Cluster:
    found = Cluster.model_validate({"metadata": {"name": "onprem"}, "spec": spec})
    return found.model_copy(update={"status": found.status.model_copy(update={"inventory": inventory()})})


def job(**changes: Any) -> Job:
    return Job.model_validate({"metadata": {"name": "j", "namespace": "lab"}, "spec": job_spec(**changes)})


def run(*inputs: RunInput) -> Run:
    return Run(
        metadata=ObjectMeta(name="j-2", namespace="lab"),
        spec=RunSpec(job="j", cluster="onprem", epoch=2, inputs=inputs),
    )


def test_a_job_without_data_is_a_namespace_and_a_batch_job_that_is_never_retried_there() -> None:
    namespace, workload = compile_run(job(timeLimit="90s"), run(), cluster())
    assert (namespace["kind"], namespace["metadata"]["name"]) == ("Namespace", "lab")
    assert workload["metadata"]["labels"]["atoll.dev/job"] == "j"
    assert workload["metadata"]["annotations"]["atoll.dev/epoch"] == "2"
    spec = workload["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 90)
    assert spec["template"]["metadata"]["labels"]["atoll.dev/run"] == "j-2"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert "volumes" not in spec["template"]["spec"]


def test_namespaces_are_made_at_the_level_of_the_hub_s() -> None:
    """Of runs and of data services; one that says nothing is at baseline."""
    said: dict[str, dict[str, Any]] = {"baseline": {}, "restricted": {"level": "restricted"}}
    for level, given in said.items():
        of_run, of_service = (
            compile_run(job(), run(), cluster(), **given),
            compile_service(cluster(), "lab", SERVICE, **given),
        )
        assert of_run[0]["metadata"]["labels"] == of_service[0]["metadata"]["labels"] == {LEVEL_LABEL: level}


def test_inputs_are_mounted_read_only_and_outputs_where_only_this_epoch_writes() -> None:
    given = RunInput(namespace="lab", dataset="anmo.1", version=3, mount_path="/data")
    user = {"name": "scratch", "emptyDir": {}}
    container = {"name": "main", "image": "x", "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}]}
    workload_spec = {"template": {"spec": {"containers": [container, {"name": "side"}], "volumes": [user]}}}
    spec = job(outputs=[{"dataset": "picks", "mountPath": "/out"}], workload={"spec": workload_spec})
    namespace, workload = compile_run(spec, run(given), cluster(storageClass="fast"))
    assert namespace["kind"] == "Namespace", "the claim is the service's, which knows how large it has grown"
    pod = workload["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["scratch", "atoll-datasets"]
    expected = [
        {"name": "atoll-datasets", "mountPath": "/data", "subPath": "anmo.1/v3", "readOnly": True},
        {"name": "atoll-datasets", "mountPath": "/out", "subPath": ".runs/j-2-e2/picks"},
    ]
    assert pod["containers"][0]["volumeMounts"] == [{"name": "scratch", "mountPath": "/tmp"}, *expected]
    assert pod["containers"][1]["volumeMounts"] == expected


def test_a_gpu_model_becomes_the_product_labels_of_the_cluster_beside_the_users_own_affinity() -> None:
    zone = {"key": "zone", "operator": "In", "values": ["a"]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [zone]}]}}
    pod_spec = {"containers": [{"name": "main"}], "affinity": {"nodeAffinity": required}}
    spec = job(
        gpu={"count": 2, "models": ["A100"], "memory": "40Gi"}, workload={"spec": {"template": {"spec": pod_spec}}}
    )
    _, workload = compile_run(spec, run(), cluster())
    pod = workload["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    affinity = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert affinity["nodeSelectorTerms"] == [
        {
            "matchExpressions": [
                zone,
                {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-A100-SXM4-40GB"]},
                {"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["40959"]},
            ]
        }
    ]


def test_compiling_changes_nothing_of_the_job() -> None:
    spec = job(gpu={"count": 1}, outputs=[{"dataset": "picks", "mountPath": "/out"}])
    before = spec.model_dump_json()
    assert compile_run(spec, run(), cluster()) == compile_run(spec, run(), cluster())
    assert spec.model_dump_json() == before


def test_nulls_that_people_leave_in_manifests_mean_absent() -> None:
    pod = {"containers": [{"name": "main", "resources": None}], "affinity": None, "volumes": None}
    spec = job(gpu={"models": ["A100"]}, workload={"spec": {"template": {"metadata": None, "spec": pod}}})
    _, workload = compile_run(spec, run(), cluster())
    assert workload["spec"]["template"]["metadata"]["labels"]["atoll.dev/run"] == "j-2"


def test_a_namespaces_data_service_is_one_sink_and_one_mover_on_the_claim() -> None:
    namespace, claim, deployment = compile_service(cluster(), "lab", SERVICE)
    assert (namespace["metadata"]["name"], claim["metadata"]["name"]) == ("lab", "atoll-datasets")
    assert "storageClassName" not in claim["spec"], "the cluster's default class"
    _, named, _ = compile_service(cluster(storageClass="fast"), "lab", SERVICE)
    assert (named["spec"]["accessModes"], named["spec"]["storageClassName"]) == (["ReadWriteMany"], "fast")
    spec = deployment["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    sink, mover = spec["template"]["spec"]["containers"]
    expected = ["--cluster", "onprem", "--namespace", "lab", "--nats", "nats://hub:4222", "--root", "/datasets"]
    assert sink["command"] == ["python", "-m", "atoll", "sink", *expected]
    assert mover["command"][3] == "mover"
    assert sink["volumeMounts"] == [{"name": "datasets", "mountPath": "/datasets"}]


def test_indexes_with_limits_of_their_own_fail_each_for_itself_and_are_never_retried_there() -> None:
    spec = {"backoffLimitPerIndex": 2, "backoffLimit": 4, "template": {"spec": {"containers": [{"name": "main"}]}}}
    _, workload = compile_run(job(workload={"spec": spec}), run(), cluster())
    assert (workload["spec"]["backoffLimitPerIndex"], workload["spec"]["backoffLimit"]) == (0, 2**31 - 1)


@pytest.mark.parametrize("name", NAMES)
def test_work_of_every_kind_is_applied_under_the_runs_name_in_the_jobs_namespace(name: str) -> None:
    """Labelled with the run, the object and its pods, so that the agent finds what is its own."""
    manifest = example(name)
    compiled = compile_run(
        Job.model_validate({**manifest, "metadata": {"name": "j", "namespace": "lab"}}), run(), cluster()
    )
    for number, workload in enumerate(compiled[1:]):
        assert workload["kind"] == ("Pod" if name == "podlist" else manifest["spec"]["workload"]["kind"])
        own = f"j-2-{number}" if name == "podlist" else "j-2"
        assert (workload["metadata"]["name"], workload["metadata"]["namespace"]) == (own, "lab")
        assert workload["metadata"]["labels"]["atoll.dev/run"] == "j-2"
        assert workload["metadata"]["annotations"]["atoll.dev/epoch"] == "2"
        assert str(workload).count("'atoll.dev/run': 'j-2'") >= (1 if workload["kind"] == "Pod" else 2)
    assert len(compiled) == (3 if name == "podlist" else 2)


def test_gpus_are_asked_for_by_the_pods_that_work_and_not_by_those_that_start_them() -> None:
    """A launcher does without, and may go to a node without GPUs."""
    spec = example("mpijob")["spec"]
    work = Job.model_validate({"metadata": {"name": "j", "namespace": "lab"}, "spec": {**spec, "gpu": {"count": 2}}})
    replicas = compile_run(work, run(), cluster())[1]["spec"]["mpiReplicaSpecs"]
    pods = {role: replica["template"]["spec"] for role, replica in replicas.items()}
    assert pods["Worker"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert "limits" not in pods["Launcher"]["containers"][0]["resources"]
