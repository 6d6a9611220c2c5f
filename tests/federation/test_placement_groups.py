"""Jobs of several groups of pods: all of them start on one cluster at once, and what is in the way names the group."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from placement_worlds import A100, GIB, NOW, apart, busy, cluster, demand, demands, node, worlds
from workload_worlds import NAMES, job

from atoll.federation.capacity import ResourceVector
from atoll.federation.placement import (
    Case,
    Occupation,
    PodDemand,
    choose,
    decide,
    demand_of_job,
    pods_of_job,
    view_of_cluster,
)
from atoll.federation.placement.feasible import feasible
from atoll.federation.queueing.amounts import Axes
from atoll.federation.resources import Cluster, Inventory, Job, Queue

GPU_POD = PodDemand(ResourceVector(4000, 16 * GIB, 1), ("A100",))
CPU_POD = PodDemand(ResourceVector(2000, 8 * GIB, 0))
MPI = ("kubeflow.org/v2beta1", "MPIJob")


def gang(workers=2, launchers=1, **fields):
    """Workers with GPUs and a launcher without."""
    wanted = demand(4, 16, 1, ("A100",), count=workers, **fields)
    return replace(wanted, beside=((CPU_POD, launchers),), roles=("worker", "launcher"))


def reasons_of(wanted, view):
    """Name why one cluster cannot take a job."""
    return [(each.reason, each.message) for each in decide(wanted, apart(view), decided_at=NOW).verdicts[0].reasons]


def test_all_groups_start_where_all_have_room_at_once():
    """The GPU node has room for the workers; the launcher needs the other one."""
    gpus = node(8, 32, 2, product=A100)
    made = decide(gang(), apart(cluster("small", gpus), cluster("large", gpus, node())), decided_at=NOW)
    assert (made.selected, made.starts_now) == ("large", True)
    (small,) = made.verdict("small").reasons
    assert small.reason == "GangTooLarge"
    assert small.message == "its nodes do not hold 2 worker and 1 launcher pods at once, even when empty"


LARGE = ((PodDemand(ResourceVector(2000, 24 * GIB, 0)), 1),)
REASONS = {
    "no GPU of the model": (gang(), cluster("c", node(64, 256)), "GpuModel", "for the worker pods, it has no A100"),
    "a launcher that is too large": (
        replace(gang(), beside=LARGE),
        cluster("c", node(5, 16, 1, product=A100, nodes=9)),
        "InsufficientMemory",
        "for the launcher pods, its largest suitable node has 16Gi of memory, a pod asks for 24Gi",
    ),
    "too few nodes for one group": (
        gang(),
        cluster("c", node(64, 256, 1, product=A100)),
        "TooFewNodes",
        "for the worker pods, its nodes hold 1 of the 2 pods at once",
    ),
    "work of others": (
        gang(),
        cluster("c", node(8, 32, 2, product=A100), node(used=ResourceVector(8000, 0, 0))),
        "CapacityInUse",
        "it has no room for all 2 worker and 1 launcher pods now",
    ),
}


@pytest.mark.parametrize(("wanted", "view", "reason", "message"), REASONS.values(), ids=REASONS)
def test_what_is_in_the_way_of_a_group_is_said_with_its_name(wanted, view, reason, message):
    """One reason, about the group that it concerns."""
    ((found, said),) = reasons_of(wanted, view)
    assert found == reason
    assert message in said


def test_a_job_waits_until_there_is_room_for_all_groups():
    """A run that ends later frees the launcher's place."""
    view = cluster(
        "c",
        node(8, 32, 2, product=A100),
        node(used=ResourceVector(8000, 0, 0)),
        occupations=(busy("lab/r", 300.0, 8),),
    )
    made = decide(gang(), apart(view), decided_at=NOW)
    assert (made.selected, made.terms.wait_seconds) == ("c", 300.0)


def test_a_run_of_several_groups_holds_what_all_of_them_hold_and_gives_it_back():
    """Two runs after one another: the second waits for the end of the first."""
    view = cluster("c", node(8, 32, 2, product=A100), node(4))
    taken = view.occupied(Occupation.of("lab/r", gang().pods, 60.0, is_counted=False))
    assert sum(shape.free.gpus * shape.nodes for shape in taken.shapes) == 0
    assert sum(shape.free.millicores * shape.nodes for shape in taken.shapes) == 2000
    assert decide(gang(), apart(taken), decided_at=NOW).terms.wait_seconds == 60.0


def test_a_cure_is_of_the_group_that_needs_it():
    """Fewer workers, the same launcher."""
    view = cluster("c", node(64, 256, 1, product=A100))
    (advice,) = decide(gang(), apart(view), decided_at=NOW).diagnosis
    assert advice.message == "run at most 1 worker pods at once"


def test_a_cluster_that_does_not_serve_the_kind_is_left_out_and_it_is_said_what_to_install():
    """An agent that does not say is taken to serve what every cluster has."""
    wanted = demand(kinds=(MPI,))
    views = (cluster("bare", node()), cluster("mpi", node(), workload_kinds=frozenset({MPI})))
    made = decide(wanted, apart(*views), decided_at=NOW)
    assert made.selected == "mpi"
    (reason,) = made.verdict("bare").reasons
    assert (reason.reason, reason.numbers["kinds"]) == ("KindNotServed", ["MPIJob (kubeflow.org/v2beta1)"])
    (advice,) = decide(wanted, apart(views[0]), decided_at=NOW).diagnosis
    assert advice.message == "install what provides MPIJob (kubeflow.org/v2beta1) in bare"


def test_what_an_agent_reports_as_served_is_what_counts():
    """None: nothing was said, so that Jobs and Pods are all; an empty list: not even those."""
    kinds = [{"apiVersion": MPI[0], "kind": MPI[1]}]

    def served(**inventory):
        found = Cluster.model_validate({"metadata": {"name": "c"}, "spec": {}})
        status = found.status.model_copy(update={"inventory": Inventory.model_validate(inventory)})
        return view_of_cluster(found.model_copy(update={"status": status})).workload_kinds

    assert served() == {("batch/v1", "Job"), ("v1", "Pod")}
    assert served(workloadKinds=kinds) == {MPI}
    assert served(workloadKinds=[]) == frozenset()


def test_a_queue_is_charged_for_all_groups():
    """GPUs by model only for the pods that may get them."""
    assert Axes(("A100",)).charge_all(gang().pods) == (2 * 4000 + 2000, (2 * 16 + 8) * GIB, 2, 2)


@pytest.mark.parametrize("name", NAMES)
def test_the_demand_of_every_kind_is_recorded_with_all_its_groups(name):
    """Groups that ask for the same are one; the one with GPUs stands first."""
    given_ = Job.model_validate(job(name))
    queue = Queue.model_validate({"metadata": {"name": "seismology"}, "spec": {}})
    wanted = demand_of_job(given_, queue, {})
    assert wanted.pods == pods_of_job(given_.spec)
    gpus = [pod.resources.gpus for pod, _ in wanted.pods]
    assert gpus == sorted(gpus, reverse=True)
    recorded = decide(wanted, apart(), decided_at=NOW).to_dict()["demand"]
    assert [each["role"] for each in recorded.get("groups", ())] == list(wanted.roles)
    assert len(wanted.roles) == (0 if len(wanted.pods) == 1 else len(wanted.pods))


@settings(max_examples=30, deadline=None)
@given(worlds(), demands())
def test_a_group_of_no_need_beside_changes_no_choice(table, wanted):
    """Looking at groups together is the same decision as looking at one, where the other asks for nothing."""
    nothing = PodDemand(ResourceVector())
    together = replace(wanted, beside=((nothing, 1),), roles=("work", "nothing"))
    alone_case, case = Case(wanted, table), Case(together, table)
    has_nodes = [any(shape.nodes for shape in view.shapes) for view in table.views]
    for alone, both, some in zip(feasible(alone_case), feasible(case), has_nodes, strict=True):
        assert alone == both or not some
    if all(has_nodes):
        assert choose(alone_case).selected == choose(case).selected


@settings(max_examples=30, deadline=None)
@given(worlds(with_runs=False), demands(), st.integers(1, 3))
def test_what_starts_now_has_room_for_every_pod_of_every_group(table, wanted, more):
    """The gang is proven on node shapes: taking all groups leaves none without a place."""
    together = replace(wanted, beside=((CPU_POD, more),), roles=("a", "b"))
    selected = choose(Case(together, table)).selected
    if selected is None:
        return
    view = table.views[selected]
    before = sum((shape.free * shape.nodes for shape in view.shapes), ResourceVector())
    after = sum(
        (s.free * s.nodes for s in view.occupied(Occupation.of("r", together.pods, 1.0, is_counted=False)).shapes),
        ResourceVector(),
    )
    assert before - after == sum((pod.resources * count for pod, count in together.pods), ResourceVector())
