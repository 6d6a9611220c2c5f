"""Sets of fields behave as sets of paths."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from atoll.kubeapi import fieldset
from atoll.kubeapi.fieldset import FieldSet

ELEMENTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])
PATHS = st.sets(st.lists(ELEMENTS, min_size=1, max_size=3).map(tuple), max_size=8)


def build(paths: set[tuple[str, ...]]) -> FieldSet:
    """Build a set path by path, as plainly as can be."""
    members: dict[str, Any] = {}
    for path in paths:
        node = members
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}

    def tidy(node: dict[str, Any]) -> dict[str, Any]:
        inner = {element: tidy(below) for element, below in node.items() if element != "."}
        return {".": {}, **inner} if inner and "." in node else inner

    return tidy(members)


@given(PATHS)
def test_a_set_has_the_paths_it_was_built_from(paths: set[tuple[str, ...]]) -> None:
    assert set(fieldset.paths(build(paths))) == paths


@given(PATHS, PATHS)
def test_union_intersection_and_difference_are_those_of_sets(
    left: set[tuple[str, ...]], right: set[tuple[str, ...]]
) -> None:
    one, two = build(left), build(right)
    assert fieldset.union(one, two) == build(left | right)
    assert fieldset.intersection(one, two) == build(left & right)
    assert fieldset.difference(one, two) == build(left - right)
    assert (one, two) == (build(left), build(right))


@given(PATHS, st.lists(ELEMENTS, min_size=1, max_size=2).map(tuple))
def test_without_takes_a_path_and_all_below_it(paths: set[tuple[str, ...]], cut: tuple[str, ...]) -> None:
    left = {path for path in paths if path[: len(cut)] != cut}
    assert set(fieldset.paths(fieldset.without(build(paths), cut))) == left


def test_paths_read_as_conflicts_name_them() -> None:
    path = ("f:spec", "f:ports", 'k:{"containerPort":80,"protocol":"TCP"}', "f:name")
    assert fieldset.readable(path) == '.spec.ports[containerPort=80,protocol="TCP"].name'
    assert fieldset.readable(("f:spec", "f:tags", 'v:"a"')) == '.spec.tags[="a"]'
