"""`atoll job exec` and `job top`: a command in the pod of a job, carried by hub and agent, and what its pods use."""

import contextlib
import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clitool import ATOLL, Cli

from atoll.local.home import Home
from atoll.local.hub import context_of


@pytest.fixture(scope="module")
def job(cluster: Cli) -> Iterator[str]:
    """A job that runs until it is told to end."""
    words = "import os, time\nwhile not os.path.exists('end'): time.sleep(0.05)"
    cluster.ok("job", "run", "--name", "shell", "--queue", "batch", "--cpu", "100m", "--", "python3", "-c", words)
    end = time.monotonic() + 30
    while cluster("job", "exec", "shell", "--", "true").returncode:
        assert time.monotonic() < end, cluster("job", "exec", "shell", "--", "true").stderr
    yield "shell"
    cluster("job", "exec", "shell", "--", "touch", "end")  # the pod may end before `touch` has told that it has
    cluster.ok("job", "wait", "shell", "--timeout", "30s")
    ended = cluster("job", "exec", "shell", "--", "true")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "job 'shell' has ended (Succeeded): its pods run no commands any more" in ended.stderr


def test_outputs_and_the_exit_code_are_the_commands_own(cluster: Cli, job: str) -> None:
    done = cluster("job", "exec", job, "--", "sh", "-c", "echo seen; echo amiss >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("seen\n", "amiss\n", 7)


def test_what_comes_on_stdin_reaches_the_command_to_its_end(cluster: Cli, job: str) -> None:
    """More than fits into one frame, in both directions."""
    text = "".join(f"line {number}\n" for number in range(60_000))
    done = cluster("job", "exec", job, "-i", "--", "cat", stdin=text)
    assert done.stdout == text
    assert done.returncode == 0


def test_without_i_nothing_is_read(cluster: Cli, job: str) -> None:
    assert cluster("job", "exec", job, "--", "cat", stdin="ignored").stdout == ""


def test_a_terminal_is_one_there_too(cluster: Cli, job: str) -> None:
    """It has the size of the one here, and keys reach the command as they are pressed."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, True)
    command = [
        *ATOLL,
        "job",
        "exec",
        job,
        "-it",
        "--",
        "sh",
        "-c",
        "test -t 0 && stty size && read -r x && echo got=$x",
    ]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=cluster.environment) as process:
        os.close(theirs)
        seen = _read_until(ours, b"\n")
        os.write(ours, b"typed\r")
        seen += _read_until(ours, b"got=typed")
        assert process.wait(30) == 0, seen
    os.close(ours)


def _read_until(terminal: int, wanted: bytes) -> bytes:
    seen = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while wanted not in seen:
            seen += os.read(terminal, 1000)
    assert wanted in seen, seen
    return seen


def test_what_cannot_be_run_is_said(cluster: Cli, job: str) -> None:
    def said(*arguments: str) -> str:
        done = cluster("job", "exec", *arguments)
        assert done.returncode == 1
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "no-such-program" in said(job, "--", "no-such-program")
    assert "has no pod elsewhere; its pods: shell-1-" in said(job, "--pod", "elsewhere", "--", "true")
    assert "has no container sidecar; it has " in said(job, "-c", "sidecar", "--", "true")
    assert 'jobs.atoll.dev "nobody" not found' in said("nobody", "--", "true")
    cluster.ok("job", "run", "--name", "waits", "--queue", "batch", "--gpus", "900", "--", "true")
    assert "job 'waits' has no run yet" in said("waits", "--", "true")
    cluster.ok("job", "cancel", "waits")


def test_what_stopped_attempts_printed_can_be_read_when_their_pods_are_gone(cluster: Cli) -> None:
    """Requeued, then cancelled: each attempt by its number, the newest by itself; what never was is named."""
    words = "trap 'echo ends; exit 0' TERM; echo begins; while :; do sleep 0.05; done"
    cluster.ok("job", "run", "--name", "talks", "--queue", "batch", "--", "sh", "-c", words)

    def await_log(*which: str, text: str = "begins\n") -> None:
        end = time.monotonic() + 30
        while not (done := cluster("job", "logs", "talks", *which)).stdout.endswith(text):
            assert time.monotonic() < end, (done.stdout, done.stderr)
            time.sleep(0.1)

    await_log("--attempt", "1")
    cluster.ok("job", "requeue", "talks")
    await_log("--attempt", "2")
    cluster.ok("job", "cancel", "talks")
    assert cluster("job", "wait", "talks", "--timeout", "30s").returncode == 3
    await_log(text="ends\n")
    assert cluster.ok("job", "logs", "talks", "--attempt", "1").startswith("begins\n")
    assert cluster.ok("job", "logs", "talks", "--attempt", "1", "--tail", "1") == "ends\n"
    unknown = cluster("job", "logs", "talks", "--attempt", "3").stderr
    assert "job 'talks' has no attempt 3; it has 1 (Requeued), 2 (Cancelled)" in unknown


def test_who_may_only_read_runs_no_commands(cluster: Cli, job: str, tmp_path: Path) -> None:
    text = cluster.ok("token", "issue", "reader", "--role", "Viewer")
    server, ca = context_of(Home(cluster.root)).server, str(cluster.root / "pki" / "ca.crt")
    known = {"ATOLL_SERVER": server, "ATOLL_CA": ca, "ATOLL_TOKEN": text.strip()}
    reader = Cli(tmp_path, names_home=False, more=known)
    refused = reader("job", "exec", job, "--", "true")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "granted is only Viewer" in refused.stderr
    assert reader("job", "top", job).returncode == 0


def test_top_shows_what_a_pod_uses_of_what_it_asked_for(cluster: Cli, job: str) -> None:
    record = json.loads(cluster.ok("job", "top", job, "-o", "json"))[0]
    (pod,) = record["pods"]
    assert record["message"] == ""
    assert pod["pod"].startswith("shell-1-")
    assert (pod["requestedMillicores"], pod["requestedMemoryBytes"]) == (100, 128 * 2**20)
    assert pod["usedMemoryBytes"] > 2**20, "an interpreter takes more than that"
    table = cluster.ok("job", "top", "-A")
    assert table.split()[:9] == ["NAMESPACE", "JOB", "POD", "CLUSTER", "NODE", "CPU", "MEMORY", "GPUS", "AGE"]
    assert "/100m" in table
    assert "/128Mi" in table


def test_top_of_nothing_says_so(cluster: Cli) -> None:
    done = cluster("job", "top", "-n", "kube-nothing")
    missing = ": there is no namespace kube-nothing; atoll get namespaces shows those there are"
    assert (done.stdout, done.stderr, done.returncode) == ("", f"no job runs{missing}\n", 0)
