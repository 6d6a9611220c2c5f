"""Patches and selectors that are made to harm: small requests that ask for much."""

import time
from typing import Any

import pytest

from atoll.kubeapi.errors import BadRequest, Invalid, RequestTooLarge
from atoll.kubeapi.patch import MAX_COPIED_BYTES, json_patch
from atoll.kubeapi.selectors import Selector, parse_fields, parse_labels
from atoll.kubeapi.strategic import strategic_patch

OBJECT: dict[str, Any] = {"spec": {"list": [{"name": "a", "x": 1}, {"name": "b"}], "texts": ["a", "b"]}}
SCHEMA: dict[str, Any] = {
    "properties": {
        "spec": {
            "properties": {
                "list": {"x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge"},
                "texts": {"x-kubernetes-patch-strategy": "merge"},
            }
        }
    }
}


def copies(count: int) -> list[dict[str, str]]:
    return [{"op": "copy", "from": "/spec", "path": f"/spec/c{number}"} for number in range(count)]


def test_copies_of_copies_are_refused_before_they_fill_the_memory() -> None:
    """Each doubles the object: sixty of them have more bytes than there are."""
    with pytest.raises(RequestTooLarge, match=f"at most {MAX_COPIED_BYTES} bytes"):
        json_patch({"spec": {"data": "x" * 1000}}, copies(60))
    assert len(json_patch(OBJECT, copies(3))["spec"]) == 5


def test_copies_into_themselves_are_refused_before_they_are_too_deep() -> None:
    into = [{"op": "copy", "from": "/spec", "path": "/spec" + "/a" * (2**n)} for n in range(8)]
    with pytest.raises((Invalid, RequestTooLarge)):
        json_patch({"spec": {}}, [*into, *copies(300)])


@pytest.mark.parametrize("directive", ["$retainKeys", "$deleteFromPrimitiveList/texts", "$setElementOrder/texts"])
@pytest.mark.parametrize("value", [None, 5, "a", {}])
def test_a_directive_that_is_no_list_is_named(directive: str, value: Any) -> None:
    with pytest.raises(BadRequest, match="must be a list"):
        strategic_patch(OBJECT, {"spec": {directive: value}}, SCHEMA)


def test_items_are_merged_deleted_and_ordered_by_their_key() -> None:
    patch = {
        "spec": {
            "list": [{"name": "c"}, {"name": "a", "y": 2}, {"name": "b", "$patch": "delete"}],
            "$setElementOrder/list": [{"name": "c"}, {"name": "a"}],
            "texts": ["c", "a", True, 1],
            "$deleteFromPrimitiveList/texts": ["b"],
        }
    }
    merged = strategic_patch(OBJECT, patch, SCHEMA)["spec"]
    assert merged["list"] == [{"name": "c"}, {"name": "a", "x": 1, "y": 2}]
    assert merged["texts"] == ["a", "c", True, 1]


@pytest.mark.parametrize(
    "text", ["," * 50_000, "a=b," * 20_000, "a in (" + "b," * 20_000 + "b)", "a" + " " * 50_000 + "b"]
)
def test_a_long_selector_takes_as_long_as_it_is(text: str) -> None:
    started = time.process_time()
    for labels, fields in ((text, ""), ("", text)):
        try:
            Selector.parse(labels, fields)
        except BadRequest:
            continue
    assert time.process_time() - started < 2


def test_selectors_are_cut_at_the_commas_outside_of_parentheses() -> None:
    assert [one.key for one in parse_labels("a in (b, c),!d ,e")] == ["a", "d", "e"]
    assert [(one.path, one.value) for one in parse_fields(" metadata.name = a,spec.x==b")] == [
        (("metadata", "name"), "a"),
        (("spec", "x"), "b"),
    ]
