"""The controller runtime keeps its promises: one run per key at a time, equal keys merge, failures come back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import pytest

from atoll.federation.errors import Conflict
from atoll.hub.controllers.runtime import DONE, Controller, Key, Outcome, RequeueAfter, Source, TerminalError
from atoll.hub.controllers.workqueue import Backoff, WorkQueue
from atoll.hub.metrics import Metrics

QUICK = Backoff(first_seconds=0.001, longest_seconds=0.01)


class Keys(Source):
    """A source whose keys the test gives."""

    def __init__(self, settle_seconds: float = 0.0) -> None:
        self.queue: asyncio.Queue[Iterable[Key]] = asyncio.Queue()
        self._settle_seconds = settle_seconds

    @property
    def settle_seconds(self) -> float:
        return self._settle_seconds

    async def keys(self) -> AsyncIterator[Iterable[Key]]:
        while True:
            yield await self.queue.get()


class Recorder:
    """A reconciler that remembers what ran, and does what the test says."""

    name = "recorder"

    def __init__(self, act: Callable[["Recorder", Key], Outcome] | None = None, *, seconds: float = 0.0) -> None:
        self.source, self.runs, self._act, self._seconds = Keys(), [], act, seconds
        self.runs: list[Key] = []
        self.running: list[Key] = []
        self.most_at_once = 0

    def sources(self) -> Sequence[Source]:
        return (self.source,)

    async def reconcile(self, key: Key) -> Outcome:
        assert key not in self.running, "a key ran twice at once"
        self.running.append(key)
        self.most_at_once = max(self.most_at_once, len(self.running))
        try:
            await asyncio.sleep(self._seconds)
            self.runs.append(key)
            return self._act(self, key) if self._act else DONE
        finally:
            self.running.remove(key)


async def run_until(recorder: Recorder, keys: Sequence[Key], runs: int) -> None:
    """Run a controller on some keys until so many runs have happened, and a moment longer."""
    task = asyncio.create_task(Controller(recorder, metrics=Metrics(), backoff=QUICK).run())
    for key in keys:
        recorder.source.queue.put_nowait([key])
    async with asyncio.timeout(20):
        while len(recorder.runs) < runs:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled(), "cancelling a controller ends it cleanly"


async def test_equal_keys_merge_and_one_that_comes_meanwhile_runs_once_more() -> None:
    recorder = Recorder(seconds=0.05)
    controller = Controller(recorder, metrics=Metrics())
    task = asyncio.create_task(controller.run())
    recorder.source.queue.put_nowait([("a", "x")] * 3)
    await asyncio.sleep(0.02)
    for _ in range(5):
        recorder.source.queue.put_nowait([("a", "x")])
    await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.wait({task})
    assert recorder.runs == [("a", "x")] * 2


async def test_different_keys_run_at_the_same_time() -> None:
    recorder = Recorder(seconds=0.05)
    await run_until(recorder, [("a", str(index)) for index in range(4)], 4)
    assert recorder.most_at_once == 4


async def test_a_failing_key_comes_back_until_it_succeeds_and_stops_no_other() -> None:
    def act(recorder: Recorder, key: Key) -> Outcome:
        if key == ("a", "bad") and recorder.runs.count(key) < 4:
            raise Conflict("stale")
        return DONE

    recorder = Recorder(act)
    await run_until(recorder, [("a", "bad"), ("a", "good")], 5)
    assert recorder.runs.count(("a", "bad")) == 4
    assert recorder.runs.count(("a", "good")) == 1


async def test_a_bug_in_one_key_is_retried_like_any_failure() -> None:
    def act(recorder: Recorder, key: Key) -> Outcome:
        if len(recorder.runs) < 3:
            raise ZeroDivisionError
        return DONE

    recorder = Recorder(act)
    await run_until(recorder, [("a", "x")], 3)
    assert len(recorder.runs) == 3


async def test_a_terminal_failure_is_not_tried_again_until_the_key_comes_again() -> None:
    def act(recorder: Recorder, key: Key) -> Outcome:
        raise TerminalError("never")

    recorder = Recorder(act)
    await run_until(recorder, [("a", "x")], 1)
    assert len(recorder.runs) == 1


async def test_a_key_comes_again_after_the_time_it_asked_for() -> None:
    recorder = Recorder(lambda self, key: RequeueAfter(0.01) if len(self.runs) < 3 else DONE)
    await run_until(recorder, [("a", "x")], 3)
    assert len(recorder.runs) == 3


async def test_a_source_that_lets_its_changes_gather_keeps_no_key_of_another_source_waiting() -> None:
    recorder, slow = Recorder(), Keys(settle_seconds=3600)
    recorder.sources = lambda: (recorder.source, slow)  # type: ignore[method-assign]
    slow.queue.put_nowait([("ns", "gathers"), ("ns", "urgent")])
    await run_until(recorder, [("ns", "urgent")], 1)
    assert recorder.runs == [("ns", "urgent")]


async def test_the_sooner_of_two_delays_holds_and_a_key_without_delay_runs_at_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("x", after=60)
    queue.add("x", after=0.01)
    queue.add("x", after=60)
    assert await asyncio.wait_for(queue.take(), 1) == "x"
    queue.done("x")
    queue.add("x", after=60)
    queue.add("x")
    assert await asyncio.wait_for(queue.take(), 1) == "x"
    assert len(queue) == 0
    queue.close()


@pytest.mark.parametrize(
    ("failures", "least", "most"), [(1, 0.5, 1.0), (2, 1.0, 2.0), (5, 8.0, 16.0), (99, 15.0, 30.0)]
)
def test_backoff_doubles_up_to_its_limit_with_jitter(failures: int, least: float, most: float) -> None:
    for chance in (0.0, 0.5, 1.0):
        seconds = Backoff(1.0, 30.0, chance=lambda chance=chance: chance).seconds(failures)
        assert least <= seconds <= most
