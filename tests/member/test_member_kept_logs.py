"""The ends of logs whose pods are gone: what is kept on the agent's disk, for how long, and what is read of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atoll.edge.member.kept_logs import LONGEST_BYTES, MOST_OF_A_RUN, KeptLog, KeptLogs
from atoll.edge.member.log_lines import Lines, Tail, last_lines
from atoll.edge.member.merging import Merged
from atoll.federation.bus.messages import InventoryReport, LogsRequest, RunOrder, RunReport
from atoll.federation.bus.subjects import rpc_subject
from atoll.federation.errors import AtollError, Unavailable
from member.harness import CLUSTER, HubSide
from member.orders import NAMESPACE, run_order
from member.sandbox_world import sandbox_world
from member.world import eventually

TALKER = "trap 'echo last words; exit 0' TERM; echo first words; while :; do sleep 0.1; done"


def about(run: str, pod: str = "p", **fields: Any) -> KeptLog:
    return KeptLog(namespace="lab", run=run, pod=pod, uid=f"{run}-{pod}", **fields)


def texts(kept: KeptLogs, run: str) -> list[bytes]:
    return [text for _, text in kept.of("lab", run)]


def talking(script: str, *, run: str = "picks-1", **job: Any) -> RunOrder:
    given = run_order(run=run, **job)
    container = given.manifests[-1]["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["sh", "-c", script]
    container["resources"] = {}
    return given


@pytest.fixture
async def sandboxed(nats_server: Any, tmp_path: Path, hub: HubSide) -> AsyncIterator[HubSide]:
    async with sandbox_world(nats_server.url, tmp_path):
        await hub.reported("inventory", InventoryReport)
        yield hub


async def log_of(hub: HubSide, run: str = "picks-1", **wishes: Any) -> bytes:
    request = LogsRequest(namespace=NAMESPACE, run=run, **wishes).encode()
    chunks = hub.bus.request_many(rpc_subject(CLUSTER, "logs"), request, timeout_seconds=20)
    return b"".join([chunk async for chunk in chunks])


async def has_said(hub: HubSide, words: bytes) -> None:
    async def look() -> bool:
        try:
            return words in await log_of(hub)
        except AtollError:
            return False

    await eventually(look, within_seconds=30)


async def test_what_a_stopped_run_printed_can_be_read_with_its_last_words_until_its_order_is_withdrawn(
    sandboxed: HubSide,
) -> None:
    """It is cancelled, and its pod is gone; then the order is taken back, and another run may get its name."""
    key, given = f"run/{NAMESPACE}/picks-1", talking(TALKER)
    await sandboxed.order(key, given)
    await has_said(sandboxed, b"first words\n")
    await sandboxed.order(key, given.model_copy(update={"cancelled": True}))
    await sandboxed.reported(key, RunReport, lambda report: report.phase == "Cancelled")
    first, *_, last = (await log_of(sandboxed)).splitlines()
    assert (first, last) == (b"first words", b"last words")
    assert await log_of(sandboxed, follow=True, tail_lines=1) == b"last words\n"
    await sandboxed.withdraw(key)
    await sandboxed.gone(key)
    with pytest.raises(AtollError, match="no pod that has started"):
        await log_of(sandboxed)


async def test_what_a_run_printed_that_its_time_limit_ended_can_be_read(sandboxed: HubSide) -> None:
    """The cluster itself removes the pod: the agent listens when it sees that."""
    key = f"run/{NAMESPACE}/picks-1"
    await sandboxed.order(key, talking(TALKER.replace("exit 0", "sleep 1; exit 0"), activeDeadlineSeconds=2))
    await sandboxed.reported(key, RunReport, lambda report: report.phase == "Failed")
    await has_said(sandboxed, b"last words\n")


async def test_the_pods_of_a_run_are_followed_side_by_side_each_line_with_whose_it_is(sandboxed: HubSide) -> None:
    """Both tasks of an array print before either has ended, and neither's line is cut in two."""
    script = "printf 'half-'; sleep 0.2; echo whole; sleep 1"
    array: dict[str, Any] = {"completionMode": "Indexed", "completions": 2, "parallelism": 2}
    await sandboxed.order(f"run/{NAMESPACE}/picks-1", talking(script, backoffLimitPerIndex=0, **array))
    text = await log_of(sandboxed, follow=True, with_prefix=True)
    assert sorted(text.splitlines()) == [b"[0] half-whole", b"[1] half-whole"]


def test_kept_logs_are_there_after_a_restart_and_the_oldest_go_first(tmp_path: Path) -> None:
    """Three logs are kept at most; a half-written file is nobody's log."""
    kept = KeptLogs(tmp_path, most=3)
    for number in range(4):
        kept.put(about(f"run-{number}"), f"{number}\n".encode())
    kept.put(about("run-1"), b"1 again\n")
    (tmp_path / "damaged.log").write_bytes(b"{")
    again = KeptLogs(tmp_path, most=3)
    assert [texts(again, f"run-{number}") for number in range(4)] == [[], [b"1 again\n"], [b"2\n"], [b"3\n"]]
    assert not (tmp_path / "damaged.log").exists()


def test_a_large_run_cannot_push_out_the_logs_of_others(tmp_path: Path) -> None:
    """Of one run so many logs are kept, the newest ones."""
    kept = KeptLogs(tmp_path)
    for number in range(MOST_OF_A_RUN + 2):
        kept.put(about("array-1", f"p-{number:03}", created_at=f"{number:03}"), f"{number}".encode())
    found = texts(kept, "array-1")
    assert len(found) == MOST_OF_A_RUN
    assert found[0] == b"2"
    kept.forget("lab/array-1")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_loses_a_log_and_nothing_else(tmp_path: Path) -> None:
    """The folder is a file, as it were: to keep a log fails quietly, and nothing is found."""
    (tmp_path / "logs").write_bytes(b"")
    kept = KeptLogs(tmp_path / "logs")
    kept.put(about("run-1"), b"lost\n")
    assert texts(kept, "run-1") == []


def test_a_tail_holds_the_last_bytes_from_the_beginning_of_a_line() -> None:
    """However the text was cut into chunks."""
    text = b"".join(b"line %d\n" % number for number in range(20_000))
    for size in (1, 7, 4096, len(text)):
        tail = Tail(1000)
        for start in range(0, len(text), size):
            tail.add(text[start : start + size])
        assert tail.is_cut
        assert text.endswith(tail.text())
        assert tail.text().startswith(b"line ")
        assert 980 < len(tail.text()) <= 1000


def test_a_tail_of_one_endless_line_is_its_end() -> None:
    """Nothing is lost for want of an end of line."""
    tail = Tail(LONGEST_BYTES)
    tail.add(b"." * (LONGEST_BYTES + 5))
    assert tail.text() == b"." * LONGEST_BYTES


def test_lines_are_whole_and_marked_and_an_endless_one_is_handed_on() -> None:
    """A carriage return ends a line, too; what has no end comes at last."""
    lines = Lines(b"[1] ")
    assert [lines.add(chunk) for chunk in (b"a", b"b\nc", b"\r")] == [b"", b"[1] ab\n", b"[1] c\r"]
    assert lines.add(b"x" * (Lines.LONGEST_BYTES + 1)).startswith(b"[1] xxx")
    assert (lines.add(b"end"), lines.rest(), lines.rest()) == (b"", b"[1] end\n", b"")


@pytest.mark.parametrize(("count", "end"), [(None, b"a\nb\n"), (0, b""), (1, b"b\n"), (9, b"a\nb\n")])
def test_the_last_lines_of_a_text_are_as_many_as_were_asked_for(count: int | None, end: bytes) -> None:
    """As `tail -n` counts them."""
    assert last_lines(b"a\nb\n", count) == end


async def stream(*chunks: bytes, failure: Exception | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if failure is not None:
        raise failure


async def test_streams_are_merged_whole_though_few_are_read_at_once() -> None:
    """A hundred streams behind two places: nothing is lost, and the end is seen."""
    merged = Merged(2)
    for number in range(100):
        merged.add(stream(b"%d " % number, b"%d " % number))
    found = b"".join([chunk async for chunk in merged.to_the_end()])
    assert sorted(found.split()) == sorted(b"%d" % number for number in range(100) for _ in range(2))


async def test_a_stream_that_breaks_is_told_of() -> None:
    """Whoever reads the others learns that one is missing."""
    merged = Merged(2)
    merged.add(stream(b"a", failure=Unavailable("the API server has gone")))
    with pytest.raises(Unavailable, match="has gone"):
        [chunk async for chunk in merged.to_the_end()]
    merged.add(stream(b"b"))
    with pytest.raises(Unavailable, match="has gone"):
        [chunk async for chunk in merged.for_a_while(0.01)]
    await merged.close()
