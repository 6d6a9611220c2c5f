"""A stack in one home: its state tells the truth, a failure is one line, leftovers of a killed one are ended."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atoll.federation.errors import Unavailable
from atoll.local import detach
from atoll.local.home import Home
from atoll.local.leftovers import end_leftovers
from atoll.local.ports import assign
from atoll.local.stack import Stack, start_nats
from atoll.local.state import ProcessState, State
from atoll.local.supervisor import ProcessSpec


def sleeper(note: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", "import time; time.sleep(60)", note)


async def test_the_state_follows_the_life_of_the_stack(tmp_path: Path) -> None:
    """Starting with its steps, Ready with its processes, and no state file once it was stopped."""
    home, seen = Home(tmp_path), []

    async def compose(stack: Stack) -> None:
        stack.step("starting NATS")
        ports = assign(home.ports_file, ("nats",))
        await start_nats(stack, ports)
        seen.append(home.read_state())

    stack = Stack(home, "hub")
    running = asyncio.create_task(stack.run(compose))
    while (state := home.read_state()) is None or state.phase != "Ready":
        assert not running.done()
        await asyncio.sleep(0.02)
    assert [process.name for process in state.processes] == ["nats"]
    assert state.nats_url.startswith("tls://127.0.0.1:")
    assert seen[0] is not None
    assert (seen[0].phase, seen[0].steps[0]) == ("Starting", "starting NATS")
    running.cancel()
    await asyncio.wait([running])
    assert home.read_state() is None
    assert not home.is_running()


async def test_a_stack_that_fails_says_why_in_its_state(tmp_path: Path) -> None:
    """Whoever waits for it reads the reason there; nothing is left running."""
    home = Home(tmp_path)

    async def never() -> bool:
        return False

    async def compose(stack: Stack) -> None:
        await stack.supervisor.start(ProcessSpec("good", sleeper(str(tmp_path)), dict(os.environ)))
        bad = (sys.executable, "-S", "-c", "raise SystemExit('no luck')")
        await stack.supervisor.start(ProcessSpec("bad", bad, dict(os.environ), is_ready=never))

    with pytest.raises(Unavailable, match="bad ended while starting: no luck"):
        await Stack(home, "hub").run(compose)
    state = home.read_state()
    assert state is not None
    assert state.phase == "Failed"
    assert "no luck" in state.message
    assert state.processes == ()


def test_a_launched_supervisor_that_ends_is_reported_with_its_last_line(tmp_path: Path) -> None:
    """The person who waits hears why, though the supervisor ran in the background."""
    home = Home(tmp_path)
    argv = (sys.executable, "-S", "-c", "raise SystemExit('one\\nerror: out of luck\\n  see there')")
    supervisor = detach.launch(argv, home, outlives_us=False)
    with pytest.raises(Unavailable, match=r"^error: out of luck see there \(log: .*supervisor.log\)"):
        detach.wait_ready(supervisor, home, on_step=lambda _: None, seconds=10)


def test_a_supervisor_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    """Waiting has an end."""
    home = Home(tmp_path)
    supervisor = detach.launch(sleeper("x"), home, outlives_us=False)
    try:
        with pytest.raises(Unavailable, match="not ready after 0 s"):
            detach.wait_ready(supervisor, home, on_step=lambda _: None, seconds=0.3)
    finally:
        detach.end(supervisor)
    assert supervisor.poll() is not None


def test_leftovers_of_a_killed_supervisor_are_ended_and_nothing_else(tmp_path: Path) -> None:
    """A pid that now belongs to another program is left alone."""
    home = Home(tmp_path)
    ours = subprocess.Popen(sleeper(str(home.root)), start_new_session=True)
    theirs = subprocess.Popen(sleeper("somebody else's"), start_new_session=True)
    try:
        processes = tuple(ProcessState(name=str(p.pid), pid=p.pid, log="") for p in (ours, theirs))
        home.write_state(State(kind="hub", pid=1, started_at=datetime.now(UTC), processes=processes))
        assert end_leftovers(home) == [ours.pid]
        assert ours.wait(5) == -9
        assert theirs.poll() is None
    finally:
        for process in (ours, theirs):
            process.kill()
            process.wait()
