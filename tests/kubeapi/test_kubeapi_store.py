"""The store creates, updates, patches and deletes as Kubernetes does."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from atoll.kubeapi.errors import AlreadyExists, BadRequest, Conflict, Forbidden, Invalid, NotFound
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from kubeapi.kinds import CONFIG_MAP, NAMESPACE, POD, SLOW, WIDGET, config_map, make_registry, widget

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


async def test_a_created_object_gets_identity_time_and_version(store: Store) -> None:
    created = await store.create(WIDGET, widget("one"))
    metadata = created["metadata"]
    assert metadata["generation"] == 1
    assert len(metadata["uid"]) == 36
    assert datetime.fromisoformat(metadata["creationTimestamp"]).tzinfo is not None
    assert await store.get(WIDGET, "default", "one") == created


async def test_what_only_the_server_sets_cannot_be_sent(store: Store) -> None:
    forged = widget("one")
    forged["metadata"] |= {"uid": "mine", "generation": 7, "creationTimestamp": "1999-01-01T00:00:00Z"}
    forged["status"] = {"ready": True}
    created = await store.create(WIDGET, forged)
    assert created["metadata"]["uid"] != "mine"
    assert created["metadata"]["generation"] == 1
    assert not created["metadata"]["creationTimestamp"].startswith("1999")
    assert "status" not in created


async def test_null_in_metadata_is_as_if_it_were_left_out(store: Store) -> None:
    """As templates write it, and Go reads it."""
    left_out = dict.fromkeys(("labels", "annotations", "finalizers", "ownerReferences", "generateName"))
    for kind, given in ((WIDGET, widget("one")), (NAMESPACE, {"metadata": {"name": "one"}})):
        created = await store.create(kind, given | {"metadata": given["metadata"] | left_out})
        assert None not in created["metadata"].values()


async def test_a_second_create_of_a_name_is_refused(store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    with pytest.raises(AlreadyExists, match=r'widgets\.example\.dev "one" already exists'):
        await store.create(WIDGET, widget("one"))


async def test_a_generated_name_avoids_those_taken() -> None:
    suffixes = iter(["aaaaa", "aaaaa", "bbbbb"])
    store = Store(make_registry(), MemoryStorage(), new_suffix=lambda: next(suffixes))
    await store.start()
    generated = {"metadata": {"generateName": "job-"}, "spec": {"size": 1}}
    names = [(await store.create(WIDGET, generated, namespace="a"))["metadata"]["name"] for _ in range(2)]
    await store.close()
    assert names == ["job-aaaaa", "job-bbbbb"]


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"name": "Upper"}, "metadata.name"),
        ({"name": "a_b"}, "metadata.name"),
        ({"name": "a" * 254}, "metadata.name"),
        ({}, "metadata.name"),
        ({"name": "a", "labels": {"bad key": "x"}}, "metadata.labels"),
        ({"name": "a", "labels": {"k": "x" * 64}}, "metadata.labels"),
        ({"name": "a", "labels": {"k": 1}}, "metadata.labels[k]"),
        ({"name": "a", "annotations": {"k": 1}}, "metadata.annotations[k]"),
        ({"name": "a", "finalizers": ["not qualified"]}, "metadata.finalizers[0]"),
        (
            {"name": "a", "ownerReferences": [{"kind": "X", "name": "y", "uid": "z"}]},
            "metadata.ownerReferences[0].apiVersion",
        ),
    ],
)
async def test_bad_metadata_is_refused_with_its_field(store: Store, metadata: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        await store.create(CONFIG_MAP, {"metadata": metadata}, namespace="default")
    assert [cause.field for cause in refused.value.causes] == [field]
    assert (await store.list(CONFIG_MAP)).items == []


async def test_many_faults_are_named_at_once(store: Store) -> None:
    wrong = widget("one", size=1000, color="pink", code="UP", tags=["a", "a"], parts=[{"count": "x"}])
    with pytest.raises(Invalid) as refused:
        await store.create(WIDGET, wrong)
    assert {(cause.field, cause.reason) for cause in refused.value.causes} == {
        ("spec.size", "FieldValueInvalid"),
        ("spec.color", "FieldValueNotSupported"),
        ("spec.code", "FieldValueInvalid"),
        ("spec.tags[1]", "FieldValueDuplicate"),
        ("spec.parts[0].name", "FieldValueRequired"),
        ("spec.parts[0].count", "FieldValueTypeInvalid"),
    }


async def test_unknown_fields_are_refused_warned_of_or_dropped_as_asked(store: Store) -> None:
    strange = widget("one", colour="red")
    with pytest.raises(BadRequest, match=r'unknown field "spec\.colour"'):
        await store.create(WIDGET, strange)
    warnings: list[str] = []
    warned = await store.create(WIDGET, strange, field_validation="Warn", warn=warnings.append)
    strange["metadata"]["name"] = "two"
    ignored = await store.create(WIDGET, strange, field_validation="Ignore", warn=warnings.append)
    assert warnings == ['unknown field "spec.colour"']
    assert "colour" not in warned["spec"]
    assert "colour" not in ignored["spec"]


async def test_a_wrong_kind_or_namespace_is_refused(store: Store) -> None:
    with pytest.raises(BadRequest, match="kind"):
        await store.create(WIDGET, {**widget("one"), "kind": "Gadget"})
    with pytest.raises(BadRequest, match="namespace"):
        await store.create(WIDGET, widget("one"), namespace="other")
    with pytest.raises(BadRequest, match="cluster-scoped"):
        await store.create(NAMESPACE, {"metadata": {"name": "a", "namespace": "b"}})


async def test_a_dry_run_answers_and_stores_nothing(store: Store) -> None:
    answered = await store.create(WIDGET, widget("one"), dry_run=True)
    assert answered["spec"]["color"] == "red"
    assert (await store.list(WIDGET)).items == []
    await store.create(WIDGET, widget("one"))
    await store.patch(WIDGET, "default", "one", Patch("merge", {"spec": {"size": 9}}), dry_run=True)
    await store.delete(WIDGET, "default", "one", dry_run=True)
    assert (await store.get(WIDGET, "default", "one"))["spec"]["size"] == 3


async def test_an_update_with_a_stale_version_is_refused_and_without_one_wins(store: Store) -> None:
    old = await store.create(WIDGET, widget("one"))
    await store.update(WIDGET, {**old, "spec": {"size": 4}})
    with pytest.raises(Conflict, match=r'Operation cannot be fulfilled on widgets\.example\.dev "one"'):
        await store.update(WIDGET, {**old, "spec": {"size": 5}})
    await store.update(WIDGET, widget("one", size=6))
    assert (await store.get(WIDGET, "default", "one"))["spec"]["size"] == 6


async def test_an_update_of_another_incarnation_is_refused(store: Store) -> None:
    old = await store.create(WIDGET, widget("one"))
    await store.delete(WIDGET, "default", "one")
    await store.create(WIDGET, widget("one"))
    del old["metadata"]["resourceVersion"]
    with pytest.raises(Conflict, match="UID"):
        await store.update(WIDGET, old)


async def test_generation_counts_changes_of_the_intent_only(store: Store) -> None:
    async def patch(body: dict[str, Any], subresource: str = "") -> int:
        patched = await store.patch(WIDGET, "default", "one", Patch("merge", body), subresource=subresource)
        return int(patched["metadata"]["generation"])

    await store.create(WIDGET, widget("one"))
    assert await patch({"metadata": {"labels": {"a": "b"}}}) == 1
    assert await patch({"status": {"ready": True}}, "status") == 1
    assert await patch({"spec": {"size": 4}}) == 2
    assert await patch({"spec": {"size": 4}}) == 2


async def test_a_write_that_changes_nothing_makes_no_new_version(store: Store) -> None:
    created = await store.create(WIDGET, widget("one"), field_manager="a")
    same = await store.update(WIDGET, widget("one", color="red"), field_manager="b")
    assert same == created


async def test_concurrent_patches_of_different_fields_all_arrive(store: Store) -> None:
    await store.create(CONFIG_MAP, config_map("a"))
    patches = (Patch("merge", {"data": {f"k{index}": "x"}}) for index in range(8))
    await asyncio.gather(*(store.patch(CONFIG_MAP, "default", "a", patch) for patch in patches))
    assert len((await store.get(CONFIG_MAP, "default", "a"))["data"]) == 8


async def test_returned_objects_are_the_callers_own(store: Store) -> None:
    created = await store.create(WIDGET, widget("one"))
    created["spec"]["size"] = 99
    (await store.get(WIDGET, "default", "one"))["spec"]["size"] = 98
    (await store.list(WIDGET)).items[0]["spec"]["size"] = 97
    assert (await store.get(WIDGET, "default", "one"))["spec"]["size"] == 3


async def test_an_object_given_to_the_store_is_not_changed(store: Store) -> None:
    given = widget("one")
    await store.create(WIDGET, given)
    assert given == widget("one")


async def test_deleting_checks_its_preconditions(store: Store) -> None:
    created = await store.create(WIDGET, widget("one"))
    with pytest.raises(Conflict, match="Precondition failed: UID"):
        await store.delete(WIDGET, "default", "one", uid="other")
    with pytest.raises(Conflict, match="Precondition failed: ResourceVersion"):
        await store.delete(WIDGET, "default", "one", resource_version="999")
    metadata = created["metadata"]
    await store.delete(WIDGET, "default", "one", uid=metadata["uid"], resource_version=metadata["resourceVersion"])
    with pytest.raises(NotFound):
        await store.get(WIDGET, "default", "one")


async def test_finalizers_hold_an_object_until_the_last_is_gone(store: Store) -> None:
    held = widget("one")
    held["metadata"]["finalizers"] = ["a.dev/x", "a.dev/y"]
    await store.create(WIDGET, held)
    waiting = await store.delete(WIDGET, "default", "one")
    again = await store.delete(WIDGET, "default", "one")
    assert "deletionTimestamp" in waiting["metadata"]
    assert again["metadata"]["deletionTimestamp"] == waiting["metadata"]["deletionTimestamp"]
    await store.patch(WIDGET, "default", "one", Patch("merge", {"metadata": {"finalizers": ["a.dev/y"]}}))
    assert (await store.get(WIDGET, "default", "one"))["metadata"]["finalizers"] == ["a.dev/y"]
    await store.patch(WIDGET, "default", "one", Patch("merge", {"metadata": {"finalizers": []}}))
    with pytest.raises(NotFound):
        await store.get(WIDGET, "default", "one")


async def test_a_graceful_deletion_waits_for_whoever_stops_the_object() -> None:
    store = Store(make_registry(), MemoryStorage(), clock=lambda: NOON)
    await store.start()
    await store.create(SLOW, {"metadata": {"name": "s"}, "spec": {"graceSeconds": 20}}, namespace="a")
    ending = await store.delete(SLOW, "a", "s")
    sooner = await store.delete(SLOW, "a", "s", grace_seconds=5)
    assert ending["metadata"]["deletionTimestamp"] == "2026-11-22T12:00:20Z"
    assert sooner["metadata"]["deletionTimestamp"] == "2026-11-22T12:00:05Z"
    assert sooner["metadata"]["deletionGracePeriodSeconds"] == 5
    await store.delete(SLOW, "a", "s", grace_seconds=0)
    with pytest.raises(NotFound):
        await store.get(SLOW, "a", "s")
    await store.close()


async def test_objects_need_a_living_namespace_where_namespaces_are_required() -> None:
    store = Store(make_registry(), MemoryStorage(), require_namespaces=True)
    await store.start()
    with pytest.raises(NotFound, match='namespaces "default" not found'):
        await store.create(WIDGET, widget("one"))
    with pytest.raises(NotFound, match='namespaces "default" not found'):
        await store.patch(WIDGET, "default", "one", Patch("apply", widget("one")), field_manager="x")
    held = {"metadata": {"name": "default", "finalizers": ["a.dev/hold"]}}
    await store.create(NAMESPACE, held)
    await store.create(WIDGET, widget("one"))
    await store.delete(NAMESPACE, None, "default")
    with pytest.raises(Forbidden, match="being terminated"):
        await store.create(WIDGET, widget("two"))
    await store.close()


async def test_a_store_that_starts_again_on_its_storage_has_everything() -> None:
    storage = MemoryStorage()
    first = Store(make_registry(), storage)
    await first.start()
    created = await first.create(WIDGET, widget("one"))
    await first.close()
    second = Store(make_registry(), storage)
    await second.start()
    assert await second.get(WIDGET, "default", "one") == created
    await second.close()


async def test_two_stores_on_one_storage_see_each_others_writes_at_once() -> None:
    storage = MemoryStorage()
    one, two = Store(make_registry(), storage), Store(make_registry(), storage)
    await one.start()
    await two.start()
    created = await one.create(POD, {"metadata": {"name": "p"}}, namespace="a")
    assert await two.get(POD, "a", "p") == created
    await two.patch(POD, "a", "p", Patch("merge", {"metadata": {"labels": {"x": "y"}}}))
    assert (await one.list(POD)).items[0]["metadata"]["labels"] == {"x": "y"}
    with pytest.raises(Conflict):
        await one.update(POD, created)
    await one.close()
    await two.close()


async def test_managed_fields_name_who_wrote_what(store: Store) -> None:
    await store.create(CONFIG_MAP, config_map("a", x="1", y="1"), field_manager="creator")
    after = await store.patch(
        CONFIG_MAP, "default", "a", Patch("merge", {"data": {"x": "2", "y": None, "z": "3"}}), field_manager="editor"
    )
    fields = {entry["manager"]: entry["fieldsV1"] for entry in after["metadata"]["managedFields"]}
    assert fields == {"creator": {"f:data": {}}, "editor": {"f:data": {"f:x": {}, "f:z": {}}}}


async def test_many_writers_are_folded_so_that_an_object_does_not_grow(store: Store) -> None:
    await store.create(CONFIG_MAP, config_map("a"), field_manager="creator")
    for index in range(30):
        patch = Patch("merge", {"data": {f"k{index}": "x"}})
        last = await store.patch(CONFIG_MAP, "default", "a", patch, field_manager=f"writer-{index}")
    managers = [entry["manager"] for entry in last["metadata"]["managedFields"]]
    assert len(managers) <= 11
    assert "ancient-changes" in managers
