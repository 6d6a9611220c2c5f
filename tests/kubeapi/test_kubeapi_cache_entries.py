"""How the cache keeps an object: its JSON with the revision in it, packed among others of its kind, equal when read."""

import gc
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.kubeapi.bucket import Bucket, encode, stored
from atoll.kubeapi.packing import Packer
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from kubeapi.kinds import CONFIG_MAP, config_map, make_registry

METADATA, VERSION = '"metadata":{"', '"resourceVersion"'
# Names that a careless search for the metadata or its version would stumble over.
NAMES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ("metadata", "resourceVersion", '"metadata":{"', '"resourceVersion"', "{", "}", "\\", '"', "apiVersion")
    ),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), NAMES),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
OBJECTS = st.tuples(
    st.dictionaries(NAMES, VALUES, max_size=4), st.dictionaries(NAMES, VALUES, max_size=4), st.booleans()
)


def _object(rest: dict[str, Any], metadata: dict[str, Any], *, metadata_first: bool) -> dict[str, Any]:
    head = {"apiVersion": "v1", "kind": "Thing"}
    rest = {name: value for name, value in rest.items() if name not in (*head, "metadata")}
    return {**head, "metadata": metadata, **rest} if metadata_first else {**rest, **head, "metadata": metadata}


@given(OBJECTS, st.integers(1, 2**63))
def test_any_stored_text_reads_back_with_the_revision_of_its_write(made: tuple[Any, Any, bool], revision: int) -> None:
    rest, metadata, metadata_first = made
    obj = _object(rest, metadata, metadata_first=metadata_first)
    expected = {**obj, "metadata": {**metadata, "resourceVersion": str(revision)}}
    for text in (orjson.dumps(obj), stored(obj), stored(expected)):
        read = encode(text, revision)
        assert orjson.loads(read) == expected
        assert read.count(b'"resourceVersion":"%d"' % revision) >= 1


@given(OBJECTS)
def test_what_is_stored_says_no_version_of_its_own(made: tuple[Any, Any, bool]) -> None:
    rest, metadata, metadata_first = made
    obj = _object(rest, {**metadata, "resourceVersion": "7"}, metadata_first=metadata_first)
    before = orjson.dumps(obj)
    assert "resourceVersion" not in orjson.loads(stored(obj))["metadata"]
    assert orjson.dumps(obj) == before, "the caller's object is left alone"


@given(st.lists(st.binary(max_size=300), max_size=300))
def test_every_text_comes_back_as_it_was_packed_whatever_came_between(texts: list[bytes]) -> None:
    packer = Packer()
    packed = [packer.pack(text) for text in texts]
    assert [text if packing is None else packing.unpack(text) for text, packing in packed] == texts


def _text(number: int) -> bytes:
    return orjson.dumps(config_map(f"c{number}", station="ANMO", at=f"2026-11-22T{number % 24:02}:00:00Z", **LONG))


LONG = {f"setting-{number}": "a value that many objects share" for number in range(40)}


def test_texts_that_resemble_each_other_take_a_tenth_of_their_room() -> None:
    packer = Packer()
    for number in range(200):
        packer.pack(_text(number))
    text, packing = packer.pack(_text(200))
    assert packing is not None
    assert len(text) * 10 < len(_text(200))


def test_a_bucket_occupies_what_its_packed_texts_take() -> None:
    """zstandard once gave bytes that kept the room of the worst case: the packed form then saved nothing."""
    bucket = Bucket(0, 10)
    for number in range(200):
        bucket.place(f"k{number}", bucket.entry(f"k{number}", number, _text(number)))
    gc.collect()
    tracemalloc.start()
    for number in range(200, 1200):
        bucket.place(f"k{number}", bucket.entry(f"k{number}", number, _text(number)))
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 1000 * len(_text(1000)) / 2


@pytest.mark.parametrize("count", [1, 100])
async def test_an_object_stored_by_an_older_version_shows_its_own_revision(count: int) -> None:
    """It may hold the revision that it was read at before its last change."""
    storage = MemoryStorage()
    for number in range(count):
        old = {**config_map(f"c{number}"), "metadata": {"name": f"c{number}", "resourceVersion": "99", "uid": "u"}}
        old["metadata"]["namespace"] = "default"
        await storage.write(CONFIG_MAP.key("default", f"c{number}"), orjson.dumps(old), expected=0)
    store = Store(make_registry(), storage)
    await store.start()
    listed = await store.list(CONFIG_MAP, "default")
    assert len({item["metadata"]["resourceVersion"] for item in listed.items}) == count
    for item in listed.items:
        item["data"] = {"changed": "yes"}
        changed = await store.update(CONFIG_MAP, item)
        assert int(changed["metadata"]["resourceVersion"]) > int(item["metadata"]["resourceVersion"])
    await store.close()
