"""The CLI as tests use it: the real program in a process of its own, with the environment of one home."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from warmcli import warm_cli

from atoll.local.home import Home

ATOLL = (sys.executable, "-m", "atoll.cli")


@dataclass(frozen=True)
class Cli:
    """The program with the environment of one home.

    `temporary` is where it makes temporary folders. With `names_home` off it is a person's environment who set nothing:
    the home is found below $HOME, and the hub by the kubeconfig. `more` are further variables.
    """

    root: Path
    temporary: Path | None = None
    names_home: bool = True
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ATOLL_")}
        temporary = {"TMPDIR": str(self.temporary)} if self.temporary else {}
        home = {"ATOLL_HOME": str(self.root)} if self.names_home else {"HOME": str(self.root)}
        return {**kept, **temporary, **home, "KUBECONFIG": str(self.kubeconfig), "COLUMNS": "120", **self.more}

    @property
    def kubeconfig(self) -> Path:
        """The user's kubeconfig of this environment; it need not be there."""
        return self.root.with_name(f"{self.root.name}.kubeconfig")

    def __call__(self, *arguments: str, stdin: str = "", seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return warm_cli().run(arguments, stdin=stdin, environment=self.environment, seconds=seconds)

    def ok(self, *arguments: str, stdin: str = "") -> str:
        """Run a command that must succeed; give its stdout."""
        done = self(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command that goes on; it is killed at the end of the context if it still runs."""
        output = subprocess.PIPE
        command = [*ATOLL, *arguments]
        process = subprocess.Popen(command, stdout=output, stderr=output, text=True, env=self.environment)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def processes_of(folder: Path | str) -> list[str]:
    """Find every process that names a folder (or any other words) in its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in command:
                found.append(f"{entry.name} {command}")
    return found


def descendants_of(pid: int) -> dict[int, str]:
    """Find the processes below one, with their command lines: a pod's process names no folder of its federation."""
    parents: dict[int, int] = {}
    commands: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                commands[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {child: commands[child] for child in found - {pid}}


def wait_until_gone(folder: Path | str, seconds: float = 15.0) -> list[str]:
    """Wait until no process names a folder; give those that still do."""
    deadline = time.monotonic() + seconds
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def wait_ready(home: Home, process: subprocess.Popen[str], seconds: float = 60.0) -> None:
    """Wait until a stack is ready."""
    deadline = time.monotonic() + seconds
    while (state := home.read_state()) is None or state.phase != "Ready":
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "not ready in time"
        time.sleep(0.05)


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Read a process's stderr up to the line that holds some text."""
    assert process.stderr is not None
    read = []
    while text not in (line := process.stderr.readline()):
        read.append(line)
        assert line, "".join(read)


def kubectl(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the kubectl of the wheel; the test is skipped if it is not there."""
    program = shutil.which("kubectl", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("needs the kubectl wheel")
    return subprocess.run([program, *arguments], capture_output=True, text=True, env=dict(environment), check=False)
