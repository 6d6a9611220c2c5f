"""Lists: selectors, pages that are one consistent list, and which resourceVersion is served."""

import pytest

from atoll.kubeapi.errors import BadRequest, Gone, Invalid, Timeout
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import ListResult, Store
from kubeapi.kinds import POD, WIDGET, make_registry, widget


def names(result: ListResult) -> list[str]:
    """Return the names in a list."""
    return [item["metadata"]["name"] for item in result.items]


async def labelled(store: Store) -> None:
    """Create pods with some labels and fields."""
    for name, labels, node in (
        ("a", {"app": "web", "n": "1"}, "n1"),
        ("b", {"app": "db", "n": "5"}, "n2"),
        ("c", {}, None),
    ):
        spec = {"nodeName": node} if node else {}
        await store.create(POD, {"metadata": {"name": name, "labels": labels}, "spec": spec}, namespace="x")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=web", "a"),
        ("app==web", "a"),
        ("app!=web", "bc"),
        ("app in (web, db)", "ab"),
        ("app notin (web)", "bc"),
        ("app", "ab"),
        ("!app", "c"),
        ("n>1", "b"),
        ("n<5", "a"),
        ("app in (web,db),n=5", "b"),
        ("", "abc"),
    ],
)
async def test_label_selectors(store: Store, selector: str, expected: str) -> None:
    await labelled(store)
    assert names(await store.list(POD, label_selector=selector)) == list(expected)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("metadata.name=a", "a"),
        ("metadata.namespace=x", "abc"),
        ("metadata.namespace!=x", ""),
        ("spec.nodeName=n1", "a"),
        ("spec.nodeName=", "c"),
        ("spec.nodeName!=n1", "bc"),
        ("metadata.name=b,spec.nodeName=n1", ""),
        ("metadata.labels.app=db", "b"),
    ],
)
async def test_field_selectors(store: Store, selector: str, expected: str) -> None:
    await labelled(store)
    assert names(await store.list(POD, field_selector=selector)) == list(expected)
    assert names(await store.list(POD, "x", field_selector=selector)) == list(expected)


@pytest.mark.parametrize("selector", ["a b", "a in", "a>x", "=x", "a=b c", "a in (b"])
async def test_a_selector_that_is_wrong_is_refused(store: Store, selector: str) -> None:
    with pytest.raises(BadRequest):
        await store.list(POD, label_selector=selector)


async def test_pages_with_a_selector_are_full_until_the_last(store: Store) -> None:
    for index in range(10):
        label = {"even": str(index % 2 == 0).lower()}
        await store.create(POD, {"metadata": {"name": f"p{index}", "labels": label}}, namespace="x")
    first = await store.list(POD, label_selector="even=true", limit=3)
    second = await store.list(POD, label_selector="even=true", limit=3, continue_token=first.continue_token)
    assert names(first) == ["p0", "p2", "p4"]
    assert names(second) == ["p6", "p8"]
    assert second.continue_token == ""
    assert first.remaining is None


async def test_pages_show_the_list_as_it_was_at_the_first_page(store: Store) -> None:
    for index in range(6):
        await store.create(WIDGET, widget(f"w{index}"))
    first = await store.list(WIDGET, limit=2)
    await store.delete(WIDGET, "default", "w3")
    await store.create(WIDGET, widget("w2x"))
    await store.patch(WIDGET, "default", "w4", Patch("merge", {"spec": {"size": 50}}))
    rest = await store.list(WIDGET, continue_token=first.continue_token)
    assert first.remaining == 4
    assert names(first) + names(rest) == [f"w{index}" for index in range(6)]
    assert {item["spec"]["size"] for item in rest.items} == {3}
    assert rest.resource_version == first.resource_version


async def test_an_old_token_is_gone_and_says_how_to_go_on() -> None:
    store = Store(make_registry(), MemoryStorage(), history=2)
    await store.start()
    for index in range(4):
        await store.create(WIDGET, widget(f"w{index}"))
    first = await store.list(WIDGET, limit=2)
    for size in range(4, 12):
        await store.patch(WIDGET, "default", "w0", Patch("merge", {"spec": {"size": size}}))
    with pytest.raises(Gone) as gone:
        await store.list(WIDGET, limit=2, continue_token=first.continue_token)
    rest = await store.list(WIDGET, limit=2, continue_token=gone.value.continue_token)
    assert gone.value.status()["metadata"]["continue"]
    assert names(rest) == ["w2", "w3"]
    await store.close()


async def test_an_exact_version_is_served_from_history_and_a_future_one_is_not(store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    before = await store.list(WIDGET)
    await store.create(WIDGET, widget("two"))
    exact = await store.list(WIDGET, resource_version=before.resource_version, resource_version_match="Exact")
    newer = await store.list(WIDGET, resource_version=before.resource_version, resource_version_match="NotOlderThan")
    assert (names(exact), exact.resource_version) == (["one"], before.resource_version)
    assert names(newer) == ["one", "two"]
    with pytest.raises(Timeout, match="Too large resource version"):
        await store.list(WIDGET, resource_version="999")


@pytest.mark.parametrize(
    "options",
    [
        {"resource_version_match": "Exact"},
        {"resource_version": "0", "resource_version_match": "Exact"},
        {"resource_version": "1", "resource_version_match": "Newer"},
        {"resource_version": "one"},
        {"limit": -1},
        {"continue_token": "###"},
        {"continue_token": "e30="},
    ],
)
async def test_parameters_that_make_no_sense_are_refused(store: Store, options: dict[str, str]) -> None:
    with pytest.raises((BadRequest, Invalid)):
        await store.list(WIDGET, **options)  # type: ignore[arg-type]


async def test_namespaces_with_a_common_beginning_are_kept_apart(store: Store) -> None:
    await store.create(WIDGET, widget("w", namespace="team"))
    await store.create(WIDGET, widget("w", namespace="team-b"))
    listed = await store.list(WIDGET, "team")
    assert [item["metadata"]["namespace"] for item in listed.items] == ["team"]
