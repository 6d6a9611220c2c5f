"""The cache knows every object as it is, and as it was at each revision of its history."""

from hypothesis import given
from hypothesis import strategies as st

from atoll.kubeapi.bucket import Bucket, Entry
from atoll.kubeapi.errors import Gone

KEYS = st.sampled_from([f"g/p/{namespace}/{name}" for namespace in ("x", "xy") for name in ("a", "b", "b0")])


@given(st.lists(st.tuples(KEYS, st.booleans()), max_size=30), st.integers(1, 8), st.booleans())
def test_every_revision_in_the_history_can_be_read_again(
    writes: list[tuple[str, bool]], history: int, ordered_early: bool
) -> None:
    bucket = Bucket(0, history)
    if ordered_early:
        bucket.keys("")
    states: dict[int, dict[str, int]] = {0: {}}
    live: dict[str, int] = {}
    for revision, (key, is_delete) in enumerate(writes, start=1):
        bucket.apply(key, None if is_delete else Entry(key, revision, b"{}"), revision)
        live = {name: at for name, at in live.items() if name != key}
        if not is_delete:
            live[key] = revision
        states[revision] = live
    assert bucket.keys("g/p/") == sorted(live)
    for revision, state in states.items():
        for prefix in ("g/p/", "g/p/x/"):
            for after in ("", "g/p/x/b"):
                expected = {key: at for key, at in state.items() if key.startswith(prefix) and key > after}
                try:
                    keys, entries = bucket.at(revision, prefix, after)
                except Gone:
                    assert revision < bucket.floor
                    continue
                assert keys == sorted(expected)
                assert {key: entries[key].revision for key in keys} == expected
    kept = len([revision for revision in states if revision >= bucket.floor])
    assert kept >= min(history, len(writes))


def test_a_namespace_is_not_the_beginning_of_another() -> None:
    bucket = Bucket(0, 10)
    for revision, key in enumerate(("g/p/x/a", "g/p/xy/a", "g/p/x-y/a"), start=1):
        bucket.apply(key, Entry(key, revision, b"{}"), revision)
    assert bucket.keys("g/p/x/") == ["g/p/x/a"]
