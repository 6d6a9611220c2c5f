"""The mappings of kinds, held against the kinds' real schemas.

Where a package carries a kind's own models, those judge; the rest needs the CRDs themselves, in a folder that
ATOLL_CRDS names (each operator's repository has them).
"""

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from workload_worlds import NAMES, filled, leads_somewhere, lost, violations, workload

from atoll.federation.workloads import ADAPTERS, Adapter
from atoll.federation.workloads.groups import Place, parts_of, placed_groups
from atoll.federation.workloads.paths import first

# Module and class. They are imported by the tests: the modules of a package take a second each.
MODELS = {
    "job": ("kubeflow_trainer_api", "IoK8sApiBatchV1Job"),
    "pod": ("kubeflow_trainer_api", "IoK8sApiCoreV1Pod"),
    "jobset": ("kubeflow_trainer_api", "JobsetV1alpha2JobSet"),
    "trainjob": ("kubeflow_trainer_api", "TrainerV1alpha1TrainJob"),
    "experiment": ("kubeflow_katib_api", "V1beta1Experiment"),
    "sparkapplication": ("kubeflow_spark_api", "SparkV1beta2SparkApplication"),
}


@pytest.mark.parametrize("name", MODELS)
def test_all_that_is_written_into_a_workload_is_known_to_its_kinds_own_models(name):
    """A model that does not know a field drops it, or refuses the whole."""
    package, model = MODELS[name]
    manifest = filled(name)
    kept = getattr(import_module(f"{package}.models"), model).from_dict(manifest).to_dict()
    assert list(lost(manifest, kept)) == []


def test_all_that_is_written_into_a_workflow_is_known_to_argo():
    """Hera's models are generated from Argo's own OpenAPI."""
    manifest = filled("workflow")
    model = import_module("hera.workflows.models").Workflow
    kept = model.model_validate(manifest).model_dump(by_alias=True, exclude_none=True, mode="json")
    assert list(lost(manifest, kept)) == []


def _crds() -> dict[tuple[str, str], Mapping[str, Any]]:
    """Read the schemas of all CRDs in the folder, by apiVersion and kind."""
    found = {}
    for path in sorted(Path(os.environ.get("ATOLL_CRDS", "/nowhere")).glob("*.y*ml")):
        for crd in yaml.load_all(path.read_text(), yaml.CSafeLoader):
            for version in crd["spec"]["versions"] if crd and crd.get("kind") == "CustomResourceDefinition" else ():
                kind = (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
                found[kind] = {**version["schema"]["openAPIV3Schema"], "plural": crd["spec"]["names"]["plural"]}
    return found


@pytest.fixture(scope="module")
def crds() -> dict[tuple[str, str], Mapping[str, Any]]:
    """The CRDs of the folder."""
    if "ATOLL_CRDS" not in os.environ:
        pytest.skip("ATOLL_CRDS names no folder with the CRDs of workload kinds")
    return _crds()


def _schema(crds: Mapping[tuple[str, str], Mapping[str, Any]], adapter: Adapter) -> Mapping[str, Any]:
    schema = crds.get((adapter.api_version, adapter.kind))
    if schema is None:
        pytest.skip(f"the folder that ATOLL_CRDS names has no CRD of {adapter}")
    return schema


@pytest.mark.parametrize("name", NAMES)
def test_all_that_is_written_into_a_workload_is_in_its_crd(name, crds):
    """What the schema does not have, an API server would prune, and Atoll would refuse to apply."""
    manifest = filled(name)
    schema = _schema(crds, ADAPTERS.get((manifest["apiVersion"], manifest["kind"]), Adapter("", name, "")))
    assert list(violations({"spec": manifest["spec"]}, {"type": "object", **schema, "required": ()})) == []


@pytest.mark.parametrize("kind", ADAPTERS, ids="/".join)
def test_every_path_that_a_kind_declares_is_in_its_crd(kind, crds):
    """Of status and of what is read: a path that is nowhere would be silent for ever."""
    adapter = ADAPTERS[kind]
    schema = _schema(crds, adapter)
    assert [path for path in _declared(adapter) if not leads_somewhere(schema, path)] == []
    assert schema["plural"] == adapter.plural


def _declared(adapter: Adapter) -> Iterator[str]:
    for when in adapter.status:
        yield from filter(None, (when.at, when.reason, when.message))
    yield from (*adapter.started, *adapter.finished, *adapter.details, *adapter.fixed, *adapter.fixed_if)
    yield from (*adapter.volcano, *adapter.yunikorn)
    yield from filter(None, (adapter.time_limit, adapter.suspend.at if adapter.suspend else None))
    for group in adapter.groups:
        place = Place(group, "", group.at)
        for number in group.count:
            written = (number.at, number.no_less, number.no_more, number.up_to, number.if_set, number.per)
            yield from (place.path(path) for path in written if path is not None)
        amounts = group.parts.amounts
        if amounts is not None:
            written = (*amounts.cpu[:1], *amounts.memory[:1], amounts.overhead, amounts.overhead_factor_at)
            yield from (place.path(path) for path in written if path is not None)


@pytest.mark.parametrize("name", NAMES)
def test_every_group_of_an_example_has_its_parts_where_the_kind_says(name):
    """After all was written, volumes and labels stand where each group's adapter points."""
    manifest = filled(name)
    for place, _ in placed_groups(workload(name)):
        parts = parts_of(manifest, place)
        assert first(manifest, place.path(parts.labels))["atoll.dev/run"] == "r-1"
        assert [volume["name"] for volume in first(manifest, place.path(parts.volumes))] == ["data"]
