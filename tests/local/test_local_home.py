"""The home folder: one supervisor at a time, ports that stay, a state that is never half-written."""

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atoll.federation.errors import Conflict, Unavailable
from atoll.local.detach import running_state
from atoll.local.home import Home, running_homes, write_atomically
from atoll.local.ports import assign, is_free
from atoll.local.state import State

HOLDER = """
import sys, time
from pathlib import Path
from atoll.local.home import Home
with Home(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def a_state(**changes: object) -> State:
    return State(kind="hub", pid=os.getpid(), started_at=datetime.now(UTC)).model_copy(update=changes)


def test_a_second_holder_is_told_who_holds_the_home_and_how_to_stop_it(tmp_path: Path) -> None:
    """A second `up` on the same home is one clear line, not a broken federation."""
    home = Home(tmp_path / "home")
    with home.locked():
        home.write_state(a_state(kind="sandbox", pid=4711))
        with pytest.raises(
            Conflict, match=r"already running in .*/home \(process 4711\): .*'atoll sandbox down'.*--home"
        ):
            with home.locked():
                pass


def test_a_killed_holder_lets_go_of_the_home(tmp_path: Path) -> None:
    """kill -9 leaves no lock that a person would have to remove."""
    home = Home(tmp_path)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert home.is_running()
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert not home.is_running()
    with home.locked():
        assert home.is_running()


def test_the_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """What the supervisor writes is what other commands read."""
    home = Home(tmp_path)
    state = a_state(phase="Ready", hub_url="http://127.0.0.1:1", steps=("one", "two"))
    home.write_state(state)
    assert home.read_state() == state


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"kind": "hub"}'])
def test_a_state_that_cannot_be_read_counts_as_none(tmp_path: Path, content: bytes) -> None:
    """A truncated or foreign file does not break the commands."""
    home = Home(tmp_path)
    home.state_file.write_bytes(content)
    assert home.read_state() is None


def test_running_homes_are_found_below_the_default_home(tmp_path: Path) -> None:
    """The hub's own home, the sandbox's and a kept demo's are found, and only while they run."""
    sandbox = Home(tmp_path / "sandbox")
    Home(tmp_path / "demo").folder("logs")
    assert running_homes(tmp_path) == []
    with sandbox.locked():
        assert running_homes(tmp_path) == [sandbox]


def test_two_running_homes_must_be_chosen_from(tmp_path: Path) -> None:
    """Nobody guesses which hub was meant."""
    homes = [Home(tmp_path / name) for name in ("one", "two")]
    for home in homes:
        home.folder("logs")
        home.write_state(a_state())
    with pytest.raises(Conflict, match=r"more than one hub .* choose one with --home, --context or --server"):
        running_state(homes, what="hub")
    with pytest.raises(Unavailable, match="no hub runs"):
        running_state([], what="hub")


def test_ports_stay_over_restarts(tmp_path: Path) -> None:
    """What was told a port finds it again."""
    file = tmp_path / "ports.json"
    first = assign(file, ("nats", "hub"))
    assert assign(file, ("hub", "nats")) == first
    assert len(set(first.values())) == 2


def test_a_port_in_use_is_named_with_what_to_do(tmp_path: Path) -> None:
    """A port that another program took is one clear line."""
    file = tmp_path / "ports.json"
    ports = assign(file, ("hub",))
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports["hub"]))
        other.listen()
        assert not is_free(ports["hub"])
        with pytest.raises(Conflict, match=rf"port {ports['hub']} \(hub\) is in use .*delete .*ports.json"):
            assign(file, ("hub",))
        with pytest.raises(Conflict, match="choose another one"):
            assign(tmp_path / "others.json", ("hub",), wanted={"hub": ports["hub"]})


def test_a_write_that_fails_names_the_file_and_the_reason(tmp_path: Path) -> None:
    """A full or missing disk is reported as such."""
    with pytest.raises(Unavailable, match=r"cannot write .*state.json: No such file or directory"):
        write_atomically(tmp_path / "missing" / "state.json", b"{}")


def test_readers_never_see_half_a_state(tmp_path: Path) -> None:
    """While a writer replaces the state as fast as it can, every read is whole."""
    home = Home(tmp_path)
    home.write_state(a_state())
    script = (
        "import sys\nfrom pathlib import Path\nfrom atoll.local.home import Home\nhome = Home(Path(sys.argv[1]))\n"
        "state = home.read_state()\n"
        "while True:\n    home.write_state(state.model_copy(update={'steps': ('step',) * 2000}))\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    try:
        deadline = time.monotonic() + 2.0
        reads = [home.read_state() for _ in iter(lambda: time.monotonic() < deadline, False)]
    finally:
        writer.kill()
        writer.wait()
    assert len(reads) > 20
    assert None not in reads
