"""Every parser that meets the outside: whatever it is fed, it takes or refuses it, and soon."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from security.fuzzing import CORPUS, Harness
from security.parsers import HARNESSES

_EACH = pytest.mark.parametrize("harness", HARNESSES.values(), ids=list(HARNESSES))


@_EACH
def test_a_parser_takes_or_refuses_whatever_it_is_fed(harness: Harness) -> None:
    """Bytes at random, and examples with something changed: no other error than those by which it refuses."""

    @settings(max_examples=settings().max_examples // 2, database=None)
    @given(data=st.data())
    def feed(data: st.DataObject) -> None:
        harness.run(data.draw(harness.inputs()))

    feed()


@_EACH
def test_a_parser_takes_its_examples(harness: Harness) -> None:
    """Else all that is made of them would be refused at the first glance."""
    taken = [harness.run(seed) for seed in harness.seeds]
    assert any(taken)


@_EACH
def test_a_long_input_takes_a_parser_no_longer_than_its_length(harness: Harness) -> None:
    for data in harness.stretched():
        harness.run(data)


@_EACH
def test_what_once_did_harm_does_none(harness: Harness) -> None:
    for data in harness.corpus():
        harness.run(data)


def test_every_folder_of_the_corpus_is_of_a_parser() -> None:
    """Were one renamed, what it once fell over would be fed to nobody."""
    assert {folder.name for folder in CORPUS.iterdir()} <= set(HARNESSES)
