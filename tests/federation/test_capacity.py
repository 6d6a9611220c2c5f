"""Quantities, durations, GPU models, pod demands and node shapes."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.federation import capacity
from atoll.federation.capacity import ResourceVector, Shape
from atoll.federation.errors import InvalidInput

QUANTITIES = {
    "a whole number": ("3", Fraction(3)),
    "a decimal fraction": ("0.5", Fraction(1, 2)),
    "a leading point": (".5", Fraction(1, 2)),
    "a trailing point": ("5.", Fraction(5)),
    "milli": ("100m", Fraction(1, 10)),
    "micro": ("1u", Fraction(1, 10**6)),
    "kilo is a thousand": ("1k", Fraction(1000)),
    "kibi is 1024": ("1Ki", Fraction(1024)),
    "a fraction of a gibibyte": ("1.5Gi", Fraction(3 * 2**29)),
    "exa, not an exponent": ("2E", Fraction(2 * 10**18)),
    "an exponent": ("2E3", Fraction(2000)),
    "a negative exponent": ("5e-1", Fraction(1, 2)),
    "a sign": ("-1", Fraction(-1)),
    "a plain integer of YAML": (2, Fraction(2)),
    "a plain float of YAML": (0.1, Fraction(1, 10)),
    "a float that Python writes with an exponent": (1e21, Fraction(2**63 - 1)),
    "less than nano is rounded up to it": ("1e-12", Fraction(1, 10**9)),
    "zero with a huge exponent": ("0e999999", Fraction(0)),
    "more than 2^63-1 is cut": ("100E", Fraction(2**63 - 1)),
    "a huge exponent is cut at once": ("1e99999999999", Fraction(2**63 - 1)),
}


@pytest.mark.parametrize(("text", "value"), QUANTITIES.values(), ids=QUANTITIES)
def test_a_quantity_is_read_exactly(text, value):
    """Every form of Kubernetes' grammar gives the exact value."""
    assert capacity.parse_quantity(text) == value


BAD_QUANTITIES = [
    "",
    "Gi",
    "1.2.3",
    "1 Gi",
    "1gb",
    "0x10",
    "1e",
    "NaN",
    "inf",
    "--1",
    "\u0661",  # a digit in Arabic
    "1\n",
    "9" * 65,
    None,
    True,
    [],
    {},
]


@pytest.mark.parametrize("text", BAD_QUANTITIES, ids=repr)
def test_a_malformed_quantity_is_refused_with_its_text(text):
    """What is no quantity raises InvalidInput, and the message says how to write one."""
    with pytest.raises(InvalidInput, match="is no quantity: write a number"):
        capacity.parse_quantity(text)


@pytest.mark.parametrize("parse", [capacity.parse_bytes, capacity.parse_millicores])
def test_a_negative_resource_is_refused(parse):
    """Bytes and cores cannot be negative."""
    with pytest.raises(InvalidInput, match="negative"):
        parse("-1")


def test_bytes_and_millicores_are_rounded_up():
    """A part of a byte or of a millicore counts as a whole one, as in Kubernetes."""
    assert capacity.parse_bytes("1.5") == 2
    assert capacity.parse_bytes("100m") == 1
    assert capacity.parse_millicores("0.0001") == 1
    assert capacity.parse_millicores("1.5") == 1500


@given(st.integers(0, 2**62))
@settings(deadline=None)
def test_bytes_come_back_from_the_quantity_that_was_written(count):
    """format_bytes loses nothing."""
    assert capacity.parse_bytes(capacity.format_bytes(count)) == count


@given(st.integers(0, 10**12))
@settings(deadline=None)
def test_millicores_come_back_from_the_quantity_that_was_written(millicores):
    """format_millicores loses nothing."""
    assert capacity.parse_millicores(capacity.format_millicores(millicores)) == millicores


@given(st.decimals(min_value=0, max_value=10**9, places=6), st.sampled_from(["", "k", "M", "Ki", "Mi", "m"]))
@settings(deadline=None)
def test_a_quantity_equals_its_number_times_its_suffix(number, suffix):
    """Decimal arithmetic is exact: no float comes between text and value."""
    factor = {"": 1, "k": 1000, "M": 10**6, "Ki": 1024, "Mi": 2**20, "m": Fraction(1, 1000)}[suffix]
    assert capacity.parse_quantity(f"{number:f}{suffix}") == Fraction(number) * factor


DURATIONS = {"20m": 1200, "1h30m": 5400, "7d": 604800, "500ms": 0.5, "1.5h": 5400, "45s": 45, "0s": 0, "1m1ms": 60.001}


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_a_duration_is_read_as_seconds(text, seconds):
    """Units add up."""
    assert capacity.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "1h 30m", "-5m", "1w", "1.h", "5M", "1" * 70 + "s"])
def test_a_malformed_duration_is_refused(text):
    """What is no duration raises InvalidInput, and the message names the units."""
    with pytest.raises(InvalidInput, match="units d, h, m, s or ms"):
        capacity.parse_duration(text)


@given(st.integers(60, 10**8))
@settings(deadline=None)
def test_a_written_duration_is_read_back(seconds):
    """From one minute on, format_duration is exact to the second."""
    assert capacity.parse_duration(capacity.format_duration(seconds)) == seconds


def test_short_durations_keep_their_fractions():
    """Below a minute, a hundredth of a second still counts."""
    assert capacity.format_duration(0.254) == "0.25s"
    assert capacity.format_duration(59.4) == "59.4s"


MODELS = {
    "a whole token": ("A100", "NVIDIA-A100-SXM4-40GB", True),
    "any case": ("a100", "NVIDIA-A100-SXM4-40GB", True),
    "a model is no prefix": ("A10", "NVIDIA-A100-SXM4-40GB", False),
    "a product is no prefix": ("A100", "NVIDIA-A10", False),
    "several tokens in order": ("A100-40GB", "NVIDIA-A100-SXM4-40GB", True),
    "several tokens out of order": ("40GB-A100", "NVIDIA-A100-SXM4-40GB", False),
    "spaces separate like dashes": ("RTX 3090", "NVIDIA-GeForce-RTX-3090", True),
    "the whole label": ("Tesla-T4", "Tesla-T4", True),
    "a shared GPU is not the GPU": ("T4", "Tesla-T4-SHARED", False),
    "a shared GPU where shared is asked for": ("T4-SHARED", "Tesla-T4-SHARED", True),
    "a MIG slice is not the GPU": ("A100", "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", False),
    "an empty model": ("", "Tesla-T4", False),
    "a model of separators": ("--", "Tesla-T4", False),
}


@pytest.mark.parametrize(("model", "product", "matches"), MODELS.values(), ids=MODELS)
def test_a_gpu_model_matches_a_product_by_whole_tokens(model, product, matches):
    """A model names a product only if each of its tokens is one of the product's."""
    assert capacity.gpu_matches(model, product) is matches


def container(cpu=None, memory=None, gpus=None, *, limits=None, restart=None):
    """Write a container that requests this much."""
    wanted = {"cpu": cpu, "memory": memory, "nvidia.com/gpu": gpus}
    requests = {name: amount for name, amount in wanted.items() if amount is not None}
    return {
        "resources": {"requests": requests, "limits": limits or {}},
        **({"restartPolicy": restart} if restart else {}),
    }


POD_SPECS = {
    "containers add up": (
        {"containers": [container("1", "1Gi"), container("500m", "1Gi")]},
        ResourceVector(1500, 2 * 2**30),
    ),
    "a limit counts where no request is given": (
        {"containers": [container(memory="1Gi", limits={"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": 1})]},
        ResourceVector(2000, 2**30, 1),
    ),
    "a large init container decides": (
        {"initContainers": [container("4")], "containers": [container("1", "1Gi")]},
        ResourceVector(4000, 2**30),
    ),
    "a sidecar runs beside the containers": (
        {"initContainers": [container("1", restart="Always")], "containers": [container("1")]},
        ResourceVector(2000),
    ),
    "an init container runs beside the sidecars before it": (
        {"initContainers": [container("1", restart="Always"), container("3")], "containers": [container("1")]},
        ResourceVector(4000),
    ),
    "an init container does not run beside the sidecars after it": (
        {"initContainers": [container("3"), container("1", restart="Always")], "containers": [container("1")]},
        ResourceVector(3000),
    ),
    "overhead is added": (
        {"containers": [container("1")], "overhead": {"cpu": "250m", "memory": "120Mi"}},
        ResourceVector(1250, 120 * 2**20),
    ),
    "nothing asked for": ({"containers": [{}]}, ResourceVector()),
    "null resources": ({"containers": [{"resources": None}], "initContainers": None}, ResourceVector()),
}


@pytest.mark.parametrize(("spec", "demand"), POD_SPECS.values(), ids=POD_SPECS)
def test_a_pod_asks_for_what_kubernetes_says_it_does(spec, demand):
    """The effective request of a pod follows Kubernetes' rule."""
    assert capacity.demand_of_pod_spec(spec) == demand


@pytest.mark.parametrize(
    "spec",
    [{"containers": ["x"]}, {"containers": 3}, {"containers": [{"resources": "lots"}]}, {"overhead": [1]}],
    ids=repr,
)
def test_a_pod_spec_of_the_wrong_form_is_refused(spec):
    """A spec that is no pod spec raises InvalidInput, never a TypeError."""
    with pytest.raises(InvalidInput, match="is no"):
        capacity.demand_of_pod_spec(spec)


def test_resources_that_placement_does_not_know_are_named():
    """Other vendors' devices are named, ordinary resources are not."""
    limits = {"amd.com/gpu": 1, "ephemeral-storage": "1Gi"}
    spec = {
        "containers": [container("1", limits=limits)],
        "initContainers": [container(limits={"example.com/fpga": 2})],
    }
    assert capacity.unknown_resources(spec) == ("amd.com/gpu", "example.com/fpga")


amounts = st.builds(ResourceVector, st.integers(0, 40), st.integers(0, 40), st.integers(0, 4))


@st.composite
def node_shapes(draw):
    """A few nodes, each with some of its resources in use."""
    whole = draw(amounts)
    free = ResourceVector(
        draw(st.integers(0, whole.millicores)),
        draw(st.integers(0, whole.memory_bytes)),
        draw(st.integers(0, whole.gpus)),
    )
    return Shape(draw(st.integers(1, 3)), free, whole)


shape_lists = st.lists(node_shapes(), max_size=4)
pods = st.builds(ResourceVector, st.integers(1, 20), st.integers(0, 20), st.integers(0, 2))


def one_by_one(pod, shapes, count):
    """Place pods node by node: the plain model of room."""
    nodes = [shape.free for shape in shapes for _ in range(shape.nodes)]
    placed = 0
    while placed < count:
        index = next((index for index, free in enumerate(nodes) if free.covers(pod)), None)
        if index is None:
            break
        nodes[index] = nodes[index] - pod
        placed += 1
    return placed


@given(pods, shape_lists, st.integers(1, 12))
@settings(deadline=None)
def test_room_is_what_placing_pods_one_by_one_finds(pod, shapes, count):
    """For equal pods, counting per shape is exact."""
    assert capacity.room(pod, shapes, at_most=count) == one_by_one(pod, shapes, count)
    assert capacity.fits(pod, shapes, count) is (one_by_one(pod, shapes, count) == count)


def summed(shapes, field):
    """Add a vector up over all nodes."""
    return sum((getattr(shape, field) * shape.nodes for shape in shapes), ResourceVector())


@given(pods, shape_lists, st.integers(1, 12))
@settings(deadline=None)
def test_taking_pods_uses_exactly_their_resources_and_never_more_than_is_free(pod, shapes, count):
    """What is taken is what was placed; no node is overcommitted; no node is lost."""
    after, rest = capacity.take(pod, shapes, count)
    placed = count - rest
    assert placed == one_by_one(pod, shapes, count)
    assert summed(shapes, "free") - summed(after, "free") == pod * placed
    assert summed(after, "allocatable") == summed(shapes, "allocatable")
    assert all(shape.free.covers(ResourceVector()) for shape in after)


@given(pods, shape_lists, st.integers(1, 12))
@settings(deadline=None)
def test_giving_back_what_was_taken_makes_the_room_free_again(pod, shapes, count):
    """take, then give: as many pods fit as before, and no node has more free than it can allocate."""
    taken, rest = capacity.take(pod, shapes, count)
    given_back, lost = capacity.give(pod, taken, count - rest)
    assert lost == 0
    assert summed(given_back, "free") == summed(shapes, "free")
    assert all(shape.allocatable.covers(shape.free) for shape in given_back)


@given(pods, shape_lists, st.integers(1, 6))
@settings(deadline=None)
def test_moving_pods_one_by_one_leaves_the_same_nodes_as_moving_them_at_once(pod, shapes, count):
    """Also on the short way that one pod has."""
    grouped = capacity.group_shapes(shapes)
    at_once, rest = capacity.take(pod, grouped, count)
    stepwise = grouped
    for _ in range(count):
        stepwise, _ = capacity.take(pod, stepwise, 1)
    assert stepwise == at_once
    given_at_once, _ = capacity.give(pod, at_once, count - rest)
    for _ in range(count - rest):
        stepwise, _ = capacity.give(pod, stepwise, 1)
    assert stepwise == given_at_once
    assert capacity.group_shapes(stepwise) == stepwise


@given(shape_lists)
@settings(deadline=None)
def test_grouping_keeps_every_node_as_it_is(shapes):
    """Equal shapes merge; the nodes stay the same nodes."""
    grouped = capacity.group_shapes(shapes)
    expanded = sorted((repr(s.free), repr(s.allocatable)) for s in shapes for _ in range(s.nodes))
    assert expanded == sorted((repr(s.free), repr(s.allocatable)) for s in grouped for _ in range(s.nodes))
    assert len({(s.free, s.allocatable) for s in grouped}) == len(grouped)


def test_pods_go_only_to_nodes_that_suit_them():
    """A shape that does not suit is neither counted nor taken from."""
    shapes = (
        Shape(1, ResourceVector(4), ResourceVector(4), "Tesla-T4"),
        Shape(1, ResourceVector(4), ResourceVector(4)),
    )

    def has_gpu(shape):
        return shape.gpu_model is not None

    assert capacity.room(ResourceVector(1), shapes, at_most=9, suits=has_gpu) == 4
    after, rest = capacity.take(ResourceVector(3), shapes, 2, suits=has_gpu)
    assert rest == 1
    assert {shape.gpu_model: shape.free.millicores for shape in after} == {"Tesla-T4": 1, None: 4}


def test_a_node_keeps_the_labels_that_say_what_it_is():
    """Host names and the like do not make every node a shape of its own; an overcommitted node has nothing free."""
    labels = {"kubernetes.io/hostname": "a", "kubernetes.io/arch": "arm64", "nvidia.com/gpu.product": "Tesla-T4"}
    shape = capacity.node_shape(
        ResourceVector(1000, 2**30, 1), ResourceVector(1500, 0, 1), labels=labels, gpu_memory_bytes=2**34
    )
    assert shape.free == ResourceVector(0, 2**30, 0)
    assert shape.fields()["labels"] == {"kubernetes.io/arch": "arm64", "nvidia.com/gpu.product": "Tesla-T4"}
    assert shape.gpu_model == "Tesla-T4"


def test_pods_go_to_the_fullest_node_that_has_room_so_that_large_ones_still_fit():
    """A one-GPU pod does not break into the only node with four GPUs free."""
    whole = ResourceVector(8000, 0, 4)
    shapes = (Shape(1, whole, whole), Shape(1, ResourceVector(8000, 0, 1), whole))
    after, rest = capacity.take(ResourceVector(1000, 0, 1), shapes, 1)
    assert rest == 0
    assert capacity.fits(ResourceVector(1000, 0, 4), after, 1)


def asking(name="c", *, cpu="1", **more):
    return {"name": name, "resources": {"requests": {"cpu": cpu, "example.com/fpga": "1"}}, **more}


PODS = {
    "containers run together": ({"containers": [asking(), asking(cpu="500m")]}, {}, 1500),
    "an init container counts if it needs more": (
        {"containers": [asking()], "initContainers": [asking(cpu="3")]},
        {},
        3000,
    ),
    "a sidecar runs beside both": (
        {
            "containers": [asking()],
            "initContainers": [asking(cpu="2", restartPolicy="Always"), asking(cpu="3")],
        },
        {},
        5000,
    ),
    "a sidecar started later is not beside an earlier init container": (
        {
            "containers": [asking()],
            "initContainers": [asking(cpu="3"), asking(cpu="2", restartPolicy="Always")],
        },
        {},
        3000,
    ),
    "requests of the pod as a whole stand above": (
        {"containers": [asking()], "resources": {"requests": {"cpu": "4"}}, "overhead": {"cpu": "250m"}},
        {},
        4250,
    ),
    "a container that is shrunk has what it has": (
        {"containers": [asking()]},
        {"containerStatuses": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]},
        2000,
    ),
    "a status of another container says nothing": (
        {"containers": [asking()]},
        {"containerStatuses": [{"name": "x", "resources": {"requests": {"cpu": "2"}}}]},
        1000,
    ),
    "a sidecar is resized as well": (
        {"initContainers": [asking("s", restartPolicy="Always")]},
        {"initContainerStatuses": [{"name": "s", "resources": {"requests": {"cpu": "2"}}}]},
        2000,
    ),
}


@pytest.mark.parametrize("what", PODS)
def test_a_pod_asks_for_what_the_scheduler_counts(what):
    """The rule of component-helpers, for every resource."""
    spec, status, millicores = PODS[what]
    requests = capacity.requests_of_pod(spec, status)
    assert requests["cpu"] == millicores
    assert requests["example.com/fpga"] >= 1
    if not status:
        assert capacity.demand_of_pod_spec(spec) == capacity.vector_of(requests)


def test_a_malformed_pod_is_refused_by_the_field():
    """Neither statuses nor containers may be of another form."""
    with pytest.raises(InvalidInput, match="containerStatuses is no list"):
        capacity.requests_of_pod({}, {"containerStatuses": "x"})
    with pytest.raises(InvalidInput, match="is no quantity"):
        capacity.amounts_of({"example.com/fpga": "many"})


vectors = st.builds(ResourceVector, st.integers(0, 2**17), st.integers(0, 2**40), st.integers(0, 2))


@given(st.lists(st.builds(Shape, st.integers(1, 3), vectors, vectors), max_size=30), st.integers(1, 10))
@settings(deadline=None)
def test_bounded_shapes_keep_every_node_and_promise_nothing_that_is_not_there(shapes, at_most):
    """Nodes and GPUs stay the same number; CPU and memory only ever become less, and not for nothing."""
    bounded = capacity.bounded_shapes(shapes, at_most)
    assert sum(shape.nodes for shape in bounded) == sum(shape.nodes for shape in shapes)
    before, after = summed(shapes, "free"), summed(bounded, "free")
    assert after.gpus == before.gpus
    assert before.covers(after)
    if len(capacity.group_shapes(shapes)) <= at_most:
        assert bounded == capacity.group_shapes(shapes)


@given(st.integers(0, 2**62), st.integers(1, 63))
def test_rounding_down_keeps_the_leading_bits(amount, bits):
    """Never more, and never less by more than one part in 2^(bits-1); rounded again it stays."""
    rounded = capacity.round_down(amount, bits)
    assert 0 <= amount - rounded <= amount >> (bits - 1)
    assert capacity.round_down(rounded, bits) == rounded
