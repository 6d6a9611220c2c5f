"""Sets of tasks as intervals, against Python's own sets; and what is no set of tasks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.errors import InvalidInput
from atoll.federation.tasks import Tasks

NUMBERS = st.sets(st.integers(0, 40))


@given(one=NUMBERS, other=NUMBERS)
def test_intervals_are_added_and_taken_away_as_sets_are(one: set[int], other: set[int]) -> None:
    a, b = Tasks.of(one), Tasks.of(other)
    assert (set(a | b), set(a - b), set(a & b)) == (one | other, one - other, one & other)
    assert (len(a), bool(a), list(a)) == (len(one), bool(one), sorted(one))
    assert Tasks.parse(str(a)) == a
    assert a == Tasks.of(other) if one == other else a != b


@given(spans=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=8))
def test_overlapping_and_unsorted_intervals_are_read_as_their_union(spans: list[tuple[int, int]]) -> None:
    text = ",".join(f"{first}-{first + length}" for first, length in spans)
    wanted = {number for first, length in spans for number in range(first, first + length + 1)}
    assert set(Tasks.parse(text)) == wanted


@pytest.mark.parametrize("text", ["-1", "5-1", "1,", ",1", "a", "1-2-3", "1 ,2", "٣", "9" * 10, "0-" + "9" * 10, "\n1"])
def test_what_is_no_set_of_tasks_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="task"):
        Tasks.parse(text)


def test_people_see_the_first_few_intervals_and_how_many_tasks_are_left_out() -> None:
    assert Tasks.parse("0-41,43").shown() == "0-41,43"
    assert Tasks.of(range(0, 100_000, 2)).shown(2) == "0,2 and 49998 more"


def test_a_hundred_thousand_tasks_in_the_worst_order_stay_below_a_third_of_a_mebibyte_and_come_back() -> None:
    odd, even = Tasks.of(range(1, 100_000, 2)), Tasks.of(range(0, 100_000, 2))
    assert len(str(odd)) < 350_000
    assert str(odd | even) == "0-99999"
    assert Tasks.parse(str(odd)) == Tasks.first(100_000) - even
