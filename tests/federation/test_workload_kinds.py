"""What is read out of each kind of workload and written into it, by the example of each."""

import copy
from math import ceil

import pytest
from workload_worlds import ADDITIONS, NAMES, filled, workload

from atoll.federation.errors import InvalidInput
from atoll.federation.workloads import (
    ADAPTERS,
    Additions,
    Engine,
    adapter_of,
    can_suspend,
    is_suspended,
    kinds_of,
    pod_groups,
    pod_selector,
    time_limit_of,
    with_additions,
    with_engine,
    with_suspend,
    with_time_limit,
)
from atoll.federation.workloads.groups import placed_groups
from atoll.federation.workloads.paths import first

# Example → its groups: role, pods at once, whether spec.gpu is meant for them.
GROUPS = {
    "job": [("pods", 4, True)],
    "pod": [("pod", 1, True)],
    "podlist": [("server", 1, True), ("client", 1, True)],
    "jobset": [("driver", 1, False), ("workers", 4, True)],
    "leaderworkerset": [("leader", 1, True), ("worker", 2, True)],
    "pytorchjob": [("worker", 3, True), ("master", 1, True)],
    "tfjob": [("ps", 1, False), ("worker", 2, True)],
    "xgboostjob": [("worker", 2, True), ("master", 1, True)],
    "paddlejob": [("worker", 2, True)],
    "jaxjob": [("worker", 2, True)],
    "mpijob-v1": [("worker", 2, True), ("launcher", 1, False)],
    "mpijob": [("worker", 2, True), ("launcher", 1, False)],
    "trainjob": [("node", 2, True)],
    "experiment": [("pods", 2, True)],
    "rayjob": [("head", 1, False), ("gpu", 2, True)],
    "raycluster": [("head", 1, False), ("gpu", 2, True)],
    "sparkapplication": [("driver", 1, False), ("executor", 3, True)],
    "flinkdeployment": [("jobmanager", 1, False), ("taskmanager", 2, True)],
    "workflow": [("step", 1, True)],
    "volcanojob": [("master", 1, True), ("worker", 2, True)],
    "other": [("member", 2, True)],
}


def changed(name, **spec):
    """Give an example with other fields in its spec."""
    given = copy.deepcopy(workload(name))
    given["spec"] |= spec
    return given


def counts(given):
    """Name how many pods of each role run at once."""
    return {group.role: group.count for group in pod_groups(given)}


@pytest.mark.parametrize("name", NAMES)
def test_the_pods_of_every_kind_are_found(name):
    """Every example has an expectation, and every kind an example."""
    assert [(group.role, group.count, group.takes_gpus) for group in pod_groups(workload(name))] == GROUPS[name]


def test_every_kind_has_an_example():
    """A kind without one would be held against no schema."""
    shown = {kind for name in NAMES for kind in kinds_of(workload(name))}
    assert shown >= set(ADAPTERS) - {("v1", "PodList")}
    assert kinds_of(workload("experiment")) == (("kubeflow.org/v1beta1", "Experiment"), ("batch/v1", "Job"))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_job_adds_stands_once_at_every_pod_and_nothing_is_changed_that_was_given(name):
    """Groups may share a place, such as the volumes of a Spark application; it is written once."""
    given = workload(name)
    before = copy.deepcopy(given)
    result = with_additions(given, ADDITIONS)
    assert given == before
    mounts = [found for _, found in find_all(result, "volumeMounts")]
    assert mounts and all(len(mount) == 1 and mount[0]["mountPath"] == "/data" for mount in mounts)
    asked = [int(value) for _, value in find_all(result, "nvidia.com/gpu")]
    asked += [int(value) for _, value in find_all(result, "quantity")]
    takers = [group for _, group in placed_groups(given) if group.takes_gpus]
    own = 1 if name == "jobset" else 2  # its workers name one themselves
    assert asked == [own] * len({group.path for group in takers})


def find_all(value, key):
    """Find a key at any depth."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield from [(name, child)] if name == key else find_all(child, key)
    elif isinstance(value, list):
        for child in value:
            yield from find_all(child, key)


@pytest.mark.parametrize("name", [name for name in NAMES if can_suspend(workload(name))])
def test_a_suspended_workload_is_seen_as_such_until_it_is_let_go(name):
    """One field says so, in every kind that has one."""
    suspended = with_suspend(workload(name), True)
    assert is_suspended(suspended)
    assert not is_suspended(with_suspend(suspended, False))
    assert not is_suspended(workload(name))


@pytest.mark.parametrize("name", ["volcanojob", "flinkdeployment", "leaderworkerset", "experiment", "podlist"])
def test_a_kind_without_such_a_field_is_not_suspended_by_mistake(name):
    """The caller is told, and not left with work that runs."""
    with pytest.raises(InvalidInput, match="cannot be suspended"):
        with_suspend(workload(name), True)


@pytest.mark.parametrize("name", NAMES)
def test_a_time_limit_is_read_as_it_was_written(name):
    """Into the kind's own field, or into an annotation for the agent."""
    limited = with_time_limit(workload(name), 90)
    assert time_limit_of(limited) == 90
    assert ("annotations" in limited["metadata"]) >= (adapter_of(limited).time_limit is None)
    assert time_limit_of(workload(name)) is None


def test_queues_of_batch_engines_stand_where_each_engine_looks():
    """Kueue on the object or on its pods, Volcano and YuniKorn in the pods, Spark in fields of its own."""
    label = "kueue.x-k8s.io/queue-name"
    assert with_engine(workload("rayjob"), Engine("Kueue", "gpu"))["metadata"]["labels"] == {label: "gpu"}
    flow = with_engine(workload("workflow"), Engine("Kueue", "gpu"))
    assert flow["spec"]["podMetadata"]["labels"] == {label: "gpu"}
    with pytest.raises(InvalidInput, match=r"Kueue does not know Job \(batch.volcano.sh/v1alpha1\)"):
        with_engine(workload("volcanojob"), Engine("Kueue", "gpu"))
    volcano = with_engine(workload("volcanojob"), Engine("Volcano", "gpu"))["spec"]
    assert (volcano["queue"], volcano["schedulerName"]) == ("gpu", "volcano")
    template = with_engine(workload("job"), Engine("YuniKorn", "root.gpu"))["spec"]["template"]
    assert template["spec"]["schedulerName"] == "yunikorn"
    assert template["metadata"]["labels"] == {"applicationId": "r-1", "queue": "root.gpu"}
    spark = with_engine(workload("sparkapplication"), Engine("Volcano", "gpu"))["spec"]
    assert (spark["batchScheduler"], spark["batchSchedulerOptions"]) == ("volcano", {"queue": "gpu"})


def test_pods_are_found_by_the_label_of_the_kind_or_else_of_the_run():
    """A TrainJob's pods are those of the JobSet that it becomes."""
    assert pod_selector(workload("job")) == "batch.kubernetes.io/job-name=r-1"
    assert pod_selector(workload("trainjob")) == "jobset.sigs.k8s.io/jobset-name=r-1"
    assert pod_selector(workload("rayjob")) == "atoll.dev/run=r-1"


def test_a_retry_is_never_the_workloads_own():
    """What fails is tried again as a new run, by the hub: nothing may try again by itself."""
    assert filled("job")["spec"]["backoffLimit"] == 0
    assert filled("rayjob")["spec"]["backoffLimit"] == 0
    assert filled("sparkapplication")["spec"]["restartPolicy"]["type"] == "Never"
    replicas = filled("mpijob")["spec"]["mpiReplicaSpecs"]
    assert {replica["restartPolicy"] for replica in replicas.values()} == {"Never"}
    jobset = filled("jobset")["spec"]
    assert jobset["failurePolicy"] == {"maxRestarts": 0}
    assert [each["template"]["spec"]["backoffLimit"] for each in jobset["replicatedJobs"]] == [0, 0]
    trial = filled("experiment")["spec"]["trialTemplate"]["trialSpec"]["spec"]
    assert (trial["backoffLimit"], trial["template"]["spec"]["restartPolicy"]) == (0, "Never")


def test_indexes_with_limits_of_their_own_fail_each_for_itself():
    """A limit of them all would end the others (KEP-3850)."""
    spec = with_additions(changed("job", backoffLimitPerIndex=3), Additions())["spec"]
    assert (spec["backoffLimit"], spec["backoffLimitPerIndex"]) == (2**31 - 1, 0)


def test_a_kind_that_scales_itself_counts_for_the_most_that_it_may_become():
    """No quota is exceeded by what a kind's own autoscaler does."""
    assert counts(changed("sparkapplication", dynamicAllocation={"enabled": True, "maxExecutors": 9})) == {
        "driver": 1,
        "executor": 9,
    }
    ray = changed("raycluster", enableInTreeAutoscaling=True)
    ray["spec"]["workerGroupSpecs"][0] |= {"maxReplicas": 7, "numOfHosts": 2}
    assert counts(ray)["gpu"] == 14
    ray["spec"]["enableInTreeAutoscaling"] = False
    ray["spec"]["workerGroupSpecs"][0] |= {"replicas": 1, "minReplicas": 3}
    assert counts(ray)["gpu"] == 6


def test_steps_of_a_workflow_are_as_many_at_once_as_it_says_and_each_as_large_as_the_largest():
    """Where it does not say, one for each step, and that is written, so that no more run than are counted."""
    given = workload("workflow")
    (group,) = pod_groups(given | {"spec": given["spec"] | {"parallelism": 3}})
    assert (group.count, group.pod["containers"][0]["resources"]["requests"]) == (
        3,
        {"cpu": "4000m", "memory": 8 << 30},
    )
    del given["spec"]["parallelism"]
    assert counts(given) == {"step": 2}
    assert with_additions(given, Additions())["spec"]["parallelism"] == 2


def test_memory_of_spark_and_flink_is_read_as_they_write_it():
    """`4g` is 4Gi there, and Spark adds what it needs beside the heap."""
    (driver, _) = pod_groups(workload("sparkapplication"))
    assert driver.pod["containers"][0]["resources"]["requests"] == {"cpu": 1, "memory": 2**30 + ceil(0.4 * 2**30)}
    own = changed(
        "sparkapplication", driver={"cores": 2, "coreRequest": "500m", "memory": "512m", "memoryOverhead": "1g"}
    )
    (driver, _) = pod_groups(own)
    assert driver.pod["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": 512 * 2**20 + 2**30}
    (jobmanager, _) = pod_groups(workload("flinkdeployment"))
    assert jobmanager.pod["containers"][0]["resources"]["requests"] == {"cpu": 1, "memory": 2 * 2**30}


def test_affinity_that_counted_before_still_counts():
    """A step that gets an affinity of its own would lose the workflow's."""
    mine = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {}}]}}
    steps = with_additions(changed("workflow", affinity=mine), ADDITIONS)["spec"]["templates"]
    affinity = steps[1]["affinity"]["nodeAffinity"]
    assert affinity["preferredDuringSchedulingIgnoredDuringExecution"] == [{"weight": 1, "preference": {}}]
    assert first(
        affinity, "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key"
    )


def test_a_kind_that_nobody_knows_says_by_annotations_where_everything_is():
    """docs/workloads.md has the words."""
    given = workload("other")
    assert is_suspended(with_suspend(given, True)) and with_suspend(given, True)["spec"]["paused"] is True
    bare = {**given, "metadata": {"name": "r-1"}}
    with pytest.raises(
        InvalidInput, match=r"of Ensemble \(example.org/v1\) nothing is known; known are Job \(batch/v1\)"
    ):
        pod_groups(bare)
