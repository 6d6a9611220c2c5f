"""The supervisor: ready when ready, back when dead, gone when stopped, and nothing left however it ends."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from atoll.federation.errors import Unavailable
from atoll.local.supervisor import ProcessSpec, Supervisor

ENVIRONMENT = dict(os.environ)


def script(text: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", text)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def until(claim: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not claim():
            await asyncio.sleep(0.02)


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    made = Supervisor(tmp_path / "logs", lambda: None)
    yield made
    await made.stop()


def pids(supervisor: Supervisor) -> dict[str, int | None]:
    return {process.name: process.pid for process in supervisor.processes}


async def test_start_returns_when_the_process_is_ready(supervisor: Supervisor, tmp_path: Path) -> None:
    """A stage is up only when each of its processes says so."""
    flag = tmp_path / "flag"

    async def is_ready() -> bool:
        return flag.exists()

    waits = script(f"import time; time.sleep(.3); open({str(flag)!r}, 'w'); time.sleep(60)")
    await supervisor.start(ProcessSpec("waits", waits, ENVIRONMENT, is_ready=is_ready))
    assert flag.exists()
    assert pids(supervisor)["waits"]


async def test_a_process_that_dies_comes_back(supervisor: Supervisor) -> None:
    """kill -9 of a child is mended without a person."""
    await supervisor.start(ProcessSpec("sleeper", script("import time; time.sleep(60)"), ENVIRONMENT))
    first = pids(supervisor)["sleeper"]
    assert first
    os.kill(first, signal.SIGKILL)
    await until(lambda: pids(supervisor)["sleeper"] not in (None, first))
    assert supervisor.processes[0].restarts == 1


async def test_a_process_that_is_held_stays_down_until_it_is_let_go(supervisor: Supervisor, tmp_path: Path) -> None:
    """The file decides, not how often the process died; nothing is killed by holding it."""
    hold = tmp_path / "hold"
    await supervisor.start(ProcessSpec("sleeper", script("import time; time.sleep(60)"), ENVIRONMENT, hold=hold))
    first = pids(supervisor)["sleeper"]
    assert first
    hold.touch()
    assert is_alive(first)
    os.kill(first, signal.SIGKILL)
    await until(lambda: pids(supervisor)["sleeper"] is None)
    await asyncio.sleep(0.6)  # three times the first back-off
    assert pids(supervisor)["sleeper"] is None
    hold.unlink()
    await until(lambda: pids(supervisor)["sleeper"] not in (None, first))
    assert supervisor.processes[0].restarts == 1


async def test_restarts_of_a_broken_process_back_off(supervisor: Supervisor, tmp_path: Path) -> None:
    """A process that dies at once is not started hundreds of times."""
    starts = tmp_path / "starts"
    breaks = script(f"open({str(starts)!r}, 'a').write('x')")
    await supervisor.start(ProcessSpec("breaks", breaks, ENVIRONMENT))
    await asyncio.sleep(1.5)
    assert 2 <= len(starts.read_text()) <= 5


async def test_a_process_that_ends_while_starting_is_reported_with_its_last_line(supervisor: Supervisor) -> None:
    """The reason is in the message, not only in a log somewhere."""

    async def never() -> bool:
        return False

    says = script("import sys; sys.exit('no such thing as a free port')")
    with pytest.raises(
        Unavailable, match=r"picky ended while starting: no such thing as a free port \(log: .*picky.log"
    ):
        await supervisor.start(ProcessSpec("picky", says, ENVIRONMENT, is_ready=never))


async def test_a_process_that_is_not_ready_in_time_is_reported(supervisor: Supervisor) -> None:
    """Start-up ends with a line, not with a hang."""

    async def never() -> bool:
        return False

    spec = ProcessSpec("slow", script("import time; time.sleep(60)"), ENVIRONMENT, is_ready=never, ready_seconds=0.3)
    with pytest.raises(Unavailable, match="slow was not ready after 0 s"):
        await supervisor.start(spec)


async def test_a_missing_program_is_named(supervisor: Supervisor) -> None:
    """A binary that is not there is one clear line."""
    with pytest.raises(Unavailable, match=r"cannot start /no/such/program: No such file"):
        await supervisor.start(ProcessSpec("missing", ("/no/such/program",), ENVIRONMENT))


async def test_stop_asks_in_reverse_order_and_kills_who_does_not_listen(tmp_path: Path) -> None:
    """Later stages end before those that they stand on; a deaf process ends too."""
    order = tmp_path / "order"
    listens = (
        "import signal, sys, time\n"
        "def bye(*_):\n    open({order!r}, 'a').write({name!r}); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, bye)\nopen({ready!r}, 'w')\ntime.sleep(60)"
    )
    deaf = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen({ready!r}, 'w')\ntime.sleep(60)"
    supervisor = Supervisor(tmp_path / "logs", lambda: None)
    for name, text in (("a", listens), ("b", listens), ("deaf", deaf)):
        ready = tmp_path / f"ready-{name}"

        async def is_ready(file: Path = ready) -> bool:
            return file.exists()

        argv = script(text.format(order=str(order), name=name, ready=str(ready)))
        await supervisor.start(ProcessSpec(name, argv, ENVIRONMENT, is_ready=is_ready, stop_seconds=1.0))
    found = [pid for pid in pids(supervisor).values() if pid]
    await supervisor.stop()
    assert order.read_text() == "ba"
    assert [pid for pid in found if is_alive(pid)] == []


async def test_what_a_process_started_goes_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    """Grandchildren in the same session do not outlive a stop."""
    note = tmp_path / "pid"
    forks = script(
        "import os, subprocess, time\n"
        f"child = subprocess.Popen(['sleep', '60']); open({str(note)!r}, 'w').write(str(child.pid)); time.sleep(60)"
    )
    await supervisor.start(ProcessSpec("forks", forks, ENVIRONMENT))
    await until(lambda: note.exists() and note.read_text() != "")
    grandchild = int(note.read_text())
    await supervisor.stop()
    await until(lambda: not is_alive(grandchild))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    """kill -9 of the supervisor takes its processes with it."""
    program = (
        "import asyncio, os, sys\nfrom pathlib import Path\nfrom atoll.local.supervisor import *\n"
        "async def main():\n"
        "    made = Supervisor(Path(sys.argv[1]), lambda: None)\n"
        "    await made.start(ProcessSpec('sleeper', ('sleep', '60'), dict(os.environ)))\n"
        "    print(made.processes[0].pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 5.0
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(child)
