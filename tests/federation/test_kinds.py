"""The kinds: what a manifest may say, how a problem is named, how a kind is found, what a trigger makes."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from atoll.federation.resources import BY_NAME, GROUP_VERSION, KINDS, Job, LabelSelector, Trigger, find, resolve
from atoll.federation.resources.base import SelectorRequirement
from atoll.federation.resources.trigger import job_spec
from atoll.federation.resources.validation import changed_immutable, field_path, parse

CONTAINERS = [{"name": "main", "image": "python:3.11", "command": ["true"]}]
WORKLOAD = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": {"containers": CONTAINERS}}}}
JOB_SPEC = {"queue": "default", "workload": WORKLOAD}
STREAM_SPEC = {"gateway": "lab", "topics": ["seis/+/raw/#"], "dataset": "{topic[1]}.{date}", "home": "onprem-gpu"}
GIT = {"repository": "https://example.org/policies.git"}

MINIMAL_SPECS = {
    "Cluster": {},
    "Queue": {},
    "Job": JOB_SPEC,
    "Run": {"job": "picks", "cluster": "onprem-gpu", "epoch": 1},
    "Dataset": {},
    "Transfer": {"dataset": "waves", "version": 1, "source": "a", "destination": "b"},
    "Gateway": {},
    "Stream": STREAM_SPEC,
    "Trigger": {"job": {"name": "picks-{dataset}", "spec": JOB_SPEC}},
    "Reservation": {
        "queue": "default",
        "starts": "2026-12-01T08:00:00Z",
        "ends": "2026-12-01T12:00:00Z",
        "amounts": {"gpus": 8},
    },
    "PolicySet": {"source": GIT},
    "RoleBinding": {"role": "Viewer", "subjects": [{"kind": "Group", "name": "oidc:seismologists"}]},
}


def manifest(kind, spec=None, **changes):
    """Write a manifest of a kind: its smallest spec, with some fields changed or, by None, left out."""
    merged = {**(MINIMAL_SPECS[kind] if spec is None else spec), **changes}
    kept = {key: value for key, value in merged.items() if value is not None}
    return {"apiVersion": GROUP_VERSION, "kind": kind, "metadata": {"name": "sample"}, "spec": kept}


def test_every_kind_has_a_minimal_manifest_here():
    """No kind is forgotten by these tests."""
    assert set(MINIMAL_SPECS) == set(BY_NAME)


@pytest.mark.parametrize("kind", MINIMAL_SPECS)
def test_a_minimal_manifest_is_accepted_and_comes_back_unchanged(kind):
    """What the wire form says is what was read, and it is read to the same object again."""
    resource, problems = parse(BY_NAME[kind], manifest(kind))
    assert problems == ()
    wire = resource.wire()
    assert {key: wire["spec"][key] for key in MINIMAL_SPECS[kind]}.keys() == MINIMAL_SPECS[kind].keys()
    assert parse(BY_NAME[kind], wire) == (resource, ())


def nested(*path, value):
    """Wrap a value into dictionaries."""
    for step in reversed(path):
        value = {step: value}
    return value


BAD = {
    "an unknown field": (manifest("Job", prioritty=5), "spec.prioritty", "unknown field"),
    "an unknown field deep down": (
        manifest("Job", gpu={"count": 1, "model": "A100"}),
        "spec.gpu.model",
        "unknown field",
    ),
    "a missing field": (manifest("Job", queue=None), "spec.queue", "is required"),
    "a wrong type": (manifest("Job", priority="high"), "spec.priority", "'high': must be a whole number"),
    "a number out of range": (
        manifest("Job", retries=101),
        "spec.retries",
        "101: input should be less than or equal to 100",
    ),
    "a bad quantity": (manifest("Job", gpu={"memory": "40GB"}), "spec.gpu.memory", "'40GB': "),
    "a negative quantity": (manifest("Job", gpu={"memory": "-1Gi"}), "spec.gpu.memory", "'-1Gi': "),
    "a bad duration": (manifest("Job", expectedDuration="20 min"), "spec.expectedDuration", "'20 min': "),
    "a name that is no DNS name": (manifest("Job", queue="My_Queue"), "spec.queue", "'My_Queue': "),
    "a name that ends in a newline": (manifest("Job", queue="default\n"), "spec.queue", ""),
    "a reference with two slashes": (
        manifest("Job", inputs=[{"dataset": "a/b/c", "mountPath": "/d"}]),
        "spec.inputs[0].dataset",
        "'a/b/c': ",
    ),
    "a relative mount path": (
        manifest("Job", inputs=[{"dataset": "a", "mountPath": "data"}]),
        "spec.inputs[0].mountPath",
        "'data': ",
    ),
    "the second of a list": (
        manifest("Job", outputs=[{"dataset": "a", "mountPath": "/a"}, {"dataset": "B", "mountPath": "/b"}]),
        "spec.outputs[1].dataset",
        "'B': ",
    ),
    "a mount path used twice": (
        manifest("Job", inputs=[{"dataset": "a", "mountPath": "/x"}], outputs=[{"dataset": "b", "mountPath": "/x"}]),
        "spec",
        "mountPath /x is used twice",
    ),
    "an output named twice": (
        manifest("Job", outputs=[{"dataset": "a", "mountPath": "/a"}, {"dataset": "a", "mountPath": "/b"}]),
        "spec",
        "outputs name the same dataset twice",
    ),
    "a workload without containers": (
        manifest("Job", workload={**WORKLOAD, "spec": {"template": {"spec": {"containers": []}}}}),
        "spec.workload.spec.template.spec.containers",
        "at least one container",
    ),
    "a workload whose template is no mapping": (
        manifest("Job", workload={**WORKLOAD, "spec": {"template": "x"}}),
        "spec.workload.spec.template.spec.containers",
        "at least one container",
    ),
    "another workload kind": (
        manifest("Job", workload={**WORKLOAD, "kind": "CronJob"}),
        "spec.workload.kind",
        "of CronJob (batch/v1) nothing is known; known are Job (batch/v1), Pod (v1), ",
    ),
    "a loss policy that there is not": (
        manifest("Job", lossPolicy="Abandon"),
        "spec.lossPolicy",
        "'Abandon': ",
    ),
    "a mesh id out of range": (manifest("Cluster", mesh={"id": 512}), "spec.mesh.id", "512: "),
    "an uplink of nothing": (
        manifest("Cluster", network={"uplinkBytesPerSecond": 0}),
        "spec.network.uplinkBytesPerSecond",
        "0: ",
    ),
    "a weight of nothing": (manifest("Queue", weight=0), "spec.weight", "0: "),
    "a transfer to itself": (
        manifest("Transfer", destination="a"),
        "spec",
        "source and destination are the same cluster",
    ),
    "an unknown role": (manifest("RoleBinding", role="Owner"), "spec.role", "'Owner': input should be 'Admin', "),
    "a role for nobody": (manifest("RoleBinding", subjects=[]), "spec.subjects", "at least 1 entry"),
    "a role for a machine": (
        manifest("RoleBinding", subjects=[{"kind": "ServiceAccount", "name": "x"}]),
        "spec.subjects[0].kind",
        "'ServiceAccount': input should be 'User' or 'Group'",
    ),
    "a role for a group without a name": (
        manifest("RoleBinding", subjects=[{"kind": "Group", "name": ""}]),
        "spec.subjects[0].name",
        "'': ",
    ),
    "an admin of some namespaces": (
        manifest("RoleBinding", role="Admin", namespaces=["seismology"]),
        "spec.namespaces",
        "an Admin is not limited to namespaces: leave namespaces out, or choose the role Operator",
    ),
    "a viewer of some queues": (
        manifest("RoleBinding", queues=["default"]),
        "spec.queues",
        "only a Submitter is limited to queues, and the role is Viewer: leave queues out",
    ),
    "a Git option as repository": (
        manifest("PolicySet", source={"repository": "--upload-pack=x"}),
        "spec.source.repository",
        "'--upload-pack=x': ",
    ),
    "a Git helper that runs commands": (
        manifest("PolicySet", source={"repository": "ext::sh -c x"}),
        "spec.source.repository",
        "'ext::sh -c x': ",
    ),
    "a Git revision that is an option": (
        manifest("PolicySet", source={**GIT, "revision": "-x"}),
        "spec.source.revision",
        "'-x': ",
    ),
    "a topic where a list belongs": (manifest("Stream", topics="a/b"), "spec.topics", "'a/b': must be a list"),
    "a number where a text belongs": (manifest("Job", queue=7), "spec.queue", "7: must be a string: quote it"),
    "neither topics nor files": (manifest("Stream", topics=[]), "spec", "topics: name at least one topic filter"),
    "'#' before the end": (manifest("Stream", topics=["a/#/b"]), "spec.topics[0]", "'#' must be the whole last level"),
    "'+' within a level": (manifest("Stream", topics=["a/b+"]), "spec.topics[0]", "'+' must be a whole level"),
    "an unknown placeholder": (manifest("Stream", dataset="x.{day}"), "spec.dataset", "a dataset template is"),
    "QoS 2": (manifest("Stream", qos=2), "spec.qos", "2: "),
    "a broker without scheme": (manifest("Gateway", broker="localhost:1883"), "spec.broker", "'localhost:1883': "),
    "a trigger whose job is no job": (
        manifest("Trigger", job={"name": "x", "spec": {"queue": "q", "workload": WORKLOAD, "gpu": {"count": 0}}}),
        "spec.job.spec.gpu.count",
        "0: ",
    ),
    "a trigger whose job lacks a queue": (
        manifest("Trigger", job={"name": "x", "spec": {"workload": WORKLOAD}}),
        "spec.job.spec.queue",
        "is required",
    ),
}


@pytest.mark.parametrize(("bad", "field", "message"), BAD.values(), ids=BAD)
def test_a_problem_is_named_by_its_field_and_reason(bad, field, message):
    """Exactly one problem is found, at the path that a person would write."""
    resource, problems = parse(BY_NAME[bad["kind"]], bad)
    assert resource is None
    assert [problem.field for problem in problems] == [field]
    assert message in problems[0].message


def test_all_problems_are_found_at_once():
    """Three mistakes give three problems, with Kubernetes' cause types."""
    _, problems = parse(BY_NAME["Job"], manifest("Job", queue=None, prioritty=1, lossPolicy="Maybe"))
    assert {(problem.field, problem.reason) for problem in problems} == {
        ("spec.queue", "FieldValueRequired"),
        ("spec.prioritty", "FieldValueUnknown"),
        ("spec.lossPolicy", "FieldValueNotSupported"),
    }


def test_a_long_value_is_not_repeated_in_the_message():
    """A message shows short values only: manifests may hold whole scripts."""
    _, problems = parse(BY_NAME["Job"], manifest("Job", queue="X" * 200))
    assert "XXX" not in problems[0].message


IMMUTABLE = {
    "a queue": ("Job", "queue", "other"),
    "a workload": ("Job", "workload", {**WORKLOAD, "spec": {"template": {"spec": {"containers": CONTAINERS * 2}}}}),
    "a run's cluster": ("Run", "cluster", "lab-k3s"),
    "a stream's home": ("Stream", "home", "lab-k3s"),
    "a transfer's version": ("Transfer", "version", 2),
}


@pytest.mark.parametrize(("kind", "field", "value"), IMMUTABLE.values(), ids=IMMUTABLE)
def test_a_change_of_an_immutable_field_is_named(kind, field, value):
    """The field's path stands in the problem; no change is no problem."""
    old, new = manifest(kind), manifest(kind, **{field: value})
    assert [problem.field for problem in changed_immutable(BY_NAME[kind], old, new)] == [f"spec.{field}"]
    assert changed_immutable(BY_NAME[kind], old, old) == ()


def test_a_mesh_id_may_be_given_later_but_not_changed():
    """What was unset may be set once; Cilium cannot change the id of a meshed cluster."""
    kind = BY_NAME["Cluster"]
    unset, first, second = (manifest("Cluster", mesh=mesh) for mesh in (None, {"id": 1}, {"id": 2}))
    assert changed_immutable(kind, unset, first) == ()
    assert [problem.field for problem in changed_immutable(kind, first, second)] == ["spec.mesh.id"]


def test_a_mutable_field_may_change():
    """Priority is not among a job's fixed fields."""
    assert changed_immutable(BY_NAME["Job"], manifest("Job"), manifest("Job", priority=7)) == ()


@pytest.mark.parametrize(("location", "path"), [((), ""), (("spec", "inputs", 0, "dataset"), "spec.inputs[0].dataset")])
def test_a_location_is_written_as_kubectl_does(location, path):
    """Dots join names, brackets hold indices."""
    assert field_path(location) == path


# --- the catalog


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_is_found_by_everything_that_people_type(kind):
    """Kind, plural, singular, short names, any case, with the group or without."""
    for word in (
        kind.name,
        kind.plural,
        kind.singular,
        *kind.short_names,
        kind.plural.upper(),
        f"{kind.plural}.atoll.dev",
    ):
        assert find(word) is kind


def test_an_unknown_word_finds_no_kind():
    """A word of another group is not ours."""
    assert find("pods") is None
    assert find("jobs.batch") is None


def test_no_word_means_two_kinds():
    """Plurals, singulars and short names are each used once."""
    words = [word for kind in KINDS for word in (kind.plural, kind.singular, *kind.short_names)]
    assert sorted(words) == sorted(set(words))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_columns_and_immutable_fields_exist_in_the_schema(kind):
    """A table column or a fixed field that is misspelt would silently show or hold nothing."""
    schema = kind.model.model_json_schema(by_alias=True, mode="serialization")
    for path in (*(column.path for column in kind.columns), *(f".spec.{field}" for field in kind.immutable)):
        assert resolved(schema, path), path
    for column in kind.columns:
        assert column.priority in (0, 1)


def resolved(schema, path):
    """Follow a JSONPath through a JSON schema with references, optional values and arrays."""
    node = schema
    for step in re.sub(r"\[(\*|'[^']*')\]", "", path).strip(".").split("."):
        node = unwrapped(schema, node)
        node = node.get("properties", {}).get(step)
        if node is None:
            return False
    return True


def unwrapped(schema, node):
    """Look through $ref, anyOf with null, and array items."""
    while True:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        elif "anyOf" in node:
            node = next(option for option in node["anyOf"] if option.get("type") != "null")
        elif "items" in node:
            node = node["items"]
        else:
            return node


# --- references, labels, triggers


@pytest.mark.parametrize(
    ("reference", "found"), [("waves", ("lab", "waves")), ("other/waves.v1", ("other", "waves.v1"))]
)
def test_a_reference_without_namespace_means_the_own_one(reference, found):
    """`name` is here, `namespace/name` is there."""
    assert resolve(reference, "lab") == found


TERMS = {
    "In holds": (("In", ("eu", "us")), {"region": "eu"}, True),
    "In fails without the label": (("In", ("eu",)), {}, False),
    "NotIn holds without the label": (("NotIn", ("eu",)), {}, True),
    "NotIn fails": (("NotIn", ("eu",)), {"region": "eu"}, False),
    "Exists": (("Exists", ()), {"region": ""}, True),
    "DoesNotExist": (("DoesNotExist", ()), {"region": ""}, False),
}


@pytest.mark.parametrize(("term", "labels", "holds"), TERMS.values(), ids=TERMS)
def test_a_selector_term_means_what_kubernetes_says(term, labels, holds):
    """Each operator, with and without the label."""
    operator, values = term
    expression = SelectorRequirement(key="region", operator=operator, values=values)
    assert LabelSelector(match_expressions=(expression,)).matches(labels) is holds


@given(st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3))
@settings(deadline=None)
def test_the_empty_selector_matches_everything(labels):
    """No term can fail."""
    assert LabelSelector().matches(labels)


TEMPLATE = {
    "name": "picks-{dataset}",
    "spec": {
        **JOB_SPEC,
        "priority": 3,
        "inputs": [{"dataset": "{dataset}", "mountPath": "/data/{version}"}],
        "outputs": [{"dataset": "picks.{dataset}", "mountPath": "/out"}],
    },
}


def trigger(template):
    """Parse a trigger with that job template."""
    resource, problems = parse(BY_NAME["Trigger"], manifest("Trigger", job=template))
    assert problems == ()
    assert isinstance(resource, Trigger)
    return resource


def test_a_trigger_fills_its_template_everywhere():
    """Placeholders are replaced in every string, however deep; other values stay what they are."""
    spec = job_spec(trigger(TEMPLATE).spec.job, {"dataset": "anmo.2026-11-22", "version": "7"})
    assert spec.inputs[0].dataset == "anmo.2026-11-22"
    assert spec.inputs[0].mount_path == "/data/7"
    assert spec.outputs[0].dataset == "picks.anmo.2026-11-22"
    assert spec.priority == 3


def test_a_trigger_fills_the_workload_and_leaves_shell_braces_alone():
    """Only the two placeholders are replaced: ${VAR}, {} and {other} reach the container."""
    command = ["sh", "-c", "echo ${HOME} {} {other} {dataset}"]
    containers = [{**CONTAINERS[0], "command": command}]
    template = {
        "name": "x",
        "spec": {**JOB_SPEC, "workload": {**WORKLOAD, "spec": {"template": {"spec": {"containers": containers}}}}},
    }
    spec = job_spec(trigger(template).spec.job, {"dataset": "waves", "version": "1"})
    filled = spec.workload.spec["template"]["spec"]["containers"][0]["command"]
    assert filled == ["sh", "-c", "echo ${HOME} {} {other} waves"]


def test_a_dataset_that_makes_the_job_invalid_is_an_error_and_not_a_job():
    """A filled-in name that is too long is refused when the job is made."""
    with pytest.raises(ValidationError, match="outputs"):
        job_spec(trigger(TEMPLATE).spec.job, {"dataset": "a" * 250, "version": "1"})


def test_objects_are_frozen_and_aware_of_time():
    """A kind cannot be changed in place, and its instants keep their zone."""
    job, _ = parse(BY_NAME["Job"], {**manifest("Job"), "status": {"queuedAt": "2026-11-22T18:00:00Z"}})
    assert isinstance(job, Job)
    assert job.status.queued_at == datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
    with pytest.raises(ValidationError, match="frozen"):
        job.spec.queue = "other"
