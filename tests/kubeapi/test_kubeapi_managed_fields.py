"""Ownership of fields follows every write: the last one to change a field owns it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from atoll.kubeapi import managed_fields
from atoll.kubeapi.fieldset import paths
from atoll.kubeapi.managed_fields import UPDATE, Manager, Managers
from atoll.kubeapi.structure import structural

SCHEMA = structural(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "list": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}},
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["k"],
                    },
                    "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                    "whole": {"type": "array", "items": {"type": "integer"}},
                },
            }
        },
    }
)
ITEMS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "list": ITEMS.map(lambda items: [{"k": key, "v": value} for key, value in items.items()]),
        "set": st.lists(st.sampled_from("xyz"), unique=True),
        "whole": st.lists(st.integers(0, 2), max_size=2),
        "free": st.dictionaries(st.sampled_from("pq"), st.integers(0, 2)),
    },
)


def leaves(spec: dict[str, Any]) -> dict[tuple[str, ...], Any]:
    """Return the values of a spec by path element, as plainly as can be."""
    found: dict[tuple[str, ...], Any] = {}
    for item in spec.get("list", ()):
        for name, value in item.items():
            found["f:list", f'k:{{"k":"{item["k"]}"}}', f"f:{name}"] = value
    for item in spec.get("set", ()):
        found["f:set", f'v:"{item}"'] = item
    for name, value in spec.get("free", {}).items():
        found["f:free", f"f:{name}"] = value
    if "whole" in spec:
        found["f:whole",] = spec["whole"]
    return found


@given(st.lists(st.tuples(st.sampled_from(["one", "two"]), SPECS), max_size=6))
def test_the_last_writer_of_a_leaf_owns_it_and_nobody_owns_what_is_gone(
    writes: list[tuple[str, dict[str, Any]]],
) -> None:
    managers: Managers = {}
    live: dict[str, Any] = {"metadata": {}}
    owner: dict[tuple[str, ...], str] = {}
    for name, spec in writes:
        new = {"metadata": {}, "spec": spec}
        before, after = leaves(live.get("spec", {})), leaves(spec)
        writer = Manager(UPDATE, name, "v1")
        managers = managed_fields.after_write(live, new, managers, writer=writer, schema=SCHEMA, now="now")
        owner = {path: who for path, who in owner.items() if path in after}
        owner |= {path: name for path, value in after.items() if path not in before or before[path] != value}
        live = new
        owned = {
            path[1:]: manager.name
            for manager, fields in managers.items()
            for path in paths(fields.fields)
            if path[1:] in after
        }
        assert owned == owner


@given(st.lists(st.tuples(st.sampled_from(["one", "two"]), SPECS), max_size=4))
def test_entries_that_are_written_are_read_back(writes: list[tuple[str, dict[str, Any]]]) -> None:
    managers: Managers = {}
    live: dict[str, Any] = {"metadata": {}}
    for name, spec in writes:
        new = {"metadata": {}, "spec": spec}
        writer = Manager(UPDATE, name, "v1", "status")
        managers = managed_fields.after_write(live, new, managers, writer=writer, schema=SCHEMA, now="now")
        live = new
    assert managed_fields.decode(managed_fields.encode(managers)) == managers
