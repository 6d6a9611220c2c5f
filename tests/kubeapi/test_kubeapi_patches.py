"""JSON patches, merge patches and strategic merge patches change objects as their specifications say."""

import copy
from typing import Any

import pytest

from atoll.kubeapi.errors import BadRequest, Invalid
from atoll.kubeapi.patch import json_patch, merge_patch
from atoll.kubeapi.strategic import strategic_patch
from kubeapi.kinds import POD

Fields = dict[str, Any]

# RFC 6902, appendix A, and the cases it leaves to the pointer's grammar.
JSON_PATCHES = {
    "a member is added": ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "q"}], {"foo": "bar", "baz": "q"}),
    "an element is inserted": ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
    "an element is appended": ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
    "a member is removed": ({"a": 1, "b": 2}, [{"op": "remove", "path": "/b"}], {"a": 1}),
    "an element is removed": ({"a": [1, 2, 3]}, [{"op": "remove", "path": "/a/1"}], {"a": [1, 3]}),
    "a value is replaced": ({"a": 1}, [{"op": "replace", "path": "/a", "value": {"b": 2}}], {"a": {"b": 2}}),
    "a value is moved": (
        {"a": {"b": 1}, "c": {}},
        [{"op": "move", "from": "/a/b", "path": "/c/d"}],
        {"a": {}, "c": {"d": 1}},
    ),
    "an element is moved": ({"a": [1, 2, 3]}, [{"op": "move", "from": "/a/0", "path": "/a/2"}], {"a": [2, 3, 1]}),
    "a value is copied": ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
    "a test that holds": ({"a": {"b": [1]}}, [{"op": "test", "path": "/a", "value": {"b": [1]}}], {"a": {"b": [1]}}),
    "slashes and tildes are escaped": (
        {"a/b": 1, "m~n": 2},
        [{"op": "remove", "path": "/a~1b"}, {"op": "remove", "path": "/m~0n"}],
        {},
    ),
    "a null is a value": ({"a": 1}, [{"op": "replace", "path": "/a", "value": None}], {"a": None}),
    "the whole is replaced": ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
}


@pytest.mark.parametrize("case", JSON_PATCHES)
def test_a_json_patch_changes_a_copy(case: str) -> None:
    before, patch, after = JSON_PATCHES[case]
    kept = copy.deepcopy(before)
    assert json_patch(before, patch) == after
    assert before == kept


JSON_FAULTS = {
    "a member that is not there": [{"op": "remove", "path": "/nope"}],
    "a replaced member that is not there": [{"op": "replace", "path": "/nope", "value": 1}],
    "a parent that is not there": [{"op": "add", "path": "/x/y", "value": 1}],
    "an index out of bounds": [{"op": "add", "path": "/list/9", "value": 1}],
    "an index that is no number": [{"op": "add", "path": "/list/one", "value": 1}],
    "an index with a leading zero": [{"op": "remove", "path": "/list/01"}],
    "a test that fails": [{"op": "test", "path": "/a", "value": 2}],
    "a test of true against 1": [{"op": "test", "path": "/a", "value": True}],
    "an unknown operation": [{"op": "paint", "path": "/a"}],
    "a value that is missing": [{"op": "add", "path": "/b"}],
    "a move into itself": [{"op": "move", "from": "/map", "path": "/map/inner"}],
    "a path that is no pointer": [{"op": "remove", "path": "a"}],
    "something below a scalar": [{"op": "add", "path": "/a/b", "value": 1}],
    "an object that is replaced by a list": [{"op": "replace", "path": "", "value": []}],
    "an object that is removed": [{"op": "remove", "path": ""}],
}


@pytest.mark.parametrize("case", JSON_FAULTS)
def test_a_json_patch_that_does_not_fit_is_refused(case: str) -> None:
    with pytest.raises(Invalid, match="the patch cannot be applied"):
        json_patch({"a": 1, "list": [1, 2], "map": {}}, JSON_FAULTS[case])


@pytest.mark.parametrize("body", [{}, "x", [1], None])
def test_a_json_patch_that_is_no_list_of_operations_is_malformed(body: Any) -> None:
    with pytest.raises(BadRequest):
        json_patch({}, body)


# RFC 7386, appendix A.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ],
)
def test_a_merge_patch_is_that_of_the_rfc(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


def pod(*containers: Fields) -> Fields:
    """Return the part of a pod that the cases need."""
    return {"spec": {"containers": list(containers)}}


MAIN, SIDE = {"name": "main", "image": "a:1"}, {"name": "side", "image": "b:1"}
STRATEGIC = {
    "an item is merged by its key": (
        pod(MAIN, SIDE),
        pod({"name": "side", "image": "b:2"}),
        pod(MAIN, {"name": "side", "image": "b:2"}),
    ),
    "a new item is appended": (pod(MAIN), pod(SIDE), pod(MAIN, SIDE)),
    "an item is deleted": (pod(MAIN, SIDE), pod({"name": "main", "$patch": "delete"}), pod(SIDE)),
    "a list is replaced": (pod(MAIN), pod({"$patch": "replace"}, SIDE), pod(SIDE)),
    "items are ordered": (
        pod(MAIN, SIDE),
        {"spec": {"$setElementOrder/containers": [{"name": "side"}, {"name": "main"}], "containers": []}},
        pod(SIDE, MAIN),
    ),
    "an atomic list is replaced": (
        pod({**MAIN, "command": ["a", "b"]}),
        pod({"name": "main", "command": ["c"]}),
        pod({**MAIN, "command": ["c"]}),
    ),
    "lists within items are merged too": (
        pod({**MAIN, "env": [{"name": "A", "value": "1"}]}),
        pod({"name": "main", "env": [{"name": "B", "value": "2"}]}),
        pod({**MAIN, "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}),
    ),
    "a null removes": ({"spec": {"nodeName": "n"}}, {"spec": {"nodeName": None}}, {"spec": {}}),
    "a map is merged": (
        {"metadata": {"labels": {"a": "1"}}},
        {"metadata": {"labels": {"b": "2"}}},
        {"metadata": {"labels": {"a": "1", "b": "2"}}},
    ),
    "a map is replaced": (
        {"metadata": {"labels": {"a": "1"}}},
        {"metadata": {"labels": {"$patch": "replace", "b": "2"}}},
        {"metadata": {"labels": {"b": "2"}}},
    ),
    "a map is deleted": (
        {"metadata": {"labels": {"a": "1"}}},
        {"metadata": {"labels": {"$patch": "delete"}}},
        {"metadata": {}},
    ),
    "primitives are merged": (
        {"metadata": {"finalizers": ["a/x"]}},
        {"metadata": {"finalizers": ["a/y"]}},
        {"metadata": {"finalizers": ["a/x", "a/y"]}},
    ),
    "primitives are deleted": (
        {"metadata": {"finalizers": ["a/x", "a/y"]}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/x"]}},
        {"metadata": {"finalizers": ["a/y"]}},
    ),
    "only named keys are retained": (
        {"spec": {"nodeName": "n", "containers": []}},
        {"spec": {"$retainKeys": ["nodeName"], "nodeName": "m"}},
        {"spec": {"nodeName": "m"}},
    ),
}


@pytest.mark.parametrize("case", STRATEGIC)
def test_a_strategic_merge_patch_merges_by_the_schema(case: str) -> None:
    before, patch, after = STRATEGIC[case]
    kept = copy.deepcopy(before)
    assert strategic_patch(before, patch, POD.structure) == after
    assert before == kept


@pytest.mark.parametrize(
    "patch", [{"spec": {"$patch": "paint"}}, pod({"image": "no name"}), {"spec": {"containers": ["text"]}}]
)
def test_a_strategic_merge_patch_that_is_malformed_is_refused(patch: Fields) -> None:
    with pytest.raises(BadRequest):
        strategic_patch(pod(MAIN), patch, POD.structure)
