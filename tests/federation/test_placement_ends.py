"""When clusters may have room at the earliest: a bound for all at once, which is never later than what one is told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.federation.capacity import ResourceVector, Shape, group_shapes
from atoll.federation.placement import ClusterView, Occupation, PodDemand, seconds_until_free
from atoll.federation.placement.ends import Ends
from atoll.federation.placement.shapes import Blocks, ShapeColumns
from atoll.federation.placement.views import Joined

pods = st.builds(
    lambda cpus, gpus: PodDemand(ResourceVector(cpus * 1000, 0, gpus)), st.integers(1, 3), st.integers(0, 4)
)
shapes = st.builds(
    lambda nodes, cpus, gpus: Shape(nodes, ResourceVector(cpus * 1000, 0, gpus), ResourceVector(8000, 0, 4), "T4"),
    st.integers(0, 2), st.integers(0, 8), st.integers(0, 4),
)  # fmt: skip
runs = st.tuples(pods, st.integers(1, 2), st.floats(-10, 500))
clusters = st.tuples(st.lists(shapes, max_size=3), st.lists(runs, max_size=4))


def viewed(number, nodes, held, *, joined=0):
    """See a cluster; the last of its runs came later."""
    stays = tuple(Occupation(f"r{at}", pod, count, ends, True) for at, (pod, count, ends) in enumerate(held))
    there = Joined(stays[: len(stays) - joined], stays[len(stays) - joined :]) if joined else stays
    return ClusterView(f"c{number}", shapes=group_shapes(nodes), occupations=there)


@given(
    st.lists(clusters, max_size=5), pods, st.integers(1, 3), st.lists(st.tuples(pods, st.integers(0, 2)), max_size=1)
)
@settings(deadline=None)
def test_no_cluster_has_room_before_the_bound_says_that_it_may(found, pod, count, beside):
    wanted = ((pod, count), *beside)
    views = [viewed(number, *each) for number, each in enumerate(found)]
    bound = Ends.of(views, ShapeColumns.of([view.shapes for view in views])).earliest(wanted)
    assert len(bound) == len(views)
    assert all(at <= seconds_until_free(wanted, view) for at, view in zip(bound, views, strict=True))


@given(st.lists(clusters, min_size=1, max_size=3), pods)
@settings(deadline=None)
def test_runs_that_a_cycle_has_put_somewhere_count_as_those_that_were_there(found, pod):
    """In the columns, in what is expected, and as objects."""
    for nodes, held in found:
        whole, later = viewed(0, nodes, held), viewed(0, nodes, held, joined=min(1, len(held)))
        assert list(later.occupations) == list(whole.occupations)
        assert seconds_until_free(((pod, 1),), later) == seconds_until_free(((pod, 1),), whole)
        bounds = [Ends.of([view], ShapeColumns.of([view.shapes])).earliest(((pod, 1),)) for view in (whole, later)]
        assert bounds[0].tolist() == bounds[1].tolist()


def test_a_fragmented_cluster_is_not_bound_to_have_room_for_a_large_pod_now():
    """Four nodes with one GPU free each are no node with four."""
    fragments = viewed(0, [Shape(4, ResourceVector(8000, 0, 1), ResourceVector(8000, 0, 4), "T4")], [])
    ends = Ends.of([fragments], ShapeColumns.of([fragments.shapes]))
    assert ends.earliest(((PodDemand(ResourceVector(1000, 0, 1)), 4),)).tolist() == [0.0]
    assert ends.earliest(((PodDemand(ResourceVector(1000, 0, 4)), 1),)).tolist() == [np.inf]


@given(st.lists(st.lists(shapes, max_size=3), min_size=1, max_size=4), st.lists(shapes, max_size=3))
@settings(deadline=None)
def test_rows_that_were_laid_out_before_are_the_same_as_new_ones(found, other):
    """One cluster changes; the others' rows are remembered, and the sorts of nodes are numbered anew."""
    blocks, nodes = Blocks(), [group_shapes(each) for each in found]
    ShapeColumns.of(nodes, blocks)
    changed = [group_shapes(other), *nodes[1:]]
    kept, fresh = ShapeColumns.of(changed, blocks), ShapeColumns.of(changed)
    assert kept.sorts == fresh.sorts
    for name in ("bounds", "nodes", "free", "whole", "sort_of", "sort_speeds"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(fresh, name), name)
    assert kept.lowest(np.arange(len(kept.nodes), dtype=float)) == pytest.approx(
        [start if start < end else np.inf for start, end in zip(kept.bounds, kept.bounds[1:], strict=False)]
    )
