"""What is the next envelope of a Stream, compared with a plain model."""

from hypothesis import given
from hypothesis import strategies as st

from atoll.edge.sink.contiguity import Progress, furthest, restore
from atoll.federation.bus.envelope import Envelope, Reading

OUTBOXES = ["a" * 32, "b" * 32]


def build(outbox: str, sizes: list[int]) -> list[Envelope]:
    """Give an outbox's envelopes of one Stream, with these numbers of readings; others' lie between them."""
    envelopes, first = [], 1
    for index, size in enumerate(sizes):
        readings = tuple(Reading(0, "t", b"") for _ in range(size))
        envelopes.append(Envelope(outbox, "lab", "ns", "s", "d", 3 * index + 1, first, readings))
        first += size
    return envelopes


sizes = st.lists(st.integers(0, 3), min_size=1, max_size=8)


@given(sizes, sizes, st.data())
def test_what_is_missing_is_exactly_what_was_left_out(first: list[int], second: list[int], data: st.DataObject) -> None:
    """Drop and repeat envelopes at will: new and missing readings are those that a set of seen numbers says."""
    whole = [*build(OUTBOXES[0], first), *build(OUTBOXES[1], second)]
    picked = sorted(data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=12)))
    progress, seen = Progress("lab", "s"), set()
    for envelope in (whole[index] for index in picked):
        verdict = progress.judge(envelope)
        key = (envelope.outbox, envelope.number)
        assert verdict.is_new == (key not in seen)
        if verdict.is_new:
            last = max(
                (e.last for e in whole if (e.outbox, e.number) in seen and e.outbox == envelope.outbox), default=0
            )
            assert verdict.missing == envelope.first - 1 - last
        seen.add(key)
        progress = progress.after(envelope)


@given(sizes)
def test_progress_comes_back_from_its_checkpoints(parts: list[int]) -> None:
    progress = Progress("lab", "s", log_sequence=9, log_created="x")
    for envelope in build(OUTBOXES[0], parts):
        progress = progress.after(envelope)
    assert restore(progress.checkpoints())["lab", "s"] == progress


def test_the_further_of_two_is_the_one_that_has_seen_more() -> None:
    one, two = build(OUTBOXES[0], [2, 2])
    short = Progress("lab", "s").after(one)
    long = short.after(two)
    assert furthest(short, long) == furthest(long, short) == long
    renewed = long.after(build(OUTBOXES[1], [1])[0])
    assert furthest(long, renewed) == furthest(renewed, long) == renewed
