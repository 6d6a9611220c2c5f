"""CustomResourceDefinitions work in simulated clusters, and Cilium's own take the place of the built-in kinds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.worlds import Json, Kubectl, eventually

CRDS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "cilium" / "crds"
VERSIONS = ("cilium-1.18-dev", "cilium-1.19-era", "cilium-1.20-dev")

TELESCOPE_SPEC: Json = {
    "type": "object",
    "required": ["mirror"],
    "properties": {
        "mirror": {"type": "integer", "minimum": 1},
        "mount": {"type": "string", "default": "alt-az"},
    },
}
TELESCOPES: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "telescopes.sky.dev"},
    "spec": {
        "group": "sky.dev",
        "scope": "Namespaced",
        "names": {"plural": "telescopes", "kind": "Telescope"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": TELESCOPE_SPEC}}},
            }
        ],
    },
}


def telescope(name: str, mirror: int) -> Json:
    return {"apiVersion": "sky.dev/v1", "kind": "Telescope", "metadata": {"name": name}, "spec": {"mirror": mirror}}


def policy(name: str, **rule: Any) -> Json:
    spec = {"endpointSelector": {}, "ingress": [rule]}
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": name}, "spec": spec}


def refusal(kubectl: Kubectl, manifest: Json) -> str:
    """Return why a manifest is refused."""
    done = kubectl.run("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(manifest), check=False)
    assert done.returncode != 0, done.stdout
    return done.stderr


@contextmanager
def defined(kubectl: Kubectl, *definitions: Json) -> Iterator[None]:
    """Have definitions in the cluster for the time of a block."""
    names = [f"crd/{definition['metadata']['name']}" for definition in definitions]
    kubectl.apply(*definitions)
    try:
        yield
    finally:
        kubectl("delete", *names, "--timeout=30s", "--ignore-not-found")


def established(kubectl: Kubectl, definition: Json) -> str:
    """Wait for the verdict on a definition; return why it is, or is not, established."""
    name = definition["metadata"]["name"]
    conditions = eventually(lambda: kubectl.status("crd", name).get("conditions"), what=f"a verdict on {name}")
    return next(str(each["reason"]) for each in conditions if each["type"] == "Established")


def test_objects_of_a_definition_live_and_go_with_it(site: Kubectl) -> None:
    """An applied definition is served: its objects are defaulted and judged, and deleted with it."""
    with defined(site, TELESCOPES):
        site("wait", "crd/telescopes.sky.dev", "--for=condition=Established", "--timeout=20s")
        site.run("apply", "-f", "-", stdin=yaml.safe_dump(telescope("big", 80)))
        assert site.get("telescope", "big")["spec"] == {"mirror": 80, "mount": "alt-az"}
        assert "spec.mirror" in refusal(site, telescope("none", 0))
        site("delete", "telescope", "big")
        assert site.objects("telescopes") == []
        site.apply(telescope("last", 5))
    with defined(site, TELESCOPES):
        site("wait", "crd/telescopes.sky.dev", "--for=condition=Established", "--timeout=20s")
        assert site.objects("telescopes") == []


def test_a_namespace_takes_its_custom_objects_along(site: Kubectl) -> None:
    """Deleting a namespace deletes what is in it, of defined kinds too."""
    with defined(site, TELESCOPES):
        site("wait", "crd/telescopes.sky.dev", "--for=condition=Established", "--timeout=20s")
        site.apply(telescope("big", 80))
        site("delete", "namespace", site.namespace, "--timeout=30s")
        assert site.objects("telescopes", "--all-namespaces") == []


@pytest.fixture(params=VERSIONS)
def cilium(request: pytest.FixtureRequest) -> list[Json]:
    """Give the definitions of one version of Cilium, but for its nodes: those go with theirs, and nobody makes them."""
    folder = CRDS / request.param
    if not folder.is_dir():
        pytest.skip(f"Cilium's definitions are not at {folder}")
    files = [file for file in sorted(folder.glob("*/*.yaml")) if file.stem != "ciliumnodes"]
    return [yaml.load(file.read_text(), Loader=yaml.CSafeLoader) for file in files]


def test_cilium_definitions_take_the_place_of_the_built_in_kinds(site: Kubectl, cilium: list[Json]) -> None:
    """With them the real schemas judge policies, what was there stays, and without them all is as before."""
    misspelt = policy("misspelt", fromEndpointz=[{}])
    site.apply(policy("before", fromEndpoints=[{}]), misspelt)
    with defined(site, *cilium):
        assert {established(site, each) for each in cilium} == {"InitialNamesAccepted"}
        assert {item["metadata"]["name"] for item in site.objects("cnp")} == {"before", "misspelt"}
        assert "fromEndpointz" in refusal(site, policy("again", fromEndpointz=[{}]))
        site.apply(policy("good", fromEndpoints=[{"matchLabels": {"app": "web"}}]))
        assert site("get", "cnp", "good", "-o", "name") == "ciliumnetworkpolicy.cilium.io/good\n"
    site.apply(misspelt)
    assert [item["metadata"]["name"] for item in site.objects("cnp")] == ["misspelt"]


def test_a_definition_of_kubernetes_own_kind_is_refused_and_harms_nothing(site: Kubectl) -> None:
    """It is not accepted, says whose the names are, and its deletion leaves the objects of the true kind alone."""
    impostor = yaml.safe_load(yaml.safe_dump(TELESCOPES).replace("sky.dev", "networking.k8s.io"))
    impostor["metadata"]["name"] = "networkpolicies.networking.k8s.io"
    impostor["spec"]["names"] = {"plural": "networkpolicies", "kind": "NetworkPolicy"}
    kept: Json = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "kept"}}
    site.apply({**kept, "spec": {"podSelector": {}}})
    with defined(site, impostor):
        assert established(site, impostor) == "NotAccepted"
        assert "networkpolicies.networking.k8s.io" in str(site.status("crd", impostor["metadata"]["name"]))
    assert site.get("networkpolicy", "kept") is not None
