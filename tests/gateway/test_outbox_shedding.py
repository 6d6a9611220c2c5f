"""What an outbox has no room for is shed by the Stream's rule, counted, and told to the sink; all else comes once."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from outbox_worlds import KEY, Hub, order_of, readings, rules

from atoll.edge.gateway import buffers
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.outbox import Outbox, OutboxFull
from atoll.federation.bus.envelope import decode

OLDEST = {"when_full": "Oldest"}
PAYLOAD = b"x" * 1000


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox(tmp_path / "outbox.db", gateway="lab")
    yield box
    box.close()


def advance(box: Outbox, seconds: float) -> None:
    """Let the outbox's clock go on."""
    box.clock._offset += seconds


def numbers(box: Outbox) -> list[int]:
    """Give the numbers of the readings that are in the outbox."""
    return [number for stored in box.read(0, limit=10_000) for number in decode(stored.data).numbers]


def test_oldest_sheds_the_oldest_readings_and_says_which(outbox: Outbox) -> None:
    outbox.follow(rules(order_of("anmo", buffer=OLDEST), limit_bytes=20_000))
    for _ in range(50):
        outbox.store(readings("anmo", PAYLOAD), now=0)
    assert outbox.bytes <= 20_000
    kept = numbers(outbox)
    assert kept == list(range(kept[0], 51))
    hub = Hub()
    hub.drain(outbox)
    told = hub.streams["anmo"]
    assert (sorted(told.shed), told.gaps) == (list(range(1, kept[0])), set())
    assert outbox.streams[KEY].shed == kept[0] - 1


def test_a_sample_keeps_the_readings_whose_number_is_a_multiple(outbox: Outbox) -> None:
    buffer = {"when_full": "Sample", "keep": 5, "bytes": 100_000}
    outbox.follow(rules(order_of("anmo", buffer=buffer)), is_compressed=False)
    for _ in range(30):
        outbox.store(readings("anmo", *[PAYLOAD] * 5), now=0)
    outbox.tidy()
    kept = numbers(outbox)
    whole = next(number for number in kept if number % 5)
    assert kept == [*range(5, whole, 5), *range(whole, 151)]
    hub = Hub()
    hub.drain(outbox)
    assert hub.streams["anmo"].shed | set(kept) == set(range(1, 151))
    assert outbox.streams[KEY].shed == 150 - len(kept)


def test_a_sample_that_is_full_again_is_thinned_again_until_it_fits(outbox: Outbox) -> None:
    buffer = {"when_full": "Sample", "keep": 2, "bytes": 100_000}
    outbox.follow(rules(order_of("anmo", buffer=buffer)), is_compressed=False)
    for _ in range(100):
        outbox.store(readings("anmo", *[PAYLOAD] * 20), now=0)
    outbox.tidy()
    assert outbox.bytes <= 100_000
    kept = numbers(outbox)
    assert len(kept) > 20, "it keeps what fits"
    assert kept[0] % 16 == 0, "the oldest are thinned most"
    hub = Hub()
    hub.drain(outbox)
    assert hub.streams["anmo"].shed | set(kept) == set(range(1, 2001))


def test_refuse_sheds_nothing_and_stores_nothing_more(outbox: Outbox) -> None:
    outbox.follow(rules(order_of("anmo"), limit_bytes=20_000), is_compressed=False)
    with pytest.raises(OutboxFull, match="at most 20000 bytes"):
        for _ in range(50):
            outbox.store(readings("anmo", PAYLOAD), now=0)
    assert outbox.streams[KEY].shed == 0
    assert numbers(outbox) == list(range(1, outbox.readings + 1))


def test_a_stream_that_refuses_is_named_at_its_own_limit_and_the_others_go_on(outbox: Outbox) -> None:
    orders = order_of("anmo", buffer={"bytes": 100_000}), order_of("other", buffer=OLDEST)
    outbox.follow(rules(*orders), is_compressed=False)
    outbox.store(readings("anmo", *[PAYLOAD] * 100), now=0)
    assert outbox.refusing() == {KEY: "its buffer of 100000 bytes is full"}
    outbox.store(readings("other", PAYLOAD), now=0)
    outbox.trim(KEY, number=1, sequence=100)
    assert outbox.refusing() == {}


def test_at_the_gateways_limit_a_stream_that_refuses_costs_no_other_a_reading(outbox: Outbox) -> None:
    outbox.follow(rules(order_of("anmo"), order_of("other", buffer=OLDEST), limit_bytes=100_000), is_compressed=False)
    other = StreamKey("ns", "other")
    for _ in range(40):
        outbox.store(readings("other", PAYLOAD), now=0)
    while KEY not in outbox.refusing():
        outbox.store(readings("anmo", PAYLOAD), now=0)
    assert outbox.streams.get(other) is not None
    assert outbox.streams[other].shed == 0
    for _ in range(200):
        outbox.store(readings("other", PAYLOAD), now=0)
        assert KEY in outbox.refusing()
    assert outbox.streams[other].shed > 0
    assert outbox.streams[KEY].shed == 0
    assert outbox.bytes <= 100_000


def test_at_the_gateways_limit_a_stream_of_less_priority_sheds_for_one_that_refuses(outbox: Outbox) -> None:
    orders = order_of("anmo", priority=5), order_of("other", buffer=OLDEST)
    outbox.follow(rules(*orders, limit_bytes=50_000), is_compressed=False)
    for _ in range(60):
        outbox.store(readings("other", PAYLOAD), now=0)
    for _ in range(20):
        assert KEY not in outbox.refusing()
        outbox.store(readings("anmo", PAYLOAD), now=0)
    assert outbox.streams[KEY].shed == 0
    assert outbox.bytes <= 50_000


def test_the_stream_of_least_priority_sheds_first(outbox: Outbox) -> None:
    orders = order_of("anmo", buffer=OLDEST, priority=5), order_of("other", buffer=OLDEST)
    outbox.follow(rules(*orders, limit_bytes=100_000), is_compressed=False)
    for _ in range(80):
        outbox.store(readings("anmo", PAYLOAD), now=0)
        outbox.store(readings("other", PAYLOAD), now=0)
    assert outbox.streams[KEY].shed == 0
    assert outbox.streams[StreamKey("ns", "other")].shed > 0


def test_what_the_hub_has_goes_before_anything_is_shed(outbox: Outbox) -> None:
    outbox.follow(rules(order_of("anmo", buffer=OLDEST), limit_bytes=30_000), is_compressed=False)
    for _ in range(20):
        outbox.store(readings("anmo", PAYLOAD), now=0)
    hub = Hub()
    hub.drain(outbox)
    for _ in range(15):
        outbox.store(readings("anmo", PAYLOAD), now=0)
    assert outbox.streams[KEY].shed == 0
    hub.drain(outbox)
    assert len(hub.streams["anmo"].payloads) == 35


def test_readings_that_wait_too_long_are_shed_by_the_outboxes_clock_and_not_by_the_walls(outbox: Outbox) -> None:
    outbox.follow(rules(order_of("anmo", buffer=OLDEST | {"age": "1h"})))
    outbox.store(readings("anmo", PAYLOAD), now=0.0)
    outbox.store(readings("anmo", PAYLOAD), now=4e9)
    outbox.tidy()
    assert numbers(outbox) == [1, 2]
    advance(outbox, 3000)
    outbox.store(readings("anmo", PAYLOAD), now=1.0)
    advance(outbox, 1000)
    outbox.tidy()
    assert numbers(outbox) == [3]
    assert outbox.streams[KEY].shed == 2


def test_the_gateways_age_holds_for_a_stream_that_names_none_and_refusal_is_told(outbox: Outbox) -> None:
    outbox.follow(rules(order_of("anmo"), age_seconds=60))
    outbox.store(readings("anmo", PAYLOAD), now=0.0)
    advance(outbox, 100)
    outbox.tidy()
    assert "waited for more than 60 s" in outbox.refusing()[KEY]
    assert numbers(outbox) == [1]


def test_a_sample_is_thinned_again_with_each_age_that_passes(outbox: Outbox) -> None:
    outbox.follow(rules(order_of("anmo", buffer={"when_full": "Sample", "keep": 10, "age": "1h"})))
    outbox.store(readings("anmo", *[PAYLOAD] * 200), now=0.0)
    found = []
    for _ in range(3):
        advance(outbox, 3601)
        outbox.tidy()
        outbox.tidy()
        found.append(numbers(outbox))
    assert found == [list(range(10, 201, 10)), [100, 200], []]


def test_the_age_of_what_waits_goes_on_after_a_restart_and_not_meanwhile(outbox: Outbox, tmp_path: Path) -> None:
    outbox.follow(rules(order_of("anmo", buffer=OLDEST | {"age": "1h"})))
    outbox.store(readings("anmo", PAYLOAD), now=0.0)
    advance(outbox, 3000)
    outbox.tidy()
    outbox.close()
    again = Outbox(tmp_path / "outbox.db", gateway="lab")
    again.follow(rules(order_of("anmo", buffer=OLDEST | {"age": "1h"})))
    again.tidy()
    assert numbers(again) == [1]
    advance(again, 700)
    again.tidy()
    assert numbers(again) == []
    again.close()


def test_an_end_of_run_is_told_though_its_readings_are_shed(outbox: Outbox) -> None:
    outbox.follow(rules(order_of("anmo", buffer=OLDEST), limit_bytes=12_000), is_compressed=False)
    for run in range(6):
        for _ in range(5):
            outbox.store(readings("anmo", PAYLOAD, dataset=f"run-{run}"), now=0)
        outbox.store(readings("anmo", dataset=f"run-{run}", end_of_run=True), now=0)
    hub = Hub()
    hub.drain(outbox)
    assert hub.streams["anmo"].ends == [f"run-{run}" for run in range(6)]
    assert outbox.streams[KEY].shed > 0


def test_files_are_never_shed(outbox: Outbox) -> None:
    outbox.follow(rules(order_of("anmo", buffer=OLDEST), limit_bytes=20_000), is_compressed=False)
    batch = readings("anmo", PAYLOAD)
    batch.drafts[0].holds_files = True
    outbox.store(batch, now=0)
    for _ in range(50):
        outbox.store(readings("anmo", PAYLOAD), now=0)
    assert numbers(outbox)[0] == 1
    assert 2 not in numbers(outbox)


def test_what_only_says_that_readings_were_shed_does_not_fill_the_outbox(outbox: Outbox) -> None:
    """Twenty instruments with a dataset each: what was shed of one cannot be joined with its neighbour's."""
    outbox.follow(rules(order_of("anmo", buffer=OLDEST), limit_bytes=5_000), is_compressed=False)
    for number in range(240):
        outbox.store(readings("anmo", b"tiny", dataset=f"d{number % 20}"), now=0)
    assert outbox.bytes <= 5_000
    hub = Hub()
    hub.drain(outbox)
    told = hub.streams["anmo"]
    assert (told.shed | told.payloads.keys(), told.gaps) == (set(range(1, 241)), set())


def test_a_deleted_streams_envelopes_leave_after_a_while_and_the_sink_is_told_if_it_comes_back(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffers, "LEFT_SECONDS", 600.0)
    outbox.follow(rules(order_of("anmo")))
    outbox.store(readings("anmo", *[PAYLOAD] * 10), now=0)
    outbox.follow(rules())
    outbox.tidy()
    assert outbox.readings == 10
    advance(outbox, 601)
    outbox.tidy()
    assert outbox.readings == 0
    assert outbox.bytes < 300
    outbox.follow(rules(order_of("anmo")))
    outbox.store(readings("anmo", PAYLOAD), now=0)
    hub = Hub()
    hub.drain(outbox)
    told = hub.streams["anmo"]
    assert (sorted(told.shed), sorted(told.payloads)) == (list(range(1, 11)), [11])


def test_a_stream_that_comes_back_in_time_loses_nothing(outbox: Outbox) -> None:
    outbox.follow(rules(order_of("anmo")))
    outbox.store(readings("anmo", PAYLOAD), now=0)
    outbox.follow(rules())
    advance(outbox, buffers.LEFT_SECONDS - 1)
    outbox.follow(rules(order_of("anmo")))
    advance(outbox, 10_000)
    outbox.tidy()
    assert outbox.readings == 1


@pytest.mark.parametrize("seed", range(8))
def test_every_reading_comes_once_or_is_told_as_shed_whatever_happens(tmp_path: Path, seed: int) -> None:
    """Sessions break with envelopes under way, the gateway is killed, room is short: nothing is silent or double."""
    chooser = random.Random(seed)
    box, hub = Outbox(tmp_path / "outbox.db", gateway="lab"), Hub()
    buffers_ = {"a": OLDEST, "b": {"when_full": "Sample", "keep": chooser.choice([2, 3, 10])}, "c": {}}
    orders = [order_of(name, buffer=buffer, priority=chooser.choice([0, 0, 5])) for name, buffer in buffers_.items()]
    box.follow(rules(*orders, limit_bytes=20_000), is_compressed=False)
    sent: dict[str, list[bytes]] = {"a": [], "b": [], "c": []}
    for step in range(120):
        match chooser.choice(["store", "store", "store", "break", "kill", "trim", "drain"]):
            case "store":
                name = chooser.choice("aabbc")
                payloads = [b"%s %d %d" % (name.encode(), step, n) * 40 for n in range(chooser.randint(1, 4))]
                try:
                    box.store(readings(name, *payloads, dataset=chooser.choice("xy")), now=step)
                    sent[name] += payloads
                except OutboxFull:
                    hub.drain(box)
            case "break":  # the hub has a part of what is under way, and the gateway does not know which
                session = box.outgoing.begin(hub.positions())
                taken = box.outgoing.take(session, limit=chooser.randint(1, 6))
                arrived = chooser.randint(0, len(taken))
                for stored in taken[:arrived]:
                    hub.store(stored)
                for stored in taken[: chooser.randint(0, arrived)]:
                    box.outgoing.acknowledged(stored)
                if chooser.random() < 0.5:
                    box.outgoing.stop()
            case "kill":
                box.close()
                box = Outbox(tmp_path / "outbox.db", gateway="lab")
                box.follow(rules(*orders, limit_bytes=20_000), is_compressed=False)
            case "trim":
                for key, told in hub.streams.items():
                    box.trim(StreamKey("ns", key), number=told.envelope, sequence=told.last)
            case "drain" if chooser.random() < 0.2:
                hub.drain(box)
        assert box.bytes <= 20_000 + 3000
    hub.drain(box)
    box.close()
    for name, payloads in sent.items():
        told = hub.streams.get(name)
        if not payloads:
            continue
        assert told is not None
        assert told.gaps == set()
        assert told.shed | told.payloads.keys() == set(range(1, len(payloads) + 1))
        assert all(payloads[number - 1] == payload for number, payload in told.payloads.items())
        assert name != "c" or not told.shed
