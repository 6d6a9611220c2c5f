"""Dataset names from values: made to fit, and never shared by two sources."""

import json

from datapath import stream_order
from packers import NOON_NS, SECOND_NS, Bench, content, message


def test_the_date_is_that_of_the_reading_and_not_of_its_arrival() -> None:
    bench = Bench(
        dataset="d.{date}", payload={"format": "JSON"}, time={"from": "Payload", "field": "t", "unit": "RFC3339"}
    )
    packed = bench.take(message("lab/a/data", b'{"t": "2026-11-21T23:59:59+00:00"}'), message("lab/a/data", b"{}"))
    assert [draft.dataset for draft in packed.drafts] == ["d.2026-11-21", "d.2026-11-22"]
    assert bench.tally.clock_fallbacks == 1


def test_year_month_and_hour_may_be_named_too() -> None:
    bench = Bench(dataset="{year}.{month}.{hour}")
    packed = bench.take(message("lab/a/data"), message("lab/a/data", at=NOON_NS + 3600 * SECOND_NS))
    assert [draft.dataset for draft in packed.drafts] == ["2026.2026-11.2026-11-22-12", "2026.2026-11.2026-11-22-13"]


def test_a_clock_that_goes_back_goes_back_to_the_earlier_dataset() -> None:
    bench = Bench(dataset="{hour}")
    hours = [message("lab/a/data", at=NOON_NS + hour * 3600 * SECOND_NS) for hour in (0, 1, 0)]
    packed = bench.take(*hours)
    assert [(draft.dataset[-2:], len(draft.readings)) for draft in packed.drafts] == [("12", 2), ("13", 1)]


def test_a_field_of_the_payload_becomes_part_of_the_name() -> None:
    bench = Bench(dataset="d.{field[sample.id]}", payload={"format": "JSON"})
    packed = bench.take(*[message("lab/a/data", json.dumps({"sample": {"id": name}}).encode()) for name in ("A 1", 7)])
    assert [draft.dataset for draft in packed.drafts] == ["d.a-1", "d.7"]


def test_two_instruments_whose_names_become_the_same_are_not_mixed() -> None:
    bench = Bench(dataset="{topic[1]}")
    packed = bench.take(message("lab/Bench 4/data", b"1"), message("lab/bench-4/data", b"2"))
    assert content(packed) == [("bench-4", [b"1"], False)]
    assert "'bench-4' would share the dataset name bench-4 with 'Bench 4'" in bench.tally.last_refusal
    assert bench.tally.refused == 1


def test_a_topic_that_is_too_short_for_its_template_is_named_with_the_level() -> None:
    bench = Bench(dataset="d.{topic[7]}", topics=("lab/#",))
    assert not bench.take(message("lab/a/data")).drafts
    assert bench.tally.last_refusal.endswith("the topic has nothing for {topic[7]}; its levels count from 0")


def test_a_name_that_is_too_long_says_so() -> None:
    bench = Bench(dataset="{topic[1]}")
    assert not bench.take(message(f"lab/{'a' * 254}/data")).drafts
    assert "it is longer than 253 letters" in bench.tally.last_refusal


def test_who_had_a_name_first_has_it_after_a_restart_too() -> None:
    bench = Bench(dataset="{topic[1]}.{date}")
    bench.take(message("lab/Bench 4/data", b"1"))
    bench.restart()
    assert not bench.take(message("lab/bench-4/data", b"2"), message("lab/bench-4/data", b"3")).drafts
    later = bench.take(message("lab/Bench 4/data", b"4", at=NOON_NS + 86_400 * SECOND_NS))
    assert content(later) == [("bench-4.2026-11-23", [b"4"], False)]
    assert bench.tally.refused == 2


def test_another_template_or_a_stream_made_anew_frees_the_names() -> None:
    bench = Bench(dataset="{topic[1]}.{date}")
    bench.take(message("lab/Bench 4/data"))
    bench.packer.follow([])
    bench.packer.follow([bench.order])
    assert [draft.dataset for draft in bench.take(message("lab/bench-4/data")).drafts] == ["bench-4.2026-11-22"]
    bench.order = stream_order(dataset="{topic[1]}.{month}", end_of_run=None)
    bench.restart()
    assert [draft.dataset for draft in bench.take(message("lab/Bench 4/data")).drafts] == ["bench-4.2026-11"]


def test_levels_that_run_into_each_other_are_not_mixed_either() -> None:
    bench = Bench(dataset="{topic[1]}-{topic[2]}", topics=("lab/#",))
    packed = bench.take(message("lab/a-b/c", b"1"), message("lab/a/b-c", b"2"))
    assert content(packed) == [("a-b-c", [b"1"], False)]


def test_a_refused_reading_leaves_the_others_of_its_batch_alone() -> None:
    bench = Bench(dataset="{topic[1]}", topics=("lab/#",))
    packed = bench.take(message("lab/---", b"1"), message("lab/a", b"2"), message("lab/---", b"3"))
    assert content(packed) == [("a", [b"2"], False)]
    assert bench.tally.refused == 2


def test_counts_survive_a_restart() -> None:
    bench = Bench(dataset="{topic[1]}", topics=("lab/#",))
    bench.take(message("lab/---"))
    bench.restart()
    bench.take(message("lab/---"))
    assert bench.tally.refused == 2
