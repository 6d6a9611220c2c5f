"""The decision: terms in seconds, ties, GPU speeds, the record, and the advice."""

import json
from collections import Counter
from datetime import UTC, datetime

import pytest
from placement_worlds import A100, GIB, H100, NOW, T4, apart, busy, cluster, dataset, demand, meshed, node

from atoll.federation.capacity import ResourceVector
from atoll.federation.mesh import Uplink
from atoll.federation.placement import (
    StorageView,
    decide,
    decided_at,
    outline,
    recorded_source,
    recorded_terms,
    relative_speed,
)
from atoll.federation.resources import LabelSelector
from atoll.federation.resources.cluster import Costs


def decided(wanted, *views, join=meshed):
    """Decide between clusters that are all linked."""
    return decide(wanted, join(*views), decided_at=NOW)


def test_the_job_goes_to_its_data_when_moving_it_takes_longer_than_it_saves():
    """A faster GPU elsewhere is worth only so much staging."""
    onprem, cloud = cluster("onprem", node(gpus=1, product=A100)), cluster("cloud", node(gpus=1, product=H100))
    near = demand(gpus=1, models=("A100", "H100"), inputs=(dataset("waves", 200 * 10**9, "onprem"),))
    assert decided(near, onprem, cloud).selected == "onprem"
    light = demand(gpus=1, models=("A100", "H100"), inputs=(dataset("waves", 10**9, "onprem"),))
    assert decided(light, onprem, cloud).selected == "cloud"


def test_the_terms_are_the_seconds_of_each_step():
    """Staging is round trip plus bytes over the narrower uplink; money becomes seconds at the queue's rate."""
    costs = Costs(gpu_hour=3.6, cpu_hour=0.36, egress_gib=0.5)
    holder = cluster("holder", node(), is_cordoned=True, costs=costs, uplink=Uplink(10**8, 0.1))
    here = cluster("here", node(gpus=2, product=A100), costs=costs, uplink=Uplink(10**9, 0.2))
    wanted = demand(
        2, gpus=2, models=("A100",), inputs=(dataset("waves", 2 * GIB, "holder"),), seconds_per_currency=10.0
    )
    terms = decided(wanted, holder, here).terms
    assert terms.wait_seconds == 0
    assert terms.staging_seconds == pytest.approx(0.3 + 2 * GIB / 10**8)
    assert terms.run_seconds == pytest.approx(1000)
    assert terms.money == pytest.approx(2 * 0.5 + (2 * 3.6 + 2 * 0.36) * 1000 / 3600)
    assert terms.money_seconds == pytest.approx(terms.money * 10)
    assert terms.total_seconds == pytest.approx(1.5 * terms.staging_seconds + 1000 + terms.money_seconds)


@pytest.mark.parametrize(("size", "longer"), [(10**9, "wait"), (10**12, "staging")])
def test_waiting_and_staging_overlap(size, longer):
    """The longer of both counts, not their sum."""
    runs = (busy("lab/r-1", 60, cpus=8),)
    here = cluster("here", node(used=ResourceVector(8000)), occupations=runs)
    made = decided(demand(inputs=(dataset("waves", size, "far"),)), here, cluster("far", node(), is_cordoned=True))
    terms = made.terms
    assert max(terms.wait_seconds, terms.staging_seconds) == getattr(terms, f"{longer}_seconds")
    assert terms.total_seconds == pytest.approx(getattr(terms, f"{longer}_seconds") + 1000 + terms.idle_seconds)


def test_a_job_that_ends_a_little_sooner_elsewhere_does_not_make_a_room_stand_idle_for_it():
    """With 60 s of wait beside the data, 100 s of staging are dearer than waiting; 20 s are not."""
    full = cluster("full", node(used=ResourceVector(8000)), occupations=(busy("lab/r-1", 60, cpus=8),))
    for seconds, selected in ((20, "free"), (39, "free"), (41, "full"), (100, "full")):
        near = demand(inputs=(dataset("waves", seconds * 125 * 10**6, "full"),))
        made = decided(near, full, cluster("free", node()))
        assert made.selected == selected
        assert made.verdict("free").terms.idle_seconds == pytest.approx(seconds / 2)
        assert made.verdict("free").terms.done_seconds == pytest.approx(seconds + 1000)


@pytest.mark.parametrize("wait", [10, 60, 99, 101, 500])
def test_a_longer_wait_never_makes_a_cluster_look_better(wait):
    """The price of staging is the same however long the wait is: totals order clusters as their waits do."""
    far, inputs = cluster("far", node(), is_cordoned=True), (dataset("waves", 125 * 10**8, "far"),)
    later = cluster("here", node(used=ResourceVector(8000)), occupations=(busy("lab/r-1", wait, cpus=8),))
    sooner = cluster("here", node(used=ResourceVector(8000)), occupations=(busy("lab/r-1", wait - 10, cpus=8),))
    totals = [decided(demand(inputs=inputs), here, far).terms.total_seconds for here in (sooner, later)]
    assert totals == sorted(totals)


def test_an_input_comes_from_the_replica_that_is_cheapest_per_byte():
    """A dear egress is avoided when the queue's time is cheap, and the record says where each input comes from."""
    fast = cluster("fast", node(), is_cordoned=True, costs=Costs(egress_gib=1.0), uplink=Uplink(10**9))
    slow = cluster("slow", node(), is_cordoned=True, uplink=Uplink(10**8))
    here = cluster("here", node(), uplink=Uplink(10**9))
    inputs = (dataset("waves", 10 * GIB, "fast", "slow"),)
    hurried = decided(demand(inputs=inputs, seconds_per_currency=0.0), fast, slow, here)
    thrifty = decided(demand(inputs=inputs, seconds_per_currency=600.0), fast, slow, here)
    assert hurried.verdict("here").staging[0].source == "fast"
    assert thrifty.verdict("here").staging[0].source == "slow"
    assert thrifty.terms.money == 0


def test_equal_clusters_share_the_jobs():
    """Ties are spread by job and cluster: twelve clusters all get work, and the same job always goes the same way."""
    views = [cluster(f"c{number}", node()) for number in range(12)]
    where = [decided(demand(job=f"lab/job-{number}"), *views, join=apart).selected for number in range(240)]
    shares = Counter(where)
    assert len(shares) == 12
    assert max(shares.values()) < 3 * 240 / 12
    again = [decided(demand(job=f"lab/job-{number}"), *views, join=apart).selected for number in range(240)]
    assert again == where


SPEEDS = {
    "the reference": (A100, 1.0, 1.0),
    "a product's own row before its family's": ("NVIDIA-A100-SXM4-80GB", 1.05, 1.2),
    "a newer model": (H100, 2.0, 3.5),
    "an older model": ("Tesla-V100-SXM2-16GB", 0.5, 0.9),
    "an inference model": (T4, 0.2, 0.4),
}


@pytest.mark.parametrize(("product", "at_least", "at_most"), SPEEDS.values(), ids=SPEEDS)
def test_gpu_speeds_are_in_the_range_that_data_sheets_give(product, at_least, at_most):
    """Relative speeds order the models as their data sheets do."""
    assert at_least <= relative_speed(product) <= at_most


@pytest.mark.parametrize("product", ["ACME-X1", "", "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"])
def test_a_gpu_without_data_sheet_has_no_speed(product):
    """Unknown models and parts of GPUs are not guessed at."""
    assert relative_speed(product) is None


def test_an_unknown_gpu_is_taken_as_equally_fast_and_the_record_says_so():
    """No published speed: factor 1.0, with a note that names the product."""
    made = decided(demand(gpus=1), cluster("c", node(gpus=1, product="ACME-X1")))
    assert made.terms.run_seconds == 1000
    assert made.verdicts[0].relative_speed == 1.0
    assert made.verdicts[0].notes == ("no published speed of ACME-X1 is known: 1.0 is taken for it",)


def test_the_expected_duration_is_meant_on_the_first_named_model():
    """A job that names T4 first ends sooner on an A100, by the ratio of both speeds."""
    made = decided(demand(gpus=1, models=("T4", "A100")), cluster("c", node(gpus=1, product=A100)))
    assert made.terms.run_seconds == pytest.approx(1000 * relative_speed("T4"))


def test_a_cluster_is_as_fast_as_its_slowest_suitable_gpu():
    """The member's scheduler may choose any node, so the estimate does not count on the best one."""
    mixed = cluster("c", node(gpus=1, product=A100), node(gpus=1, product=T4))
    assert decided(demand(gpus=1), mixed).terms.run_seconds == pytest.approx(1000 / relative_speed("T4"))


@pytest.mark.parametrize(
    ("source", "note"),
    [("timeLimit", "spec.timeLimit is taken"), ("default", "1000 s is taken"), ("expectedDuration", None)],
)
def test_a_guessed_duration_is_noted(source, note):
    """The record says what stood in for an expected duration."""
    notes = decided(demand(duration_source=source), cluster("c", node())).verdicts[0].notes
    assert [note in text for text in notes] == [True] if note else not notes


def test_a_job_without_gpus_is_placed_likewise():
    """CPU and memory alone decide; the GPU speed says nothing."""
    made = decided(
        demand(4, 16), cluster("small", node(cpus=2)), cluster("large", node(cpus=16), node(gpus=1, product=T4))
    )
    assert made.selected == "large"
    assert made.terms.run_seconds == 1000


def test_no_clusters_give_an_empty_decision():
    """A federation without clusters selects nothing and has nothing to say."""
    made = decided(demand(), join=apart)
    assert (made.selected, made.verdicts, made.diagnosis) == (None, (), ())


def test_the_record_is_the_documented_json():
    """to_dict gives exactly what the module's docstring describes, ready to be stored."""
    at = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
    views = (cluster("onprem", node(gpus=1, product=A100)), cluster("lab", node()))
    wanted = demand(gpus=1, models=("A100",), inputs=(dataset("waves", 5, "lab"),), seconds_per_currency=60.0)
    record = decide(wanted, meshed(*views), decided_at=at).to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record == {
        "job": "lab/picks",
        "decidedAt": "2026-11-22T18:00:00Z",
        "selected": "onprem",
        "startsNow": True,
        "demand": {
            "pods": 1, "millicores": 1000, "memoryBytes": GIB, "gpus": 1, "gpuModels": ["A100"], "gpuMemoryBytes": 0,
            "durationSeconds": 1000.0, "durationSource": "expectedDuration", "durationGpu": "A100",
            "secondsPerCurrency": 60.0,
            "inputs": [{"dataset": "lab/waves", "version": 1, "bytes": 5, "replicas": ["lab"]}],
        },
        "clusters": [
            {
                "cluster": "onprem", "isFeasible": True, "relativeSpeed": 1.0, "reasons": [], "notes": [],
                "terms": {
                    "waitSeconds": 0.0, "stagingSeconds": 0.0, "runSeconds": 1000.0, "money": 0.0,
                    "moneySeconds": 0.0, "idleSeconds": 0.0, "totalSeconds": 1000.0,
                },
                "staging": [
                    {
                        "dataset": "lab/waves", "bytes": 5, "source": "lab", "seconds": 0.0,
                        "rate": {"bytesPerSecond": 125_000_000, "rateSource": "declared", "sharing": 0},
                    }
                ],
            },
            {
                "cluster": "lab", "isFeasible": False, "staging": [], "notes": [],
                "reasons": [{
                    "reason": "GpuModel", "message": "it has no A100: none of its nodes has a GPU",
                    "numbers": {"wants": ["A100"], "has": []},
                }],
            },
        ],
        "omitted": {},
        "diagnosis": [],
    }  # fmt: skip


def test_where_an_input_comes_from_can_be_read_back():
    """By cluster and dataset; a record that people wrote, or one that does not say, names nobody."""
    made = decided(demand(inputs=(dataset("waves", 5, "far"),)), cluster("a", node()), cluster("far", is_cordoned=True))
    record = made.to_dict()
    assert recorded_source(record, "a", "lab/waves") == "far"
    assert recorded_source(record, "a", "lab/other") is recorded_source(record, "far", "lab/waves") is None
    forged = [{}, {"clusters": 7}, {"clusters": [7]}, {"clusters": [{"cluster": "a", "staging": "x"}]}]
    forged.append({"clusters": [{"cluster": "a", "staging": [{"dataset": "lab/waves", "source": 7}]}]})
    assert [recorded_source(each, "a", "lab/waves") for each in forged] == [None] * len(forged)


def test_recorded_terms_are_found_by_cluster():
    """The terms of a stored record can be read back; an unknown cluster or an empty record has none."""
    record = decided(demand(), cluster("a", node())).to_dict()
    assert recorded_terms(record, "a")["runSeconds"] == 1000
    assert recorded_terms(record, "b") == recorded_terms({}, "a") == {}


ODD_RECORDS = [
    {"clusters": [{"cluster": "a", "reasons": ["x", 3]}, {"cluster": "b", "reasons": 7}]},
    {},
    {"clusters": 3},
    {"clusters": ["x", {"cluster": "a", "terms": 5}]},
    {"clusters": [{"terms": {"runSeconds": "x"}}]},
]


@pytest.mark.parametrize("record", ODD_RECORDS, ids=repr)
def test_a_record_that_somebody_else_wrote_is_read_without_harm(record):
    """Records live in objects that people may write: what is not there is not known, and nothing is raised."""
    assert recorded_terms(record, "a") == {}
    assert outline(record) != outline(decided(demand(), cluster("a", node())).to_dict())
    assert decided_at(record) is None
    assert decided_at({"decidedAt": "2026-11-22T18:00:00Z"}) == NOW
    assert decided_at({"decidedAt": "yesterday"}) is decided_at({"decidedAt": "2026-11-22T18:00:00"}) is None


def test_an_outline_ignores_numbers_and_keeps_reasons():
    """Two decisions that differ only in seconds say the same; another reason does not."""
    first = decided(demand(duration_seconds=10.0), cluster("a", node())).to_dict()
    second = decided(demand(duration_seconds=20.0), cluster("a", node())).to_dict()
    cordoned = decided(demand(), cluster("a", node(), is_cordoned=True)).to_dict()
    assert outline(first) == outline(second) != outline(cordoned)


def test_a_record_of_many_clusters_keeps_the_interesting_ones():
    """Beyond 64 clusters the record counts the rest by reason; the selected one is always in it."""
    views = [cluster(f"c{number:03}", node(), is_cordoned=number != 77) for number in range(100)]
    made = decided(demand(), *views, join=apart)
    assert made.selected == made.verdicts[0].cluster == "c077"
    assert len(made.verdicts) == 64
    assert made.omitted == {"Cordoned": 36}


ADVICE = {
    "a cordon": (demand(), cluster("c", node(), is_cordoned=True), ["Cordoned"], "uncordon c", 1000),
    "another GPU": (
        demand(gpus=1, models=("A100",)),
        cluster("c", node(gpus=1, product=T4)),
        ["GpuModel"],
        "allow Tesla-T4 in spec.gpu.models",
        1000 / (relative_speed("T4") or 0),
    ),
    "another GPU with less memory": (
        demand(gpus=1, models=("A100",), gpu_memory_bytes=32 * GIB),
        cluster("c", node(gpus=1, product=T4, gpu_gib=16)),
        ["GpuModel", "GpuMemory"],
        "allow Tesla-T4 in spec.gpu.models; ask for 16Gi in spec.gpu.memory",
        None,
    ),
    "labels": (
        demand(clusters=LabelSelector(match_labels={"region": "eu"})),
        cluster("c", node()),
        ["LabelMismatch"],
        "do not ask for region=eu in spec.placement.clusters",
        1000,
    ),
    "fewer GPUs": (
        demand(gpus=8),
        cluster("c", node(gpus=4, product=A100)),
        ["InsufficientGpus"],
        "ask for at most 4 GPUs per pod",
        None,
    ),
    "fewer pods": (
        demand(8, count=3),
        cluster("c", node(nodes=2)),
        ["TooFewNodes"],
        "run at most 2 pods at once (parallelism)",
        None,
    ),
    "capacity": (
        demand(gpus=2),
        cluster("c", node(gpus=4, product=A100, used=ResourceVector(gpus=4))),
        ["CapacityInUse"],
        f"free 2 {A100} in c",
        1000,
    ),
    "a storage class": (
        demand(outputs=("o",)),
        cluster("c", node(), storage=None),
        ["NoStorageClass"],
        "give c a default StorageClass",
        1000,
    ),
    "an agent": (
        demand(),
        cluster("c", node(), phase="Unreachable", lost_since=NOW),
        ["ClusterNotReady"],
        "bring back the agent of c",
        1000,
    ),
    "a cluster that sleeps": (
        demand(),
        cluster("c", node(), phase="Asleep", wakes_at=NOW),
        ["ClusterAsleep"],
        "wake c, which sleeps until 2026-11-22T18:00+00:00",
        1000,
    ),
    "a device that sleeps": (demand(), cluster("c", node(), phase="Asleep"), ["ClusterAsleep"], "wake c", 1000),
    "an API server": (
        demand(),
        cluster("c", node(), phase="Degraded", trouble="API refuses"),
        ["ClusterNotReady"],
        "mend c (API refuses)",
        1000,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("wanted", "view", "changes", "message", "total"), ADVICE.values(), ids=ADVICE)
def test_the_change_that_would_help_is_named(wanted, view, changes, message, total):
    """Each obstacle that can be removed has its advice; seconds are claimed only where the job stays the same."""
    made = decided(wanted, view, join=apart)
    assert made.selected is None
    (suggestion,) = made.diagnosis
    assert (list(suggestion.changes), suggestion.message) == (changes, message)
    assert suggestion.total_seconds == (None if total is None else pytest.approx(total))
    assert suggestion.saves_seconds is None


def test_links_and_storage_are_advised_on_where_data_must_move():
    """A missing link and a full volume are named with the clusters and bytes."""
    wanted = demand(gpus=1, inputs=(dataset("waves", 5 * GIB, "holder"),))
    here = cluster("here", node(gpus=1, product=A100), storage=StorageView("csi", GIB))
    (suggestion,) = decided(wanted, here, cluster("holder", node()), join=apart).diagnosis
    assert suggestion.message == "free 4Gi of storage class csi in here; connect here and holder in the mesh"


@pytest.mark.parametrize(
    ("wanted", "view"),
    [
        (demand(residency=("eu",)), cluster("c", node(), residency=("us",))),
        (demand(inputs=(dataset("waves", 1, "holder", residency=("eu",)),)), cluster("c", node())),
    ],
)
def test_rules_about_where_data_may_be_are_never_advised_away(wanted, view):
    """Residency is a rule, not an obstacle: nothing is suggested."""
    holder = cluster("holder", phase="Ready", residency=("eu",))
    assert decided(wanted, view, holder).diagnosis == ()


def test_what_would_be_sooner_is_said_even_when_the_job_is_placed():
    """A cordoned cluster that holds the data would save the staging and its price; the record says how much."""
    holder, here = cluster("holder", node(), is_cordoned=True), cluster("here", node())
    made = decided(demand(inputs=(dataset("waves", 125 * 10**8, "holder"),)), holder, here)
    assert made.selected == "here"
    (suggestion,) = made.diagnosis
    assert suggestion.message == "uncordon holder"
    assert suggestion.saves_seconds == pytest.approx(100 + 50)


def test_the_cheapest_change_comes_first():
    """What the submitter can change stands before what an operator must do, and that before more capacity."""
    full = cluster("full", node(gpus=1, product=A100, used=ResourceVector(gpus=1)))
    cordoned = cluster("cordoned", node(gpus=1, product=A100), is_cordoned=True)
    other = cluster("other", node(gpus=1, product=T4))
    made = decided(demand(gpus=1, models=("A100",)), full, cordoned, other, join=apart)
    assert [suggestion.cluster for suggestion in made.diagnosis] == ["other", "cordoned", "full"]


def test_of_equally_cheap_replicas_the_nearer_is_read():
    """Equal price per byte: the shorter round trip decides, in whatever order the replicas are named."""
    far, near = (
        cluster(name, node(), is_cordoned=True, uplink=Uplink(10**8, trip))
        for name, trip in (("a-far", 0.3), ("b-near", 0.1))
    )
    wanted = demand(inputs=(dataset("waves", GIB, "a-far", "b-near"),))
    made = decided(wanted, far, near, cluster("here", node(), uplink=Uplink(10**8)))
    assert made.verdict("here").staging[0].source == "b-near"
