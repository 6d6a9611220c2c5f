"""Runs of an instrument: what begins one, what ends one, what it is called, through restarts."""

import json
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packers import Bench, content, message

from atoll.edge.gateway.drafts import Packed


def reading(value: Any, topic: str = "lab/a/data") -> Any:
    return message(topic, json.dumps(value).encode())


@pytest.mark.parametrize("is_restarted", [False, True])
def test_runs_are_counted_per_instrument(is_restarted: bool) -> None:
    bench = Bench(dataset="{topic[1]}.{run}", end_of_run={"topic": "lab/+/end"})
    bench.take(message("lab/a/data"), message("lab/a/end"), message("lab/b/data"))
    if is_restarted:
        bench.restart()
    packed = bench.take(message("lab/a/data", b"2"), message("lab/b/data", b"2"))
    assert content(packed) == [("a.2", [b"2"], False), ("b.1", [b"2"], False)]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_start_message_names_the_run_and_ends_the_one_before(is_restarted: bool) -> None:
    bench = Bench(dataset="scan-{run}", run={"topic": "lab/start"})
    first = bench.take(message("lab/a/data", b"0"), message("lab/start", b"Run 7 "), message("lab/a/data", b"1"))
    assert content(first) == [("scan-none", [b"0"], True), ("scan-run-7", [b"1"], False)]
    if is_restarted:
        bench.restart()
    second = bench.take(message("lab/a/data", b"2"), message("lab/start", b"Run 8"), message("lab/a/data", b"3"))
    assert content(second) == [("scan-run-7", [b"2"], True), ("scan-run-8", [b"3"], False)]


def test_a_run_whose_name_has_no_letter_is_none() -> None:
    bench = Bench(dataset="scan-{run}", run={"topic": "lab/start"})
    assert content(bench.take(message("lab/start", b"---"), message("lab/a/data"))) == [("scan-none", [b"1"], False)]


def test_a_start_message_that_comes_again_changes_nothing() -> None:
    bench = Bench(dataset="scan-{run}", run={"topic": "lab/start"})
    bench.take(message("lab/start", b"7"), message("lab/a/data"))
    assert content(bench.take(message("lab/start", b"7"), message("lab/a/data", b"2"))) == [("scan-7", [b"2"], False)]


def test_a_field_of_the_start_message_names_the_run_of_its_instrument_only() -> None:
    bench = Bench(
        dataset="{topic[1]}.{run}",
        payload={"format": "JSON"},
        run={"topic": "lab/+/start", "field": "scan.id"},
        end_of_run={"topic": "lab/+/end"},
    )
    packed = bench.take(
        reading({"scan": {"id": 12}}, "lab/a/start"),
        reading(1),
        reading(2, "lab/b/data"),
        message("lab/a/end"),
        reading(3),
    )
    assert content(packed) == [("a.12", [b"1"], True), ("b.none", [b"2"], False), ("a.none", [b"3"], False)]


def test_a_run_over_all_instruments_goes_on_while_one_of_them_is_silent() -> None:
    bench = Bench(dataset="{topic[1]}.{run}", run={"topic": "lab/start"}, end_of_run={"idle": "10s"})
    bench.take(message("lab/start", b"7"), message("lab/a/data"), message("lab/b/data"), now=0)
    bench.take(message("lab/b/data"), now=9)
    assert content(bench.silence(12)) == [("a.7", [], True)]
    assert content(bench.take(message("lab/a/data", b"2"), now=13)) == [("a.7", [b"2"], False)]


def test_a_field_of_each_reading_names_its_run() -> None:
    bench = Bench(dataset="{run}", payload={"format": "JSON"}, run={"field": "sample"})
    packed = bench.take(reading({"sample": "S 1"}), reading({"sample": "S 2"}), message("lab/a/data", b"no JSON"))
    assert [draft.dataset for draft in packed.drafts] == ["s-1", "s-2", "none"]
    assert bench.tally.malformed == 1


def test_a_value_in_a_reading_ends_the_run_of_its_instrument_after_it() -> None:
    bench = Bench(dataset="{topic[1]}", payload={"format": "JSON"}, end_of_run={"field": "state", "equals": "done"})
    packed = bench.take(reading({"state": "on"}), reading({"state": "on"}, "lab/b/data"), reading({"state": "done"}))
    assert content(packed) == [
        ("a", [b'{"state": "on"}', b'{"state": "done"}'], True),
        ("b", [b'{"state": "on"}'], False),
    ]


@pytest.mark.parametrize(
    ("end", "payload", "ends"),
    [
        ({"topic": "lab/end", "equals": "done"}, b" done\n", True),
        ({"topic": "lab/end", "equals": "done"}, b"paused", False),
        ({"topic": "lab/end", "field": "state", "equals": 0}, b'{"state": 0}', True),
        ({"topic": "lab/end", "field": "state", "equals": 0}, b'{"state": false}', False),
        ({"topic": "lab/end", "field": "state", "equals": True}, b'{"state": true}', True),
        ({"topic": "lab/end", "field": "state", "equals": "x"}, b"no JSON", False),
        ({"topic": "lab/end", "field": "state", "equals": "x"}, b"{}", False),
    ],
)
def test_a_message_ends_a_run_only_with_the_value_that_was_named(end: Any, payload: bytes, ends: bool) -> None:
    bench = Bench(payload={"format": "JSON"}, end_of_run=end)
    packed = bench.take(message("lab/a/data"), message("lab/end", payload))
    assert [draft.end_of_run for draft in packed.drafts] == [ends]


def test_a_retained_state_ends_the_run_also_when_the_broker_had_kept_it() -> None:
    bench = Bench(end_of_run={"retained": "lab/state", "equals": "idle"})
    bench.take(message("lab/a/data"))
    bench.restart()
    assert content(bench.take(message("lab/state", b"running", retained=True))) == []
    assert content(bench.take(message("lab/state", b"idle", retained=True))) == [("anmo.run", [], True)]
    assert content(bench.take(message("lab/state", b"idle", retained=True))) == []


def test_silence_ends_a_run_and_each_reading_puts_it_off() -> None:
    bench = Bench(end_of_run={"idle": "1m"})
    bench.take(message("lab/a/data"), now=100)
    bench.take(message("lab/a/data"), now=150)
    assert content(bench.silence(209)) == []
    assert content(bench.silence(210)) == [("anmo.run", [], True)]
    assert content(bench.silence(1000)) == []


def test_after_a_restart_silence_is_measured_anew() -> None:
    """What waits at the broker must be let in first."""
    bench = Bench(end_of_run={"idle": "1m"})
    bench.take(message("lab/a/data"), now=100)
    bench.restart()
    assert content(bench.silence(5000)) == []
    assert content(bench.silence(5059)) == []
    assert content(bench.silence(5060)) == [("anmo.run", [], True)]


def test_silence_without_the_broker_means_nothing() -> None:
    bench = Bench(end_of_run={"idle": "1m"})
    bench.take(message("lab/a/data"), now=100)
    bench.packer.runs.restart_clock()
    assert content(bench.silence(500)) == []
    assert content(bench.silence(561)) == [("anmo.run", [], True)]


def test_a_clock_that_jumps_ends_no_run() -> None:
    bench = Bench(end_of_run={"idle": "1m"})
    bench.take(message("lab/a/data"), now=100)
    bench.take(message("lab/a/data", at=10**18), message("lab/a/data", at=2 * 10**18), now=110)
    assert content(bench.silence(120)) == []


def test_what_is_opened_again_in_the_same_batch_is_open_after_a_restart() -> None:
    bench = Bench(end_of_run={"topic": "lab/end"})
    bench.take(message("lab/a/data"), message("lab/end"), message("lab/a/data"))
    bench.restart()
    assert content(bench.take(message("lab/end"))) == [("anmo.run", [], True)]


def test_what_is_opened_and_closed_in_one_batch_is_not_open_after_a_restart() -> None:
    bench = Bench(end_of_run={"topic": "lab/end"})
    bench.take(message("lab/a/data"), message("lab/end"))
    bench.restart()
    assert content(bench.take(message("lab/end"))) == []


def test_a_marker_with_a_wildcard_ends_all_channels_of_its_instrument() -> None:
    bench = Bench(topics=("lab/+/data/+",), dataset="{topic[1]}.{topic[3]}", end_of_run={"topic": "lab/+/end"})
    packed = bench.take(message("lab/a/data/x"), message("lab/a/data/y"), message("lab/b/data/x"), message("lab/a/end"))
    assert [(draft.dataset, draft.end_of_run) for draft in packed.drafts] == [
        ("a.x", True),
        ("a.y", True),
        ("b.x", False),
    ]


def test_the_end_of_a_run_that_a_message_said_is_told_even_if_nothing_was_open() -> None:
    bench = Bench(end_of_run={"topic": "lab/end"})
    assert [str(stream) for stream in bench.take(message("lab/end")).ended] == ["ns/anmo"]


events = st.tuples(st.sampled_from(["a/data", "b/data", "a/start", "a/end", "b/end"]), st.integers(0, 2))


@given(st.lists(events, max_size=40), st.lists(st.integers(1, 6), max_size=12))
def test_a_restart_after_any_batch_changes_nothing(story: list[tuple[str, int]], cuts: list[int]) -> None:
    """What outlives the process is all that the next one needs to know."""
    stream = {"dataset": "{topic[1]}.{run}", "run": {"topic": "lab/+/start"}, "end_of_run": {"topic": "lab/+/end"}}
    messages = [message(f"lab/{topic}", f"{number}".encode()) for topic, number in story]
    whole, restarted = Bench(**stream), Bench(**stream)
    batches, rest = [], messages
    for size in cuts:
        batches.append(restarted.take(*rest[:size]))
        restarted.restart()
        rest = rest[size:]
    assert told([*batches, restarted.take(*rest)]) == told([whole.take(*messages)])


def told(batches: list[Packed]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for packed in batches:
        for dataset, payloads, is_end in content(packed):
            found[dataset] += [*payloads, *(["end"] if is_end else [])]
    return found
