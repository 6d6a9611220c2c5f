"""Batch engines of members: which one gets a workload, in which queue, and what the workload then says."""

from typing import Any

import pytest

from atoll.federation.resources import Cluster, Job, ObjectMeta, Run, RunSpec
from atoll.federation.resources.inventory import BatchEngineInfo, BatchQueue
from atoll.hub.controllers.engines import engine_for
from atoll.hub.controllers.manifests import compile_run
from hub.support import inventory, job_spec

Json = dict[str, Any]
KUEUE = {"engine": "Kueue", "is_running": True}
LOCAL = {"name": "team", "namespace": "lab"}
VOLCANO = {"engine": "Volcano", "is_running": True, "queues": [{"name": "default"}]}
YUNIKORN, SLINKY = {"engine": "YuniKorn", "is_running": True}, {"engine": "Slinky", "is_running": True}


def cluster(*engines: Json, **batch: Any) -> Cluster:
    found = Cluster.model_validate({"metadata": {"name": "onprem"}, "spec": {"batch": batch}})
    seen = inventory().model_copy(update={"batch_engines": tuple(BatchEngineInfo.model_validate(e) for e in engines)})
    return found.model_copy(update={"status": found.status.model_copy(update={"inventory": seen})})


def job(**changes: Any) -> Job:
    return Job.model_validate({"metadata": {"name": "j", "namespace": "lab"}, "spec": job_spec(**changes)})


def kueue(*queues: Json) -> Json:
    return KUEUE | {"queues": [BatchQueue(**queue) for queue in queues]}


QUEUE = job().spec.queue
# narrative: (engines that are seen, what the operator has set) → (engine, its queue), or None
CHOICES: dict[str, tuple[list[Json], Json, tuple[str, str] | None]] = {
    "no engine": ([], {}, None),
    "the only LocalQueue of the namespace": ([kueue(LOCAL)], {}, ("Kueue", "team")),
    "of several LocalQueues the default": (
        [kueue(LOCAL, {"name": "default", "namespace": "lab"})], {}, ("Kueue", "default"),
    ),
    "several LocalQueues and no default": ([kueue(LOCAL, {"name": "b", "namespace": "lab"})], {}, None),
    "no LocalQueue in the namespace": ([kueue({"name": "team", "namespace": "other"})], {}, None),
    "Kueue without a queue gives way to Volcano": ([kueue(), VOLCANO], {}, ("Volcano", "default")),
    "an engine that does not run": ([VOLCANO | {"is_running": False}], {}, None),
    "what the operator set, though it is not seen": ([], {"engine": "Volcano", "queue": "a"}, ("Volcano", "a")),
    "the queue of the job's queue": (
        [VOLCANO], {"queue": "rest", "queues": {QUEUE: "mine"}}, ("Volcano", "mine"),
    ),
    "the operator wants none": ([VOLCANO], {"engine": "None"}, None),
    "YuniKorn places by its own rules": ([YUNIKORN], {}, ("YuniKorn", "")),
    "slurm-bridge is used only where it is set": ([SLINKY], {}, None),
    "slurm-bridge with its default partition": ([SLINKY], {"engine": "Slinky"}, ("Slinky", "")),
    "Kueue by name, and its only queue": ([kueue(LOCAL)], {"engine": "Kueue"}, ("Kueue", "team")),
    "Kueue by name, and nothing known of it": ([], {"engine": "Kueue"}, ("Kueue", "default")),
}  # fmt: skip


@pytest.mark.parametrize("what", CHOICES)
def test_the_engine_is_the_operators_or_the_first_that_runs_and_has_a_queue(what: str) -> None:
    engines, batch, chosen = CHOICES[what]
    workload: Json = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j-2"}, "spec": {}}
    engine = engine_for(workload, job(), cluster(*engines, **batch))
    assert (engine and (engine.name, engine.queue)) == chosen


def compiled(where: Cluster, **changes: Any) -> Json:
    spec = RunSpec(job="j", cluster="onprem", epoch=2)
    *_, workload = compile_run(job(**changes), Run(metadata=ObjectMeta(name="j-2", namespace="lab"), spec=spec), where)
    return workload


def test_a_workload_for_kueue_carries_its_queue_and_waits_to_be_let_go() -> None:
    workload = compiled(cluster(kueue(LOCAL)))
    assert workload["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert workload["spec"]["suspend"] is True


def test_a_workload_for_volcano_names_its_scheduler_and_queue_on_its_pods() -> None:
    template = compiled(cluster(VOLCANO))["spec"]["template"]
    assert template["spec"]["schedulerName"] == "volcano"
    assert template["metadata"]["annotations"]["scheduling.volcano.sh/queue-name"] == "default"


def test_a_workload_for_yunikorn_is_an_application_of_the_runs_name() -> None:
    template = compiled(cluster(YUNIKORN, queue="root.lab"))["spec"]["template"]
    assert template["spec"]["schedulerName"] == "yunikorn"
    labels = template["metadata"]["labels"]
    assert (labels["applicationId"], labels["queue"]) == ("j-2", "root.lab")


def test_a_workload_for_slurm_bridge_says_partition_and_time_limit_in_minutes() -> None:
    workload = compiled(cluster(SLINKY, engine="Slinky", queue="gpu"), timeLimit="90s")
    said = workload["metadata"]["annotations"]
    assert said["slurmjob.slinky.slurm.net/partition"] == "gpu"
    assert said["slurmjob.slinky.slurm.net/timelimit"] == "2"
    assert workload["spec"]["template"]["spec"]["schedulerName"] == "slurm-bridge-scheduler"


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="queue and queues say nothing where engine is None"):
        cluster(engine="None", queue="x")
