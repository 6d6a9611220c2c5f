"""Malformed workloads: the field is named, and nothing crashes, whatever stands where."""

import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workload_worlds import ADDITIONS, NAMES, job, workload

from atoll.federation.errors import InvalidInput
from atoll.federation.placement import pods_of_job
from atoll.federation.resources import BY_NAME, JobSpec
from atoll.federation.resources.validation import parse
from atoll.federation.workloads import pod_groups, state_of, with_additions
from atoll.federation.workloads.paths import parse as parse_path

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["spec", "name", "x"]), inner, max_size=2)
    ),
    max_leaves=3,
)


def slots(value, way=()):
    """Name every place in a manifest at which something may stand instead."""
    for key, child in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*way, key)
        yield from slots(child, (*way, key))


def replaced(value, way, junk):
    """Put something else at one place."""
    result = copy.deepcopy(value)
    parent = result
    for key in way[:-1]:
        parent = parent[key]
    parent[way[-1]] = junk
    return result


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_anything_anywhere_in_a_job_is_accepted_or_refused_by_field(name, data):
    """A job is read as admission does it: parsed, then its pods counted; and what passes is compiled."""
    manifest = job(name)
    way = data.draw(st.sampled_from(sorted(slots(manifest["spec"]["workload"]), key=str)))
    bad = replaced(manifest, ("spec", "workload", *way), data.draw(JUNK))
    resource, problems = parse(BY_NAME["Job"], bad)
    if resource is None:
        assert all(problem.field.startswith("spec.workload") and problem.message for problem in problems)
        return
    try:
        assert all(count > 0 for _, count in pods_of_job(resource.spec))
        with_additions(resource.spec.workload.manifest(), ADDITIONS)
    except InvalidInput as error:
        field, _, message = str(error).partition(": ")
        assert message and " " not in field.replace("metadata.annotations", ""), str(error)


@settings(max_examples=200, deadline=None)
@given(status=JUNK)
def test_any_status_is_read(status):
    """What an operator writes is not checked by anybody."""
    for name in ("job", "rayjob", "workflow"):
        assert state_of({**workload(name), "status": status}).phase == "Pending"


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='a.[]*=" -/0', max_size=12))
def test_any_text_is_a_path_or_is_refused(text):
    """People write paths into annotations. A path that is read is written the same way."""
    try:
        steps = parse_path(text)
    except InvalidInput:
        return
    written = "".join(str(step) if str(step).startswith("[") else f".{step}" for step in steps).removeprefix(".")
    assert parse_path(written) == steps


NAMED = {
    "no workers": ("jaxjob", {"jaxReplicaSpecs": {}}, "spec.jaxReplicaSpecs.Worker: is missing"),
    "minus one": ("volcanojob", {"tasks": [{"replicas": -1, "template": {"spec": {"containers": [{}]}}}]},
                  "spec.tasks[0].replicas: -1 is not allowed: write a whole number, 0 to 100000"),
    "all zero": ("volcanojob", {"tasks": [{"replicas": 0, "template": {"spec": {"containers": [{}]}}}]},
                 "spec.tasks[0].template.spec: none of the pods would run: all numbers of replicas are 0"),
    "no memory of the JVM": ("sparkapplication", {"driver": {"memory": "lots"}, "executor": {}},
                             "spec.driver.memory: 'lots' is no quantity"),
    "no quantity per node": ("trainjob", {"trainer": {"resourcesPerNode": {"limits": {"cpu": "x"}}}},
                             "spec.trainer.resourcesPerNode.limits.cpu: 'x' is no quantity"),
    "a trial of no known kind": ("experiment", {"trialTemplate": {"trialSpec": {"apiVersion": "x/v1", "kind": "Y"}}},
                                 "spec.trialTemplate.trialSpec.kind: of Y (x/v1) nothing is known"),
    "only steps": ("workflow", {"templates": [{"name": "main", "steps": []}]},
                   "spec: this Workflow (argoproj.io/v1alpha1) names no pods"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "spec", "message"), NAMED.values(), ids=NAMED)
def test_a_mistake_is_named_by_its_field(name, spec, message):
    """As a path that a person finds in the manifest."""
    with pytest.raises(InvalidInput) as caught:
        pod_groups({**workload(name), "spec": spec})
    assert str(caught.value).startswith(message)


ANNOTATIONS = {
    "a role without a path": ({"atoll.dev/pod-templates": "worker"}, "a path is missing"),
    "no path": ({"atoll.dev/pod-templates": "worker=spec..x"}, "'spec..x' is no path"),
    "a count of nobody": ({"atoll.dev/pod-templates": "a=spec.t", "atoll.dev/pod-counts": "b=n"}, "b is not among"),
    "a status without values": ({"atoll.dev/pod-templates": "a=spec.t", "atoll.dev/status-failed": "status.phase"},
                                "write path=value"),
}  # fmt: skip


@pytest.mark.parametrize(("annotations", "message"), ANNOTATIONS.values(), ids=ANNOTATIONS)
def test_an_annotation_that_says_nothing_is_refused(annotations, message):
    """The annotation is named."""
    given_ = {"apiVersion": "x/v1", "kind": "Y", "metadata": {"annotations": annotations}, "spec": {}}
    with pytest.raises(InvalidInput, match=r"metadata.annotations\[atoll.dev/") as caught:
        pod_groups(given_)
    assert message in str(caught.value)


def spec_of(name, **spec):
    """Give an example's spec with other fields."""
    return {**job(name)["spec"], **spec}


def test_what_a_kind_cannot_keep_is_refused_when_it_is_submitted():
    """Not when it is too late: a grace, GPUs for pods that take none."""
    with pytest.raises(ValueError, match="gracePeriod: a Workflow"):
        JobSpec.model_validate(spec_of("workflow", gracePeriod="5s"))
    head_only = spec_of("raycluster", gpu={"count": 1})
    del head_only["workload"]["spec"]["workerGroupSpecs"]
    with pytest.raises(InvalidInput, match=r"spec\.gpu: no pods of this RayCluster"):
        pods_of_job(JobSpec.model_validate(head_only))
