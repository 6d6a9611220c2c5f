"""Clusters and demands for placement tests: short builders, random worlds, and a plain model of the decision."""

from datetime import UTC, datetime
from math import inf

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from atoll.federation.capacity import ResourceVector, Shape, gpu_matches, room
from atoll.federation.mesh import Uplink
from atoll.federation.placement import (
    ClusterTable,
    ClusterView,
    Demand,
    InputDemand,
    Links,
    Occupation,
    PodDemand,
    StorageView,
    relative_speed,
)
from atoll.federation.resources import LabelSelector, MeshLink
from atoll.federation.resources.cluster import Costs

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
GIB = 2**30
# Time limits per example would measure what else the machine is doing.
PROPERTY = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_NOTHING = ResourceVector()
A100, H100, T4 = "NVIDIA-A100-SXM4-40GB", "NVIDIA-H100-80GB-HBM3", "Tesla-T4"


def node(cpus=8, memory_gib=32, gpus=0, *, product=None, used=_NOTHING, nodes=1, gpu_gib=40, labels=()):
    """Describe equal nodes, part of each in use."""
    whole = ResourceVector(cpus * 1000, memory_gib * GIB, gpus)
    return Shape(nodes, whole - used, whole, product, gpu_gib * GIB if product else 0, frozenset(labels))


def cluster(name, *shapes, **fields):
    """See a cluster that has storage and is ready, unless fields say otherwise."""
    return ClusterView(name, shapes=shapes, **{"storage": StorageView("csi"), **fields})


def meshed(*views):
    """Join clusters by ready links, and lay them out."""
    names = [view.name for view in views]
    joined = [
        ClusterView(**{**vars(view), "links": {peer: ready_link(peer) for peer in names if peer != view.name}})
        for view in views
    ]
    return ClusterTable.of(joined, Links.of(joined, NOW))


def apart(*views):
    """Lay clusters out with the links that they have, or none."""
    return ClusterTable.of(views, Links.of(views, NOW))


def ready_link(peer):
    """A link that was proven ready just now."""
    return MeshLink(peer=peer, is_connected=True, is_ready=True, last_proven_at=NOW)


def demand(cpus=1, memory_gib=1, gpus=0, models=(), *, count=1, **fields):
    """A job's demand; 1000 s on the GPU that it names first."""
    pod_fields = {key: fields.pop(key) for key in ("gpu_memory_bytes", "node_labels") if key in fields}
    pod = PodDemand(ResourceVector(cpus * 1000, memory_gib * GIB, gpus), tuple(models), **pod_fields)
    defaults = {"job": "lab/picks", "duration_seconds": 1000.0, "duration_source": "expectedDuration"}
    return Demand(**{**defaults, **fields}, pod=pod, count=count)


def dataset(name, size, *replicas, residency=()):
    """One input, held by some clusters."""
    return InputDemand("lab", name, 1, size, replicas, residency)


def busy(run, ends_in_seconds, cpus=1, memory_gib=0, gpus=0, *, count=1):
    """A counted run that holds capacity."""
    pod = PodDemand(ResourceVector(cpus * 1000, memory_gib * GIB, gpus))
    return Occupation(run, pod, count, ends_in_seconds, is_counted=True)


# --- random worlds

NAMES = ["c0", "c1", "c2", "c3"]
_products = st.sampled_from([None, A100, H100, T4, "ACME-X1"])


@st.composite
def shapes(draw):
    """A sort of node, part of it in use."""
    product = draw(_products)
    whole = ResourceVector(
        draw(st.integers(0, 8)) * 1000, draw(st.integers(0, 8)) * GIB, draw(st.integers(0, 4)) if product else 0
    )
    free = ResourceVector(
        draw(st.integers(0, whole.millicores)),
        draw(st.integers(0, whole.memory_bytes)),
        draw(st.integers(0, whole.gpus)),
    )
    return Shape(
        draw(st.integers(1, 3)), free, whole, product, draw(st.sampled_from([0, 16, 40])) * GIB if product else 0
    )


_occupations = st.builds(
    lambda number, ends, cpus, gpus: busy(f"run-{number}", float(ends), cpus, 0, gpus),
    st.integers(0, 99), st.integers(1, 500), st.integers(0, 4), st.integers(0, 2),
)  # fmt: skip


@st.composite
def clusters(draw, name, *, with_runs=True):
    """One cluster with anything that placement looks at."""
    peers = draw(st.sets(st.sampled_from(NAMES)))
    return ClusterView(
        name,
        phase=draw(st.sampled_from(["Ready", "Ready", "Ready", "Degraded", "Unreachable", "Pending", "Asleep"])),
        is_cordoned=draw(st.sampled_from([False, False, False, True])),
        labels={"region": draw(st.sampled_from(["eu", "us"]))},
        residency=tuple(draw(st.sets(st.sampled_from(["eu", "us"])))),
        shapes=tuple(draw(st.lists(shapes(), max_size=3))),
        occupations=tuple(draw(st.lists(_occupations, max_size=3 if with_runs else 0))),
        storage=draw(st.sampled_from([None, StorageView("csi"), StorageView("csi", 10**9)])),
        costs=Costs(gpu_hour=draw(st.sampled_from([0, 1.5])), cpu_hour=draw(st.sampled_from([0, 0.1])),
                    egress_gib=draw(st.sampled_from([0, 0.09]))),
        uplink=Uplink(draw(st.sampled_from([10**6, 10**8, 10**9])), draw(st.sampled_from([0, 0.02]))),
        links={peer: ready_link(peer) for peer in peers if peer != name},
    )  # fmt: skip


@st.composite
def worlds(draw, *, with_runs=True):
    """A few clusters, joined here and there."""
    return apart(*(draw(clusters(name, with_runs=with_runs)) for name in NAMES[: draw(st.integers(1, 4))]))


_inputs = st.builds(
    lambda number, size, replicas, residency: dataset(f"d{number}", size, *sorted(replicas), residency=residency),
    st.integers(0, 9), st.integers(0, 10**10), st.sets(st.sampled_from(NAMES)), st.sampled_from([(), ("eu",)]),
)  # fmt: skip


@st.composite
def demands(draw):
    """What a job may ask for."""
    gpus = draw(st.integers(0, 3))
    return demand(
        draw(st.integers(0, 4)),
        draw(st.integers(0, 4)),
        gpus,
        draw(st.sampled_from([(), ("A100",), ("T4", "H100"), ("X1",)])) if gpus else (),
        count=draw(st.integers(1, 4)),
        job=f"lab/job-{draw(st.integers(0, 5))}",
        gpu_memory_bytes=draw(st.sampled_from([0, 16 * GIB])) if gpus else 0,
        inputs=tuple(draw(st.lists(_inputs, max_size=2))),
        outputs=draw(st.sampled_from([(), ("out",)])),
        clusters=draw(st.sampled_from([LabelSelector(), LabelSelector(match_labels={"region": "eu"})])),
        residency=draw(st.sampled_from([(), ("eu",)])),
        seconds_per_currency=draw(st.sampled_from([0.0, 60.0])),
    )


# --- the plain model: one cluster at a time, in plain Python, without any of the code under test but capacity's


def model_total(wanted, table, view):
    """Tell when the job would be done on a cluster that no known run occupies; None if it cannot run there."""
    if view.phase != "Ready" or view.is_cordoned or not wanted.clusters.matches(dict(view.labels)):
        return None
    if wanted.residency and not set(wanted.residency) & set(view.residency):
        return None
    staging = model_staging(wanted, table, view)
    wait = model_wait(wanted, view)
    if staging is None or wait == inf or ((wanted.inputs or wanted.outputs) and view.storage is None):
        return None
    seconds, money, missing = staging
    if view.storage is not None and view.storage.free_bytes is not None and missing > view.storage.free_bytes:
        return None
    run = wanted.duration_seconds / model_speed(wanted, view)
    cores = wanted.pod.resources.millicores * wanted.count / 1000
    money += (view.costs.gpu_hour * wanted.gpus + view.costs.cpu_hour * cores) * run / 3600
    return max(wait, seconds) + run + seconds / 2 + money * wanted.seconds_per_currency


def model_suits(pod, shape):
    """Tell whether a node is of the right sort."""
    if not pod.resources.gpus:
        return True
    if shape.gpu_model is None or shape.gpu_memory_bytes < pod.gpu_memory_bytes:
        return False
    return not pod.gpu_models or any(gpu_matches(model, shape.gpu_model) for model in pod.gpu_models)


def model_wait(wanted, view):
    """Nothing on the cluster has a known end: there is room now, or nobody knows when."""
    suitable = [shape for shape in view.shapes if model_suits(wanted.pod, shape)]
    return 0.0 if room(wanted.pod.resources, suitable, at_most=wanted.count) >= wanted.count else inf


def model_staging(wanted, table, view):
    """Bring each missing input from the replica that is cheapest per byte."""
    seconds = money = missing = 0
    for needed in wanted.inputs:
        if view.name in needed.replicas:
            continue
        missing += needed.bytes
        if needed.residency and not set(needed.residency) & set(view.residency):
            return None
        known = [table.views[table.index[name]] for name in needed.replicas if name in table.index]
        sources = [
            source
            for source in known
            if source.phase in ("Ready", "Degraded") and view.name in source.links and source.name in view.links
        ]
        if not sources:
            return None

        def price(source):
            rate = min(source.uplink.bytes_per_second, view.uplink.bytes_per_second)
            return 1 / rate + source.costs.egress_gib / GIB * wanted.seconds_per_currency

        best = min(sources, key=price)
        rate = min(best.uplink.bytes_per_second, view.uplink.bytes_per_second)
        seconds += best.uplink.round_trip_seconds + view.uplink.round_trip_seconds + needed.bytes / rate
        money += needed.bytes / GIB * best.costs.egress_gib
    if any(not any(name in table.index for name in needed.replicas) for needed in wanted.inputs):
        return None
    return seconds, money, missing


def model_speed(wanted, view):
    """The slowest suitable GPU, beside the one that the duration is meant for."""
    if not wanted.gpus:
        return 1.0
    holding = [s for s in view.shapes if model_suits(wanted.pod, s) and s.allocatable.covers(wanted.pod.resources)]
    slowest = min(relative_speed(shape.gpu_model) or 1.0 for shape in holding)
    reference = wanted.pod.gpu_models[0] if wanted.pod.gpu_models else None
    return slowest / ((relative_speed(reference) if reference else None) or 1.0)
