"""Server-side apply: who owns what, conflicts, removal, and lists that merge by their keys."""

from typing import Any

import pytest

from atoll.kubeapi.apply import Application, apply
from atoll.kubeapi.errors import BadRequest, Conflict, Invalid, Subject
from atoll.kubeapi.fieldset import paths, readable
from atoll.kubeapi.managed_fields import APPLY, Manager
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.store import Store
from atoll.kubeapi.typed import merge
from kubeapi.kinds import CONFIG_MAP, POD, WIDGET, config_map, widget

Fields = dict[str, Any]


async def apply_widget(store: Store, manager: str, spec: Fields, *, force: bool = False) -> Fields:
    """Apply a spec to the widget `w`."""
    config = {"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec}
    patch = Patch("apply", config)
    return await store.patch(WIDGET, "default", "w", patch, field_manager=manager, force=force)


def owners(obj: Fields) -> dict[str, set[str]]:
    """Return the readable paths that each manager owns."""
    return {
        entry["manager"]: {readable(path) for path in paths(entry["fieldsV1"])}
        for entry in obj["metadata"].get("managedFields", ())
    }


async def test_the_first_apply_creates_the_object_and_owns_what_it_states(store: Store) -> None:
    created = await apply_widget(store, "one", {"size": 3, "parts": [{"name": "wheel", "count": 4}]})
    wheel = '.spec.parts[name="wheel"]'
    assert owners(created) == {"one": {".spec.size", wheel, f"{wheel}.name", f"{wheel}.count"}}
    assert created["spec"]["color"] == "red", "defaults are filled in and owned by nobody"


async def test_two_managers_share_an_object_and_a_list_by_its_keys(store: Store) -> None:
    await apply_widget(store, "one", {"size": 3, "parts": [{"name": "wheel", "count": 4}]})
    both = await apply_widget(store, "two", {"parts": [{"name": "door", "count": 2}], "size": 3})
    only_two = await apply_widget(store, "one", {"size": 3})
    assert both["spec"]["parts"] == [{"name": "wheel", "count": 4}, {"name": "door", "count": 2}]
    assert only_two["spec"]["parts"] == [{"name": "door", "count": 2}]


async def test_a_conflict_names_every_field_and_its_manager_and_changes_nothing(store: Store) -> None:
    await apply_widget(store, "one", {"size": 3, "code": "abc"})
    with pytest.raises(Conflict) as refused:
        await apply_widget(store, "two", {"size": 4, "code": "xyz"})
    status = refused.value.status()
    assert [(cause["field"], cause["message"]) for cause in status["details"]["causes"]] == [
        (".spec.code", 'conflict with "one"'),
        (".spec.size", 'conflict with "one"'),
    ]
    assert status["reason"] == "Conflict"
    assert status["message"].startswith("Apply failed with 2 conflicts")
    assert (await store.get(WIDGET, "default", "w"))["spec"]["size"] == 3


async def test_force_takes_the_field_away_from_its_owner(store: Store) -> None:
    await apply_widget(store, "one", {"size": 3, "code": "abc"})
    forced = await apply_widget(store, "two", {"size": 4}, force=True)
    assert forced["spec"]["size"] == 4
    assert owners(forced) == {"one": {".spec.code"}, "two": {".spec.size"}}


async def test_applying_the_same_value_shares_the_field_and_it_stays_until_both_let_go(store: Store) -> None:
    await apply_widget(store, "one", {"size": 3, "code": "abc"})
    await apply_widget(store, "two", {"size": 3, "code": "abc"})
    still = await apply_widget(store, "one", {"size": 3})
    gone = await apply_widget(store, "two", {"size": 3})
    assert still["spec"]["code"] == "abc"
    assert "code" not in gone["spec"]


async def test_applying_the_same_again_writes_nothing(store: Store) -> None:
    first = await apply_widget(store, "one", {"size": 3, "tags": ["a"]})
    again = await apply_widget(store, "one", {"size": 3, "tags": ["a"]})
    assert again == first


async def test_a_plain_write_takes_ownership_and_the_next_apply_finds_it(store: Store) -> None:
    await apply_widget(store, "one", {"size": 3})
    drifted = await store.patch(WIDGET, "default", "w", Patch("merge", {"spec": {"size": 9}}), field_manager="somebody")
    assert owners(drifted)["somebody"] == {".spec.size"}
    assert "one" not in owners(drifted)
    with pytest.raises(Conflict, match=r'conflict with "somebody" using example\.dev/v1 at '):
        await apply_widget(store, "one", {"size": 3})
    healed = await apply_widget(store, "one", {"size": 3}, force=True)
    assert healed["spec"]["size"] == 3
    assert owners(healed) == {"one": {".spec.size"}}


async def test_sets_are_merged_item_by_item(store: Store) -> None:
    await apply_widget(store, "one", {"size": 3, "tags": ["a", "b"]})
    both = await apply_widget(store, "two", {"size": 3, "tags": ["c"]})
    left = await apply_widget(store, "one", {"size": 3, "tags": ["b"]})
    assert both["spec"]["tags"] == ["a", "b", "c"]
    assert left["spec"]["tags"] == ["b", "c"]


async def test_an_atomic_list_has_one_owner(store: Store) -> None:
    await apply_widget(store, "one", {"size": 3, "steps": ["a", "b"]})
    with pytest.raises(Conflict, match=r"\.spec\.steps"):
        await apply_widget(store, "two", {"steps": ["c"]})


async def test_an_atomic_map_is_replaced_as_a_whole(store: Store) -> None:
    async def select(node: dict[str, str]) -> Fields:
        spec = {"containers": [{"name": "main"}], "nodeSelector": node}
        config = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
        return await store.patch(POD, "default", "p", Patch("apply", config), field_manager="one")

    await select({"a": "1"})
    assert (await select({"b": "2"}))["spec"]["nodeSelector"] == {"b": "2"}


async def test_a_list_key_that_is_left_out_is_its_default(store: Store) -> None:
    async def expose(ports: list[Fields]) -> Fields:
        spec = {"containers": [{"name": "main", "ports": ports}]}
        config = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
        return await store.patch(POD, "default", "p", Patch("apply", config), field_manager="one")

    await expose([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53}])
    after = await expose([{"containerPort": 53, "protocol": "TCP"}])
    assert after["spec"]["containers"][0]["ports"] == [{"containerPort": 53, "protocol": "TCP"}]


async def test_the_applied_order_of_items_wins_among_those_applied(store: Store) -> None:
    await apply_widget(store, "one", {"size": 3, "parts": [{"name": "a"}, {"name": "b"}, {"name": "c"}]})
    await apply_widget(store, "two", {"parts": [{"name": "x"}]})
    turned = await apply_widget(store, "one", {"size": 3, "parts": [{"name": "c"}, {"name": "a"}]})
    assert [part["name"] for part in turned["spec"]["parts"]] == ["c", "x", "a"]


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        ("ab", "c", "abc"),
        ("abc", "b", "abc"),
        ("abcx", "ca", "bcxa"),
        ("ax", "nab", "naxb"),
        ("", "ab", "ab"),
        ("abc", "cba", "cba"),
    ],
)
def test_merged_lists_have_the_order_of_kubernetes(live: str, config: str, merged: str) -> None:
    schema = {"items": {"type": "string"}, "x-kubernetes-list-type": "set"}
    assert merge(list(live), list(config), schema) == list(merged)


async def test_status_and_spec_are_applied_apart(store: Store) -> None:
    await apply_widget(store, "one", {"size": 3})
    config = {"apiVersion": "example.dev/v1", "kind": "Widget", "spec": {"size": 9}, "status": {"ready": True}}
    status = await store.patch(
        WIDGET, "default", "w", Patch("apply", config), subresource="status", field_manager="controller"
    )
    again = await apply_widget(store, "one", {"size": 4})
    assert status["spec"]["size"] == 3
    assert again["status"] == {"ready": True}
    assert owners(again) == {"one": {".spec.size"}, "controller": {".status.ready"}}


async def test_an_object_without_managers_asks_before_it_is_applied_to(store: Store) -> None:
    await store.create(CONFIG_MAP, config_map("a", x="1"), field_manager="old")
    await store.patch(CONFIG_MAP, "default", "a", Patch("merge", {"metadata": {"managedFields": [{}]}}))
    config = {"metadata": {"name": "a"}, "data": {"x": "2"}}
    with pytest.raises(Conflict, match="before-first-apply"):
        await store.patch(CONFIG_MAP, "default", "a", Patch("apply", config), field_manager="new")


async def test_nulls_in_a_configuration_state_nothing(store: Store) -> None:
    config = {"metadata": {"name": "a", "creationTimestamp": None}, "data": {"x": "1", "y": None}}
    created = await store.patch(CONFIG_MAP, "default", "a", Patch("apply", config), field_manager="one")
    assert created["data"] == {"x": "1"}
    assert owners(created) == {"one": {".data.x"}}


async def test_an_apply_without_a_manager_or_with_managed_fields_is_refused(store: Store) -> None:
    with pytest.raises(Invalid, match="fieldManager"):
        await apply_widget(store, "", {"size": 3})
    config = {"metadata": {"name": "a", "managedFields": []}}
    with pytest.raises(BadRequest, match=r"metadata\.managedFields"):
        await store.patch(CONFIG_MAP, "default", "a", Patch("apply", config), field_manager="one")


async def test_an_invalid_configuration_changes_nothing(store: Store) -> None:
    await apply_widget(store, "one", {"size": 3})
    with pytest.raises(Invalid, match=r"spec\.size"):
        await apply_widget(store, "one", {"size": 1000})
    assert (await store.get(WIDGET, "default", "w"))["spec"]["size"] == 3


async def test_labels_of_others_stay_when_an_applier_drops_its_own(store: Store) -> None:
    first = widget("w")
    first["metadata"]["labels"] = {"mine": "1"}
    await store.patch(WIDGET, "default", "w", Patch("apply", first), field_manager="one")
    await store.patch(WIDGET, "default", "w", Patch("merge", {"metadata": {"labels": {"other": "2"}}}))
    after = await store.patch(WIDGET, "default", "w", Patch("apply", widget("w")), field_manager="one")
    assert after["metadata"]["labels"] == {"other": "2"}
    assert after["metadata"]["uid"]


async def test_an_item_goes_with_what_others_added_below_it_when_nobody_else_stated_the_item(store: Store) -> None:
    await apply_widget(store, "one", {"size": 3, "parts": [{"name": "a"}, {"name": "b"}]})
    grown = Patch("json", [{"op": "add", "path": "/spec/parts/1/count", "value": 9}])
    await store.patch(WIDGET, "default", "w", grown, field_manager="controller")
    after = await apply_widget(store, "one", {"size": 3, "parts": [{"name": "a"}]})
    assert [part["name"] for part in after["spec"]["parts"]] == ["a"]
    assert set(owners(after)) == {"one"}


async def test_an_item_that_another_applier_states_stays_without_what_only_the_first_stated(store: Store) -> None:
    await apply_widget(store, "one", {"size": 3, "parts": [{"name": "a", "count": 2}]})
    await apply_widget(store, "two", {"parts": [{"name": "a"}]})
    after = await apply_widget(store, "one", {"size": 3})
    assert after["spec"]["parts"] == [{"name": "a", "count": 1}], "the count is the schema's default again"


async def test_a_map_stays_with_what_others_put_there_when_its_applier_lets_go(store: Store) -> None:
    await apply_widget(store, "one", {"size": 3, "options": {"mine": "1"}})
    added = Patch("merge", {"spec": {"options": {"theirs": "2"}}})
    await store.patch(WIDGET, "default", "w", added, field_manager="controller")
    left = await apply_widget(store, "one", {"size": 3})
    assert left["spec"]["options"] == {"theirs": "2"}
    removed = await store.patch(
        WIDGET, "default", "w", Patch("merge", {"spec": {"options": None}}), field_manager="controller"
    )
    assert set(owners(removed)) == {"one"}


async def test_an_empty_map_that_is_applied_is_there(store: Store) -> None:
    created = await apply_widget(store, "one", {"size": 3, "options": {}})
    assert created["spec"]["options"] == {}
    assert ".spec.options" in owners(created)["one"]
    gone = await apply_widget(store, "one", {"size": 3})
    assert "options" not in gone["spec"]


def test_a_field_that_changes_its_type_conflicts_with_the_owners_of_what_was_below_it() -> None:
    one, two = (Manager(APPLY, name, "v1") for name in ("one", "two"))
    first = apply({}, {}, Application(one, {"a": {"b": "1"}}, False, ""), schema=None, subject=Subject())
    with pytest.raises(Conflict):
        apply(first.obj, first.managers, Application(two, {"a": "1"}, False, ""), schema=None, subject=Subject())
