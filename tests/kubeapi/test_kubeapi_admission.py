"""Admission sees the very object that would be stored, on every way to write one, and may refuse it."""

import json
from pathlib import Path
from typing import Any

import pytest

from atoll.kubeapi.http.access import Action, Decision, Rule, User
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from kubeapi.access_world import running
from kubeapi.kinds import CONFIG_MAP, WIDGET, config_map, widget

WIDGETS = "/apis/example.dev/v1/namespaces/default/widgets"
MERGE = {"content-type": "application/merge-patch+json"}
PATCH = {"content-type": "application/json-patch+json"}
APPLY = {"content-type": "application/apply-patch+yaml"}


class BlueOnly:
    """Lets alice have blue widgets of at most ten, and remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Action, Object, Object | None]] = []

    def admit(self, user: User, action: Action, new: Object, old: Object | None) -> Decision:
        self.seen.append((user.name, action, new, old))
        spec = new["spec"]
        if spec["color"] != "blue" or spec["size"] > 10:
            return Decision(False, f"{user.name} may not have {spec['size']} of {spec['color']}")
        return Decision(True)


def _scale(replicas: int) -> dict[str, Any]:
    return {"kind": "Scale", "metadata": {"name": "one"}, "spec": {"replicas": replicas}}


def _apply(name: str, **spec: Any) -> dict[str, Any]:
    return {"content": json.dumps(widget(name, **spec)), "headers": APPLY}


# Ways to make a widget, or `one`, which is blue, into what alice may not have: what admission says of it.
REFUSED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "a create whose color is the default": ("POST", WIDGETS, {"json": widget("two")}, "3 of red"),
    "an update": ("PUT", f"{WIDGETS}/one", {"json": widget("one", color="green")}, "3 of green"),
    "a merge patch": (
        "PATCH", f"{WIDGETS}/one", {"content": b'{"spec":{"color":null}}', "headers": MERGE}, "3 of red"),
    "a JSON patch": (
        "PATCH", f"{WIDGETS}/one",
        {"content": b'[{"op":"replace","path":"/spec/size","value":50}]', "headers": PATCH}, "50 of blue"),
    "an apply that changes": (
        "PATCH", f"{WIDGETS}/one?fieldManager=me&force=true", _apply("one", color="red"), "of red"),
    "an apply that creates": ("PATCH", f"{WIDGETS}/two?fieldManager=me", _apply("two"), "3 of red"),
    "a scale": ("PUT", f"{WIDGETS}/one/scale", {"json": _scale(50)}, "50 of blue"),
    "a patch of the scale": (
        "PATCH", f"{WIDGETS}/one/scale", {"content": b'{"spec":{"replicas":50}}', "headers": MERGE}, "50 of blue"),
    "a dry run": ("POST", f"{WIDGETS}?dryRun=All", {"json": widget("two")}, "3 of red"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_no_way_of_writing_gets_past_admission(store: Store, tmp_path: Path, case: str) -> None:
    method, path, body, why = REFUSED[case]
    before = await store.create(WIDGET, widget("one", color="blue"))
    async with running(store, tmp_path, admission=BlueOnly()) as world, world.http() as http:
        answer = await http.request(method, path, **body)
    name = "two" if "two" in path + str(body.get("json", "")) else "one"
    assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden")
    assert answer.json()["message"].startswith(f'widgets.example.dev "{name}" is forbidden: alice may not have ')
    assert answer.json()["message"].endswith(why)
    assert answer.json()["details"] == {"name": name, "group": "example.dev", "kind": "widgets"}
    assert (await store.list(WIDGET)).items == [before]


async def test_admission_sees_what_was_and_what_would_be(store: Store, tmp_path: Path) -> None:
    admission = BlueOnly()
    async with running(store, tmp_path, admission=admission) as world, world.http() as http:
        await http.post(WIDGETS, json=widget("one", color="blue", size=1))
        await http.put(f"{WIDGETS}/one/scale", json=_scale(2))
        status = {**widget("one", size=99), "status": {"count": 7}}
        assert (await http.put(f"{WIDGETS}/one/status", json=status)).status_code == 200
    verbs = [(action.verb, action.target.subresource) for _, action, _, _ in admission.seen if action.target]
    assert verbs == [("create", ""), ("update", "scale"), ("update", "status")]
    sizes = [(old["spec"]["size"] if old else None, new["spec"]["size"]) for _, _, new, old in admission.seen]
    assert sizes == [(None, 1), (1, 2), (2, 2)]
    assert admission.seen[-1][2]["status"] == {"count": 7}


async def test_an_object_that_breaks_its_kinds_rules_never_comes_to_admission(store: Store, tmp_path: Path) -> None:
    admission = BlueOnly()
    async with running(store, tmp_path, admission=admission) as world, world.http() as http:
        assert (await http.post(WIDGETS, json=widget("one", size=0))).status_code == 422
    assert admission.seen == []


async def test_an_apply_that_creates_needs_the_right_to_create(store: Store, tmp_path: Path) -> None:
    maps = "/api/v1/namespaces/default/configmaps"
    await store.create(CONFIG_MAP, config_map("old"))
    async with running(store, tmp_path) as world, world.http("b") as http:
        world.users.granted["bob"] = [("default", Rule(("patch",), ("",), ("configmaps",)))]
        answers = {
            name: await http.patch(
                f"{maps}/{name}?fieldManager=me", content=json.dumps(config_map(name, x="1")), headers=APPLY
            )
            for name in ("old", "new")
        }
    assert {name: answer.status_code for name, answer in answers.items()} == {"old": 200, "new": 403}
    assert 'User "bob" cannot create resource "configmaps"' in answers["new"].json()["message"]
    assert [found["metadata"]["name"] for found in (await store.list(CONFIG_MAP)).items] == ["old"]


async def test_an_object_is_created_only_in_the_namespace_that_was_authorized(store: Store, tmp_path: Path) -> None:
    """Without a namespace on the path, the one in the body would be nobody's question."""
    async with running(store, tmp_path) as world, world.http() as http:
        everywhere = await http.post("/apis/example.dev/v1/widgets", json=widget("one"))
        elsewhere = await http.post(WIDGETS, json=widget("one", namespace="vault"))
    assert (everywhere.status_code, elsewhere.status_code) == (405, 400)
    assert (await store.list(WIDGET)).items == []


async def test_a_head_is_a_read_that_never_watches(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path) as world, world.http() as http:
        listed = await http.head(f"{WIDGETS}?watch=1")
        missing = await http.head(f"{WIDGETS}/one")
        assert [action.verb for action in world.users.asked] == ["list", "get"]
    assert (listed.status_code, listed.content, missing.status_code) == (200, b"", 404)
