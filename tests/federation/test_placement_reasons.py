"""Why a cluster cannot take a job: one reason per obstacle, with a sentence and the numbers behind it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from placement_worlds import A100, GIB, NOW, T4, apart, busy, cluster, dataset, demand, meshed, node, ready_link

from atoll.federation.capacity import ResourceVector
from atoll.federation.placement import Links, StorageView, decide
from atoll.federation.resources import LabelSelector
from atoll.federation.resources.base import SelectorRequirement

GPU_NODE = node(gpus=4, product=A100)
ZONE = ("topology.kubernetes.io/zone", "eu-1")

REASONS = {
    "an agent that was never heard": (
        demand(),
        cluster("c", node(), phase="Pending"),
        "ClusterNotReady",
        "not reported yet",
    ),
    "an agent that fell silent": (
        demand(),
        cluster("c", node(), phase="Unreachable", lost_since=NOW),
        "ClusterNotReady",
        "not heard since 2026-11-22T18:00:00",
    ),
    "an API server in trouble": (
        demand(),
        cluster("c", node(), phase="Degraded", trouble="the API server refuses"),
        "ClusterNotReady",
        "the API server refuses",
    ),
    "sleep by a schedule": (
        demand(),
        cluster("c", node(), phase="Asleep", trouble="asleep by its schedule until Mon", wakes_at=NOW),
        "ClusterAsleep",
        "asleep by its schedule until Mon",
    ),
    "a cordon": (demand(), cluster("c", node(), is_cordoned=True), "Cordoned", "cordoned"),
    "a farewell": (demand(), cluster("c", node(), is_leaving=True), "ClusterLeaving", "leaving the federation"),
    "a label that differs": (
        demand(clusters=LabelSelector(match_labels={"region": "eu"})),
        cluster("c", node(), labels={"region": "us"}),
        "LabelMismatch",
        "region=eu",
    ),
    "a label that must be absent": (
        demand(clusters=LabelSelector(match_expressions=(SelectorRequirement(key="test", operator="DoesNotExist"),))),
        cluster("c", node(), labels={"test": "1"}),
        "LabelMismatch",
        "!test",
    ),
    "another jurisdiction": (
        demand(residency=("eu",)),
        cluster("c", node(), residency=("us",)),
        "Residency",
        "it is in us; spec.placement.residency wants eu",
    ),
    "no declared jurisdiction": (demand(residency=("eu",)), cluster("c", node()), "Residency", "declares no residency"),
    "a device that nobody reports": (
        demand(unknown_resources=("amd.com/gpu",)),
        cluster("c", node()),
        "UnknownResource",
        "amd.com/gpu",
    ),
    "no nodes": (demand(), cluster("c"), "NoNodes", "no ready nodes"),
    "another GPU model": (
        demand(gpus=1, models=("H100", "A100")),
        cluster("c", node(gpus=1, product=T4)),
        "GpuModel",
        "it has no H100 or A100: its GPUs are Tesla-T4",
    ),
    "no GPU at all": (demand(gpus=1), cluster("c", node()), "GpuModel", "it has no GPU: none of its nodes has a GPU"),
    "too little GPU memory": (
        demand(gpus=1, gpu_memory_bytes=80 * GIB),
        cluster("c", GPU_NODE),
        "GpuMemory",
        "have 40Gi of memory, 80Gi is asked for",
    ),
    "unknown GPU memory": (
        demand(gpus=1, gpu_memory_bytes=80 * GIB),
        cluster("c", node(gpus=1, product=A100, gpu_gib=0)),
        "GpuMemory",
        "does not report the memory",
    ),
    "a node selector": (
        demand(node_labels=frozenset({ZONE})),
        cluster("c", node(labels=[("topology.kubernetes.io/zone", "eu-2")])),
        "NodeSelector",
        "topology.kubernetes.io/zone=eu-1",
    ),
    "more GPUs than any node has": (
        demand(gpus=8),
        cluster("c", GPU_NODE),
        "InsufficientGpus",
        "has 4 GPUs, a pod asks for 8 GPUs",
    ),
    "more cores than any node has": (
        demand(cpus=9),
        cluster("c", node()),
        "InsufficientCpu",
        "has 8 CPU, a pod asks for 9 CPU",
    ),
    "more memory than any node has": (
        demand(memory_gib=64),
        cluster("c", node()),
        "InsufficientMemory",
        "has 32Gi of memory, a pod asks for 64Gi of memory",
    ),
    "no node that has both": (
        demand(cpus=8, memory_gib=64),
        cluster("c", node(cpus=8, memory_gib=4), node(cpus=2, memory_gib=64)),
        "NodeShape",
        "no single node has all",
    ),
    "a gang larger than the cluster": (
        demand(cpus=5, count=4),
        cluster("c", node(nodes=3)),
        "TooFewNodes",
        "hold 3 of the 4 pods",
    ),
    "full, and nobody knows for how long": (
        demand(cpus=4, count=2),
        cluster("c", node(used=ResourceVector(3000))),
        "CapacityInUse",
        "room for 1 of 2 pods",
    ),
    "no default storage class": (
        demand(outputs=("o",)),
        cluster("c", node(), storage=None),
        "NoStorageClass",
        "no default",
    ),
    "the chosen storage class is missing": (
        demand(outputs=("o",)),
        cluster("c", node(), storage=None, wanted_storage_class="fast"),
        "NoStorageClass",
        "no StorageClass fast",
    ),
}


@pytest.mark.parametrize(("wanted", "view", "reason", "message"), REASONS.values(), ids=REASONS)
def test_an_obstacle_is_the_only_reason_that_is_given(wanted, view, reason, message):
    """One thing in the way gives one reason: its word and a sentence with the numbers."""
    made = decide(wanted, apart(view), decided_at=NOW)
    assert made.selected is None
    (verdict,) = made.verdicts
    assert [found.reason for found in verdict.reasons] == [reason]
    assert message in verdict.reasons[0].message


def test_every_reason_is_given_not_only_the_first():
    """A cluster with three obstacles names all three."""
    view = cluster("c", node(), is_cordoned=True, residency=("us",))
    made = decide(demand(gpus=1, residency=("eu",)), apart(view), decided_at=NOW)
    assert [reason.reason for reason in made.verdicts[0].reasons] == ["Cordoned", "Residency", "GpuModel"]


def two(here, *, wanted, join=meshed):
    """Decide between `here` and a cordoned cluster that holds the data; give the verdict on `here`."""
    holder = cluster("holder", node(), is_cordoned=True)
    return decide(wanted, join(here, holder), decided_at=NOW).verdict("here")


DATA = demand(inputs=(dataset("waves", 5 * GIB, "holder"),))


def test_data_that_may_not_leave_its_jurisdiction_keeps_a_cluster_out():
    """A dataset's residency counts where it would have to be copied to."""
    kept = demand(inputs=(dataset("waves", GIB, "holder", residency=("eu",)),))
    verdict = two(cluster("here", node(), residency=("us",)), wanted=kept)
    assert [reason.reason for reason in verdict.reasons] == ["DatasetResidency"]
    assert "lab/waves must stay in eu, and it is in us" in verdict.reasons[0].message
    assert two(cluster("here", node(), residency=("eu", "de")), wanted=kept).is_feasible


def test_data_that_is_there_already_may_be_read_there():
    """A cluster that holds a copy is not asked about the dataset's residency."""
    kept = demand(inputs=(dataset("waves", GIB, "here", residency=("eu",)),))
    assert two(cluster("here", node(), residency=("us",)), wanted=kept).is_feasible


def test_a_volume_too_small_for_the_inputs_is_a_reason():
    """What has to be copied must fit into what the storage class has left."""
    verdict = two(cluster("here", node(), storage=StorageView("csi", GIB)), wanted=DATA)
    assert [reason.reason for reason in verdict.reasons] == ["StorageFull"]
    assert "has 1Gi left" in verdict.reasons[0].message
    assert "take 5Gi" in verdict.reasons[0].message
    assert two(cluster("here", node(), storage=StorageView("csi", 5 * GIB)), wanted=DATA).is_feasible


def test_without_a_link_the_data_cannot_come():
    """No ready mesh link to any replica is a reason that names each link's state."""
    verdict = two(cluster("here", node()), wanted=DATA, join=apart)
    assert [reason.reason for reason in verdict.reasons] == ["NoMeshLink"]
    assert "holder: Unknown, here and holder reported no link" in verdict.reasons[0].message


def test_a_link_that_was_not_proven_lately_does_not_count():
    """A link is judged at the time of the decision, by the age of its proof."""
    links = {"here": ("holder", NOW - timedelta(minutes=6)), "holder": ("here", NOW)}
    views = [
        cluster(name, node(), links={peer: ready_link(peer).model_copy(update={"last_proven_at": proven})})
        for name, (peer, proven) in links.items()
    ]
    made = decide(DATA, apart(*views), decided_at=NOW)
    assert "holder: Stale, the link was last proven 360 s ago" in made.verdict("here").reasons[0].message
    assert made.selected == "holder"


def test_a_replica_in_a_silent_cluster_cannot_be_read():
    """The cluster that holds the data must be heard itself."""
    views = (cluster("here", node()), cluster("holder", node(), phase="Unreachable", lost_since=NOW))
    verdict = decide(DATA, meshed(*views), decided_at=NOW).verdict("here")
    assert "holder: not heard itself" in verdict.reasons[0].message


def test_data_that_is_nowhere_keeps_every_cluster_out():
    """A dataset without a known replica cannot be read anywhere."""
    lost = demand(inputs=(dataset("waves", GIB, "retired"),))
    made = decide(lost, meshed(cluster("a", node()), cluster("b", node())), decided_at=NOW)
    assert {reason.reason for verdict in made.verdicts for reason in verdict.reasons} == {"NoReplica"}


def test_absurd_numbers_from_one_agent_or_job_do_no_harm():
    """Amounts beyond 64 bits are compared as very many, and the other clusters stay as they are."""
    monster = cluster("monster", node(cpus=2**70, memory_gib=2**70, nodes=2**70))
    made = decide(demand(cpus=2**60, memory_gib=2**40), apart(monster, cluster("small", node())), decided_at=NOW)
    assert made.verdict("small").reasons
    assert decide(demand(), apart(monster, cluster("small", node())), decided_at=NOW).selected is not None


def test_supposing_a_link_changes_only_the_question():
    """Links that are supposed for a what-if are ready in the copy, not in the original."""
    views = [cluster("a", node()), cluster("b", node())]
    links = Links.of(views, NOW)
    assert links.supposing("a", "b").between("b", "a").is_usable
    assert not links.between("a", "b").is_usable


def test_a_run_that_holds_the_cluster_makes_it_wait_not_infeasible():
    """Where the run in the way has an expected end, the cluster stays feasible, with the wait as a term."""
    held = cluster("c", node(used=ResourceVector(8000)), occupations=(busy("lab/r-1", 90, cpus=8),))
    made = decide(demand(cpus=4), apart(held), decided_at=NOW)
    assert made.selected == "c"
    assert not made.starts_now
    assert made.terms.wait_seconds == 90


def test_a_gang_waits_for_as_many_ends_as_it_needs():
    """Two of three runs must end before two pods have room; the third does not matter."""
    runs = [busy(f"lab/r-{number}", 100 * number, cpus=4) for number in (1, 2, 3)]
    held = cluster("c", node(cpus=4, nodes=3, used=ResourceVector(4000)), occupations=tuple(runs))
    assert decide(demand(cpus=3, count=2), apart(held), decided_at=NOW).terms.wait_seconds == 200


def test_a_view_takes_runs_that_were_not_reported_out_of_what_is_free():
    """An occupation that the agent has not counted is subtracted by the hub."""
    run = replace(busy("lab/r-1", 50, cpus=6), is_counted=False)
    view = cluster("c", node()).occupied(run)
    made = decide(demand(cpus=4), apart(view), decided_at=NOW)
    assert made.terms.wait_seconds == 50


def test_a_wait_is_estimated_anew_when_the_clusters_occupation_changes():
    """The table remembers waits, but not beyond a change of the cluster that they are about."""
    full = node(used=ResourceVector(8000))
    a, b = (cluster(name, full, occupations=(busy("lab/r-1", 90, cpus=8),)) for name in ("a", "b"))
    table = apart(a, b)
    before = decide(demand(cpus=4), table, decided_at=NOW)
    assert {verdict.terms.wait_seconds for verdict in before.verdicts} == {90}
    later = table.with_occupied(replace(a, occupations=(busy("lab/r-1", 500, cpus=8),)))
    after = decide(demand(cpus=4), later, decided_at=NOW)
    assert after.verdict("a").terms.wait_seconds == 500
    assert after.verdict("b").terms.wait_seconds == 90
    assert decide(demand(cpus=4), table, decided_at=NOW) == before
