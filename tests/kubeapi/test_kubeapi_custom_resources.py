"""A CustomResourceDefinition makes a resource that is validated, defaulted, pruned, printed, and cleaned up after."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from atoll.kubeapi.crd import CRD
from atoll.kubeapi.custom_resources import CustomResources
from atoll.kubeapi.errors import BadRequest, Invalid, NotFound
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.store import Store
from kubeapi.conftest import Kubectl
from kubeapi.kinds import WIDGET, widget

SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "A telescope looks at the sky.",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["mirror"],
            "properties": {
                "mirror": {"type": "integer", "minimum": 1, "description": "Diameter in centimetres."},
                "mount": {"type": "string", "enum": ["alt-az", "equatorial"], "default": "alt-az"},
                "count": {"type": "integer"},
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "telescopes.sky.dev"},
    "spec": {
        "group": "sky.dev",
        "scope": "Namespaced",
        "names": {"plural": "telescopes", "kind": "Telescope", "shortNames": ["tel"]},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}},
            {"name": "v1beta1", "served": True, "storage": False, "schema": {"openAPIV3Schema": SCHEMA}},
        ],
    },
}
DEFINITION["spec"]["versions"][0] |= {
    "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.count", "statusReplicasPath": ".status.count"}},
    "additionalPrinterColumns": [{"name": "Mirror", "type": "integer", "jsonPath": ".spec.mirror"}],
}


def telescope(name: str, **spec: Any) -> dict[str, Any]:
    """Return a telescope."""
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "sky.dev/v1", "kind": "Telescope", "metadata": metadata, "spec": {"mirror": 20, **spec}}


@contextlib.asynccontextmanager
async def running(loop: CustomResources) -> AsyncIterator[CustomResources]:
    """Run a loop for the time of a block."""
    task = asyncio.create_task(loop.run())
    try:
        yield loop
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def definitions(store: Store) -> AsyncIterator[CustomResources]:
    """The loop that serves definitions."""
    async with running(CustomResources(store)) as loop:
        yield loop


async def condition(store: Store, kind: str, *, name: str = "telescopes.sky.dev") -> str:
    """Wait for a condition of a definition and return its status."""
    async with asyncio.timeout(10):
        while True:
            for found in ((await store.get(CRD, None, name)).get("status") or {}).get("conditions", ()):
                if found["type"] == kind:
                    return str(found["status"])
            await asyncio.sleep(0.01)


async def defined(store: Store, definition: dict[str, Any] = DEFINITION) -> ResourceType:
    """Create the definition and return the type that it makes."""
    await store.create(CRD, definition)
    assert await condition(store, "Established") == "True"
    rt = store.registry.by_plural("sky.dev", "v1", "telescopes")
    assert rt is not None
    return rt


@pytest.mark.usefixtures("definitions")
async def test_objects_of_a_definition_are_defaulted_pruned_and_validated(store: Store) -> None:
    rt = await defined(store)
    created = await store.create(rt, telescope("one", lens=3), field_validation="Ignore")
    assert created["spec"] == {"mirror": 20, "mount": "alt-az"}
    with pytest.raises(Invalid) as refused:
        await store.create(rt, telescope("two", mirror=0, mount="none"))
    assert [cause.field for cause in refused.value.causes] == ["spec.mirror", "spec.mount"]


@pytest.mark.usefixtures("definitions")
async def test_an_object_is_read_in_every_version(store: Store) -> None:
    rt = await defined(store)
    await store.create(rt, telescope("one"))
    beta = store.registry.by_plural("sky.dev", "v1beta1", "telescopes")
    assert beta is not None
    read = await store.get(beta, "default", "one")
    event = await anext(store.watch(beta))
    patched = await store.patch(beta, "default", "one", Patch("merge", {"spec": {"mirror": 30}}))
    assert {obj["apiVersion"] for obj in (read, event.object, patched)} == {"sky.dev/v1beta1"}
    assert (await store.get(rt, "default", "one"))["apiVersion"] == "sky.dev/v1"


@pytest.mark.usefixtures("definitions")
async def test_a_changed_definition_changes_what_is_served(store: Store) -> None:
    await defined(store)
    changed = await store.get(CRD, None, "telescopes.sky.dev")
    changed["spec"]["versions"][1]["served"] = False
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["mirror"][
        "minimum"
    ] = 50
    await store.update(CRD, changed)
    async with asyncio.timeout(10):
        while store.registry.by_plural("sky.dev", "v1beta1", "telescopes") is not None:
            await asyncio.sleep(0.01)
    rt = store.registry.by_plural("sky.dev", "v1", "telescopes")
    assert rt is not None
    with pytest.raises(Invalid, match=r"spec\.mirror"):
        await store.create(rt, telescope("small"))


@pytest.mark.usefixtures("definitions")
async def test_deleting_a_definition_deletes_its_objects_first(store: Store) -> None:
    rt = await defined(store)
    held = telescope("held")
    held["metadata"]["finalizers"] = ["sky.dev/hold"]
    await store.create(rt, held)
    await store.create(rt, telescope("free"))
    await store.delete(CRD, None, "telescopes.sky.dev")
    async with asyncio.timeout(10):
        while [item["metadata"]["name"] for item in (await store.list(rt)).items] != ["held"]:
            await asyncio.sleep(0.01)
    await store.patch(rt, "default", "held", Patch("merge", {"metadata": {"finalizers": None}}))
    async with asyncio.timeout(10):
        while store.registry.by_plural("sky.dev", "v1", "telescopes") is not None:
            await asyncio.sleep(0.01)
        while (await store.list(CRD)).items:
            await asyncio.sleep(0.01)
    with pytest.raises(NotFound):
        await store.get(CRD, None, "telescopes.sky.dev")


@pytest.mark.usefixtures("definitions")
async def test_names_that_are_taken_are_not_accepted(store: Store) -> None:
    clash = yaml.safe_load(
        yaml.safe_dump(DEFINITION).replace("telescopes", "widgets").replace("sky.dev", "example.dev")
    )
    await store.create(CRD, clash)
    assert await condition(store, "NamesAccepted", name="widgets.example.dev") == "False"
    widgets = store.registry.by_plural("example.dev", "v1", "widgets")
    assert widgets is not None
    assert widgets.kind == "Widget"


@pytest.mark.usefixtures("definitions")
async def test_deleting_a_definition_that_was_not_accepted_deletes_nothing_else(store: Store) -> None:
    """The objects under its names are another type's."""
    await store.create(WIDGET, widget("kept"))
    await store.create(CRD, renamed("widgets", "Gadget", "example.dev"))
    assert await condition(store, "Established", name="widgets.example.dev") == "False"
    await store.delete(CRD, None, "widgets.example.dev")
    async with asyncio.timeout(10):
        while (await store.list(CRD)).items:
            await asyncio.sleep(0.01)
    assert [item["metadata"]["name"] for item in (await store.list(WIDGET)).items] == ["kept"]


async def test_a_stand_in_gives_way_to_its_definition_and_returns(store: Store) -> None:
    """While the definition exists its schema judges, in its versions only; afterwards the stand-in serves again."""
    served = store.registry.by_plural
    async with running(CustomResources(store, stand_ins=(WIDGET,))):
        await store.create(CRD, renamed("widgets", "Widget", "example.dev"))
        assert await condition(store, "Established", name="widgets.example.dev") == "True"
        defined_type = served("example.dev", "v1", "widgets")
        assert defined_type is not None
        with pytest.raises(BadRequest, match=r'unknown field "spec\.size"'):
            await store.create(defined_type, widget("one"))
        await store.delete(CRD, None, "widgets.example.dev")
        async with asyncio.timeout(10):
            while served("example.dev", "v1", "widgets") is not WIDGET:
                await asyncio.sleep(0.01)
    assert served("example.dev", "v1beta1", "widgets") is None


def renamed(plural: str, kind: str, group: str) -> dict[str, Any]:
    """Return the definition of a resource of another name."""
    definition: dict[str, Any] = json.loads(json.dumps(DEFINITION))
    definition["metadata"]["name"] = f"{plural}.{group}"
    definition["spec"] |= {"group": group, "names": {"plural": plural, "kind": kind}}
    return definition


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the definition with one value changed; None removes it."""
    definition = json.loads(json.dumps(DEFINITION))
    *parents, last = path.split("/")
    target: Any = definition
    for part in parents:
        target = target[int(part) if part.isdigit() else part]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return definition


@pytest.mark.usefixtures("definitions")
async def test_objects_are_listed_and_watched_by_a_selectable_field(store: Store) -> None:
    rt = await defined(store, changed("spec/versions/0/selectableFields", [{"jsonPath": ".spec.mount"}]))
    await store.create(rt, telescope("one", mount="equatorial"))
    await store.create(rt, telescope("two"))
    listed = await store.list(rt, field_selector="spec.mount=equatorial")
    assert [item["metadata"]["name"] for item in listed.items] == ["one"]
    event = await anext(store.watch(rt, field_selector="spec.mount!=equatorial"))
    assert event.object["metadata"]["name"] == "two"


@pytest.mark.usefixtures("definitions")
async def test_the_identity_of_a_resource_cannot_change(store: Store) -> None:
    await defined(store)
    body = {"spec": {"scope": "Cluster", "names": {"kind": "Scope"}}}
    with pytest.raises(Invalid) as refused:
        await store.patch(CRD, None, "telescopes.sky.dev", Patch("merge", body))
    assert {cause.field for cause in refused.value.causes} == {"spec.scope", "spec.names.kind"}


@pytest.mark.usefixtures("definitions")
async def test_kubectl_defines_creates_explains_scales_and_deletes(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "crd.yaml").write_text(yaml.safe_dump(DEFINITION))
    (tmp_path / "tel.yaml").write_text(yaml.safe_dump(telescope("one")))
    await kubectl.ok("apply", "-f", str(tmp_path / "crd.yaml"))
    await kubectl.ok("wait", "crd/telescopes.sky.dev", "--for=condition=Established", "--timeout=20s")
    await kubectl.ok("apply", "-f", str(tmp_path / "tel.yaml"))
    await kubectl.ok("scale", "tel/one", "--replicas=4")
    assert (await kubectl.ok("get", "tel")).split() == ["NAME", "MIRROR", "one", "20"]
    assert "Diameter in centimetres." in await kubectl.ok("explain", "telescope.spec.mirror")
    assert await kubectl.ok("get", "tel", "one", "-o", "jsonpath={.spec.count}") == "4"
    await kubectl.ok("delete", "crd", "telescopes.sky.dev", "--timeout=20s")
    assert (await kubectl("get", "tel")).code == 1
