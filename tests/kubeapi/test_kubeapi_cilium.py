"""The definitions of Cilium and of the Kubernetes network policy API load, and judge policies as kube-apiserver does.

The answers compared with were recorded from kube-apiserver 1.36.2 (shared/data/verdicts/README.md).
"""

import copy
import gzip
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from atoll.kubeapi.crd import CRD, types_of
from atoll.kubeapi.custom_resources import CustomResources
from atoll.kubeapi.errors import BadRequest, Invalid
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.schema_strategy import SchemaStrategy
from atoll.kubeapi.store import Store
from kubeapi.test_kubeapi_custom_resources import condition, running

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
CRDS = DATA / "cilium" / "crds"
NEWEST = ("cilium-1.20-dev", "v1alpha2-experimental")
pytestmark = pytest.mark.skipif(not CRDS.is_dir(), reason=f"the public definitions and verdicts are not at {DATA}")
FILES = sorted(str(path.relative_to(CRDS)) for path in CRDS.rglob("*.yaml"))


def documents(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the manifests of a file."""
    for document in yaml.load_all(path.read_text(), yaml.CSafeLoader):
        if isinstance(document, dict):
            yield document


def definition(path: Path) -> dict[str, Any]:
    """Return the definition in a file."""
    found = next(documents(path))
    found["metadata"].pop("creationTimestamp", None)  # null, as controller-gen writes it
    return found


@lru_cache(maxsize=1)
def newest() -> Mapping[tuple[str, str], ResourceType]:
    """Return the types of the newest definitions by apiVersion and kind."""
    paths = [CRDS / name for name in FILES if any(part in name for part in NEWEST)]
    found: dict[tuple[str, str], ResourceType] = {}
    for path in paths:
        prepared = CRD.strategy.prepare(definition(path), None)
        assert prepared.causes == ()
        found.update({(rt.api_version, rt.kind): rt for rt in types_of(prepared.obj)})
    return found


def recorded(name: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file of verdicts."""
    with gzip.open(DATA / "verdicts" / name, "rt") as lines:
        for line in lines:
            yield json.loads(line)


async def answer(store: Store, rt: ResourceType, manifest: dict[str, Any]) -> tuple[str, list[str]]:
    """Create an object without keeping it; return the error, empty if there is none, and the warnings."""
    warnings: list[str] = []
    namespace = "default" if rt.namespaced else None
    try:
        await store.create(
            rt,
            copy.deepcopy(manifest),
            namespace=manifest["metadata"].get("namespace") or namespace,
            dry_run=True,
            field_validation="Warn",
            warn=warnings.append,
        )
    except (Invalid, BadRequest) as error:
        return error.message, warnings
    return "", warnings


@pytest.mark.parametrize("name", FILES)
async def test_every_definition_is_established_with_all_its_rules(store: Store, name: str) -> None:
    warnings: list[str] = []
    given = definition(CRDS / name)
    async with running(CustomResources(store)):
        await store.create(CRD, given, warn=warnings.append)
        assert await condition(store, "Established", name=given["metadata"]["name"]) == "True"
        served = [rt for rt in store.registry.all() if rt.group == given["spec"]["group"]]
    assert [text for text in warnings if "unrecognized format" not in text] == []
    assert {rt.version for rt in served} == {version["name"] for version in given["spec"]["versions"]}
    for rt in served:
        assert isinstance(rt.strategy, SchemaStrategy)
        assert rt.strategy.unenforced == ()


async def test_policies_as_people_write_them_are_taken(store: Store) -> None:
    """The upstream examples, and every policy that Cilium's engine gave verdicts for."""
    manifests = [document for path in (DATA / "policies").rglob("*.yaml") for document in _readable(path)]
    for name in ("examples.jsonl.gz", "handmade.jsonl.gz"):
        manifests += [policy for case in recorded(name) for policy in (*case["policies"], *case.get("cidrGroups", ()))]
    known = [manifest for manifest in manifests if (manifest.get("apiVersion"), manifest.get("kind")) in newest()]
    refused = {
        str(manifest["metadata"]["name"])
        for manifest in known
        if (await answer(store, newest()[manifest["apiVersion"], manifest["kind"]], manifest))[0]
    }
    assert refused == {"requires-rule"}  # an example of an older Cilium, which kube-apiserver refuses too (inv-326)
    assert len(known) > 300


def _readable(path: Path) -> list[dict[str, Any]]:
    """Return the manifests of a file; some in the corpus are templates or malformed on purpose."""
    try:
        return list(documents(path))
    except yaml.YAMLError:
        return []


async def test_malformed_policies_are_refused_with_the_words_of_kube_apiserver(store: Store) -> None:
    by_kind = {kind: rt for (_, kind), rt in newest().items()}
    cases = [case for case in recorded("invalid.jsonl.gz") if case["kind"] in by_kind]
    different: dict[str, str] = {}
    for case in cases:
        rt = newest().get((case["policy"].get("apiVersion"), case["kind"]), by_kind[case["kind"]])
        error, warnings = await answer(store, rt, case["policy"])
        theirs = case["apiserver"]
        said = [text.replace('"', "") for text in sorted(warnings)]
        ours = (error == "", _comparable(error), said)
        if ours != (theirs["accepted"], _comparable(theirs.get("message", "")), sorted(theirs.get("warnings", ()))):
            different[case["id"]] = error
    assert different.keys() == DIFFERENT.keys(), different
    assert len(cases) > 200


DIFFERENT = {
    "inv-001": "a missing name is reported without saying that rules were not asked",
    "inv-002": "a missing name is reported without saying that rules were not asked",
    "inv-307": "a name that is none is explained in fewer words",
    "inv-308": "a wrong apiVersion is named",
    "inv-306": "a namespace on a cluster-scoped object is refused; kube-apiserver drops it",
}


def _comparable(message: str) -> str:
    """Return a message with the path of a choice of schemas where kube-apiserver has none (`<nil>`): ours has it."""
    return re.sub(r'\w[\w.\[\]]*: Invalid value: "": "([^"]*)" must', r'<nil>: Invalid value: "": "\1" must', message)


BROKEN: dict[str, tuple[str, dict[str, Any], str]] = {
    "a policy without a spec": (
        "CiliumNetworkPolicy",
        {},
        "<nil>: Invalid value: spec or specs must be provided",
    ),
    "a range that is none": (
        "ClusterNetworkPolicy",
        {"to": [{"networks": ["10.0.0.0/8", "10.0.0.0"]}]},
        "spec.egress[0].to[0].networks[1]: Invalid value: Invalid CIDR",
    ),
    "a range of ports that ends before it starts": (
        "ClusterNetworkPolicy",
        {
            "to": [{"networks": ["10.0.0.0/8"]}],
            "protocols": [{"tcp": {"destinationPort": {"range": {"start": 9, "end": 8}}}}],
        },
        "spec.egress[0].protocols[0].tcp.destinationPort.range: Invalid value: Start port must be less than End port",
    ),
    "a named port towards networks": (
        "ClusterNetworkPolicy",
        {"to": [{"networks": ["10.0.0.0/8"]}], "protocols": [{"destinationNamedPort": "http"}]},
        "spec.egress[0]: Invalid value: networks/nodes/domainNames peer cannot be set with namedPorts",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_rule_of_the_definitions_refuses_what_it_is_there_for(store: Store, case: str) -> None:
    kind, egress, expected = BROKEN[case]
    rt = next(rt for (_, known), rt in newest().items() if known == kind)
    manifest: dict[str, Any] = {"apiVersion": rt.api_version, "kind": kind, "metadata": {"name": "p"}}
    if egress:
        rule = {"action": "Deny", **egress}
        manifest["spec"] = {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "egress": [rule]}
    error, _ = await answer(store, rt, manifest)
    assert expected in error
