"""Decoded objects that readers share: one value per change, and never an older one."""

from typing import Any

import orjson

from atoll.kubeapi.bucket import Entry
from atoll.kubeapi.recent import Recent
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from kubeapi.kinds import CONFIG_MAP, config_map, make_registry


def entry(name: str, revision: int) -> Entry:
    obj = {"metadata": {"name": name, "resourceVersion": str(revision)}}
    return Entry(f"core/configmaps/default/{name}", revision, orjson.dumps(obj))


def version(obj: dict[str, Any]) -> str:
    return str(obj["metadata"]["resourceVersion"])


def test_two_readers_of_one_change_have_the_same_value() -> None:
    recent, changed = Recent(), entry("a", 1)
    assert recent.look(changed) is recent.look(changed)


def test_each_change_is_seen_as_it_is_also_by_who_comes_late() -> None:
    """Who is behind has the old state in hand: it must neither see the new one, nor bring the old one back."""
    recent, old, new = Recent(), entry("a", 1), entry("a", 2)
    assert [version(recent.look(each)) for each in (old, new, old, new)] == ["1", "2", "1", "2"]


def test_an_object_that_was_deleted_and_made_again_at_the_same_revision_of_another_history_is_not_confused() -> None:
    """After a store was restored, revisions repeat: the entry says which object is meant, and not its number."""
    recent = Recent()
    recent.look(Entry("core/configmaps/default/a", 7, b'{"data":"before"}'))
    assert recent.look(Entry("core/configmaps/default/a", 7, b'{"data":"after"}')) == {"data": "after"}


def test_what_was_looked_at_long_ago_is_not_kept() -> None:
    recent, first = Recent(), entry("first", 1)
    kept = recent.look(first)
    for number in range(2000):
        recent.look(entry(str(number), number + 2))
    again = recent.look(first)
    assert again == kept
    assert again is not kept


async def test_a_write_leaves_what_other_readers_share_as_it_was() -> None:
    """An update with and without a change, and a patch: the value of the revision before stays what it was."""
    store = Store(make_registry(), MemoryStorage())
    await store.start()
    made = await store.create(CONFIG_MAP, config_map("a", key="old"))
    before = store.cache.get(CONFIG_MAP.prefix, CONFIG_MAP.key("default", "a"))
    assert before is not None
    shared = store.cache.recent.look(before)
    await store.update(CONFIG_MAP, {**made, "data": {"key": "new"}})
    assert shared["data"] == {"key": "old"}
    assert shared == before.decode()
    await store.close()
