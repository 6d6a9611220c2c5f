"""Kill parts with -9 while the data flow: the demo ends in the same ledger, and every check of it passes."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from clitool import Cli, descendants_of, processes_of, read_until

from atoll.local.home import Home

pytestmark = [pytest.mark.demo, pytest.mark.faults]
# Into the data flow far enough that readings are everywhere on their way: broker, outbox, JetStream, sink.
INTO_THE_FLOW_SECONDS = 1.5


def pid_of(home: Home, part: str) -> int:
    """Find a part's process: the supervisor knows its own, the sink is a pod's process in a cluster."""
    state = home.read_state()
    assert state is not None
    for process in state.processes:
        if process.name == part and process.pid is not None:
            return process.pid
    command = re.compile(rf"\S+ -m atoll\.cli {part} --cluster onprem-gpu ")
    found = [pid for pid, line in descendants_of(state.pid).items() if command.match(line)]
    assert len(found) == 1, found
    return found[0]


def restarted(home: Home, part: str, killed: int) -> bool:
    """Tell whether a part runs again."""
    try:
        return pid_of(home, part) != killed
    except AssertionError:
        return False


def test_killed_parts_lose_and_repeat_nothing_and_the_demo_leaves_nothing_behind(temporary: Path) -> None:
    """570 published, 570 received, no gap, no duplicate, every file equal to its source: whatever was killed."""
    cli = Cli(temporary / "home", temporary=temporary)
    with cli.running("demo", "--speed", "40") as demo:
        read_until(demo, "data ...")
        time.sleep(INTO_THE_FLOW_SECONDS)
        home = Home(next(temporary.glob("atoll-demo-*")))
        for part in ("gateway", "hub", "nats", "sink", "agent-onprem-gpu"):
            killed = pid_of(home, part)
            os.kill(killed, signal.SIGKILL)
            deadline = time.monotonic() + 30
            while not restarted(home, part, killed):
                assert time.monotonic() < deadline, f"{part} was not started again"
                time.sleep(0.1)
        report, progress = demo.communicate(timeout=100)
    assert demo.returncode == 0, report + progress
    assert "570 published, 570 received, gaps 0, duplicates 0" in report
    assert "✓ every file equals its source by SHA-256" in report
    assert list(temporary.glob("atoll-demo-*")) == []
    assert processes_of(temporary) == []
