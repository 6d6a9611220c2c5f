"""Bad input: refused with file, line, field and reason; nothing stored; one clear line, never a traceback."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from clitool import ATOLL, Cli, wait_ready, wait_until_gone

from atoll.cli import failure
from atoll.federation.errors import InvalidInput
from atoll.local.home import Home

JOB = """
apiVersion: atoll.dev/v1alpha1
kind: Job
metadata:
  name: {name}
  namespace: default
spec:
  queue: {queue}
  {extra}
  workload:
    spec:
      template:
        spec:
          containers: [{{name: main, image: busybox, command: [sh]}}]
"""
QUEUE = "apiVersion: atoll.dev/v1alpha1\nkind: Queue\nmetadata: {name: there}\nspec: {}\n"


def a_job(*, name: str = "bad", queue: str = "there", extra: str = "") -> str:
    return JOB.format(name=name, queue=queue, extra=extra)


REFUSED_HERE = {
    "an unknown field": (a_job(extra="cluster: here"), ":9: Job/bad spec.cluster: unknown field\n"),
    "a field's name with a slip": (
        a_job(extra="dependsOn: [{job: x, pertask: true}]"),
        ":9: Job/bad spec.dependsOn[0].pertask: unknown field: did you mean perTask?",
    ),
    "the beginning of a field's name": (
        a_job(extra="grace: 5s"),
        ":9: Job/bad spec.grace: unknown field: did you mean gracePeriod?",
    ),
    "a wrong type": (
        a_job(extra="priority: high"),
        ":9: Job/bad spec.priority: 'high': must be a whole number",
    ),
    "a bad quantity": (a_job(extra="gpu: {memory: 40 gigs}"), ":9: Job/bad spec.gpu.memory: '40 gigs': "),
    "a bad duration": (a_job(extra="timeLimit: soon"), ":9: Job/bad spec.timeLimit: 'soon': "),
    "a name that is none": (a_job(name="Bad_Name"), ":5: Job/Bad_Name metadata.name: 'Bad_Name': "),
    "no name": ("apiVersion: atoll.dev/v1alpha1\nkind: Queue\nspec: {}\n", "Queue/(no name) metadata"),
    "a kind that nobody knows": ("apiVersion: v2\nkind: Pod\n", ":1: the hub serves no kind v2 Pod"),
    "a kind that is misspelt": (
        "apiVersion: atoll.dev/v1alpha1\nkind: Jobb\n",
        ":1: the hub serves no kind atoll.dev/v1alpha1 Jobb: did you mean Job?",
    ),
    "a key given twice": (a_job(extra="queue: other"), ":9: spec.queue: is given twice"),
    "broken YAML": ("kind: [", "no valid YAML"),
    "no mapping": ("- just\n- a list\n", ":1: a manifest is a mapping"),
    "an empty file": ("# nothing\n", "no manifest found"),
    "a date as a name": (QUEUE.replace("there", "2026-11-22T00:00:00Z"), "metadata.name: '2026-11-22T00:00:00Z': "),
}
REFUSED_BY_THE_HUB = {
    "a missing queue": (a_job(queue="nowhere"), "spec.queue: queue 'nowhere' does not exist"),
    "a missing dataset": (
        a_job(extra="inputs: [{dataset: lost, mountPath: /data}]"),
        "spec.inputs[0].dataset: dataset 'lost' does not exist",
    ),
    "a missing cluster": (
        "apiVersion: atoll.dev/v1alpha1\nkind: Dataset\nmetadata: {name: bad, namespace: default}\n"
        "spec: {home: atlantis}\n",
        "spec.home: cluster 'atlantis' does not exist",
    ),
    "a name that is too long for its kind": (a_job(name="j" * 60), "a Job's name has at most 57 characters"),
}


@pytest.mark.parametrize("case", REFUSED_HERE.values(), ids=REFUSED_HERE.keys())
def test_a_bad_manifest_is_refused_before_it_is_sent(cli: Cli, tmp_path: Path, case: tuple[str, str]) -> None:
    """Without any hub: file, line, field and reason."""
    text, expected = case
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    done = cli("apply", "-f", str(file))
    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_problems_come_in_the_order_of_the_file(cli: Cli, tmp_path: Path) -> None:
    """Whatever order a kind's fields have."""
    file = tmp_path / "bad.yaml"
    file.write_text(a_job(name="Bad_Name", extra="timeLimit: soon\n  retries: -1\n  priority: high"))
    lines = [line for line in cli("apply", "-f", str(file)).stderr.splitlines() if "Job/Bad_Name" in line]
    assert [line.split()[2] for line in lines] == [
        "metadata.name:",
        "spec.timeLimit:",
        "spec.retries:",
        "spec.priority:",
    ]


@pytest.mark.parametrize("case", REFUSED_BY_THE_HUB.values(), ids=REFUSED_BY_THE_HUB.keys())
def test_the_hub_refuses_what_only_it_can_know(hub: Cli, tmp_path: Path, case: tuple[str, str]) -> None:
    """References to what does not exist are named with their field, and nothing is stored."""
    text, expected = case
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    hub.ok("apply", "-f", "-", stdin=QUEUE)
    done = hub("apply", "-f", str(file))
    assert done.returncode == 1
    assert expected in done.stderr
    assert f"{file}:" in done.stderr
    assert done.stdout == ""
    assert hub("get", "job", "bad").returncode == 1
    assert hub("get", "dataset", "bad").returncode == 1


def test_what_the_hub_refuses_does_not_keep_the_others_from_it(hub: Cli, tmp_path: Path) -> None:
    """Each refusal names file, line and object; what comes after it is applied all the same; exit 1 at the end."""
    bad = tmp_path / "a-bad.yaml"
    bad.write_text(a_job(name="lonely", queue="nowhere") + "---" + a_job(name="lost").replace(": default", ": nope"))
    (tmp_path / "b-good.yaml").write_text(QUEUE.replace("there", "applied-after"))
    hub.ok("apply", "-f", "-", stdin=QUEUE)
    done = hub("apply", "-f", str(tmp_path))
    assert done.returncode == 1
    assert f"error: {bad}:8: Job/lonely spec.queue: queue 'nowhere' does not exist" in done.stderr
    assert f'{bad}:16: Job/lost: namespaces "nope" not found: create it first\n' in done.stderr
    assert done.stderr.endswith("2 of 3 manifests not applied\n")
    assert done.stdout == "queue.atoll.dev/applied-after created\n"
    assert hub("get", "queue", "applied-after").returncode == 0


def test_nothing_is_sent_if_one_of_many_is_wrong(hub: Cli, tmp_path: Path) -> None:
    """A good manifest beside a bad one is not applied either."""
    (tmp_path / "a-good.yaml").write_text(QUEUE.replace("there", "innocent"))
    (tmp_path / "b-bad.yaml").write_text(QUEUE.replace("spec: {}", "spec: {wheight: 1}"))
    done = hub("apply", "-f", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: nothing was applied, because:")
    assert hub("get", "queue", "innocent").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("get", "nonsense"), "unknown kind 'nonsense'; the kinds are clusters, queues"),
        (("delete", "job"), "which job? Give its name"),
        (("get", "job", "x", "-A"), "a name needs a namespace"),
        (("get", "job", "x", "-l", "a=b"), "a name or a selector, not both"),
        (("job", "wait", "x", "--timeout", "soon"), "'soon' is no duration"),
        (
            ("job", "run", "--name", "x", "--queue", "q", "--input", "data", "--", "true"),
            "--input data: should be DATASET:/PATH",
        ),
        (
            ("job", "run", "--name", "x", "--queue", "q", "--gpu-model", "A100", "--", "true"),
            "say how many with --gpus",
        ),
        (("job", "run", "--name", "No_Name", "--queue", "q", "--", "true"), "metadata.name: 'No_Name'"),
        (("apply", "-f", "/no/such/file.yaml"), "/no/such/file.yaml: no such file or folder"),
        (("dataset", "ls", "lost"), 'datasets.atoll.dev "lost" not found'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistyped_command_is_one_clear_line(hub: Cli, arguments: tuple[str, ...], expected: str) -> None:
    """Exit 1, the reason, no traceback."""
    done = hub(*arguments)
    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("get",),
        ("fly",),
        ("job", "run"),
        ("up", "--port", "0"),
        ("get", "jobs", "-o", "xml"),
        ("job", "explain", "x", "-o", "wide"),
        ("sandbox", "status", "-o", "name"),
    ],
)
def test_wrong_usage_exits_2(cli: Cli, arguments: tuple[str, ...]) -> None:
    """Usage errors are told apart from others by their exit code."""
    done = cli(*arguments)
    assert done.returncode == 2
    assert "Usage: atoll" in done.stderr


def test_without_a_hub_every_command_says_how_to_get_one(cli: Cli) -> None:
    """No hub here: the line names the ways on, and where it looked if the environment said so."""
    done = cli("get", "jobs")
    assert done.returncode == 1
    remedy = "start one with 'atoll up' or 'atoll sandbox up', or name one with --server URL\n"
    assert done.stderr == f"error: no hub runs in {cli.root} ($ATOLL_HOME): {remedy}"
    cli.root.mkdir()
    done = Cli(cli.root, names_home=False)("get", "jobs")
    assert done.stderr == f"error: no hub runs on this machine: {remedy}"


@pytest.mark.parametrize("server", ["http://127.0.0.1:1", "http://no-such-host.invalid"])
def test_a_hub_that_cannot_be_reached_is_named(cli: Cli, server: str) -> None:
    """The address that was tried is in the line."""
    done = cli("get", "jobs", "--server", server)
    assert done.returncode == 1
    assert f"cannot reach {server}" in done.stderr


def test_a_server_that_is_no_address_is_told_what_one_looks_like(cli: Cli) -> None:
    """A host name without a scheme is not looked up."""
    done = cli("get", "jobs", "--server", "nonsense")
    assert done.returncode == 1
    assert done.stderr == "error: nonsense: a hub's address is such as https://127.0.0.1:8700\n"


def test_what_answers_but_is_no_hub_is_told_apart(cli: Cli) -> None:
    """Another program on that port is not blamed on the network."""
    program = (
        "import http.server\n"
        "class Page(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(b'<html>')\n"
        "    def log_message(self, *_): pass\n"
        "server = http.server.HTTPServer(('127.0.0.1', 0), Page)\n"
        "print(server.server_port, flush=True)\nserver.serve_forever()"
    )
    server = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        done = cli("get", "jobs", "--server", f"http://127.0.0.1:{int(server.stdout.readline())}")
    finally:
        server.kill()
        server.communicate()
    assert done.returncode == 1
    assert "answers, but is no Atoll hub" in done.stderr


def test_a_kustomization_is_for_kubectl(cli: Cli, tmp_path: Path) -> None:
    """Named as a file it is told whose it is; in a folder it is passed over, and the folder's manifests are read."""
    text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [queue.yaml]\n"
    (tmp_path / "kustomization.yaml").write_text(text)
    done = cli("apply", "-f", str(tmp_path / "kustomization.yaml"))
    assert "Kustomization: apply its folder with 'kubectl apply -k'" in done.stderr
    assert "no manifest found" in cli("apply", "-f", str(tmp_path)).stderr


def test_a_second_up_on_the_same_home_is_one_clear_line(hub: Cli) -> None:
    """It says who runs there, and the running one is not disturbed."""
    done = hub("up")
    assert done.returncode == 1
    assert f"already running in {hub.root} (process " in done.stderr
    assert "'atoll down'" in done.stderr
    assert hub("get", "queues").returncode == 0


def test_down_stops_what_up_runs(cli: Cli) -> None:
    """From another terminal; a second time there is nothing to stop, and that is said."""
    with cli.running("up") as process:
        wait_ready(Home(cli.root), process)
        assert cli("down").stderr == "stopped\n"
        assert process.wait(20) == 0
    assert wait_until_gone(cli.root) == []
    assert cli("down").stderr == "nothing runs there\n"


def test_a_port_in_use_is_one_clear_line(cli: Cli) -> None:
    """It names the port and what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = cli("up", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr == f"error: port {port} (hub) is in use by another program: choose another one\n"


def test_a_missing_nats_server_is_one_clear_line(cli: Cli, tmp_path: Path) -> None:
    """An interpreter without the wheel beside it, and nothing on PATH: it says what to install."""
    program = (
        "import sys, runpy\n"
        f"sys.executable = {str(tmp_path / 'bin' / 'python')!r}\n"
        "sys.argv = ['atoll', 'up']\n"
        "runpy.run_module('atoll.cli', run_name='__main__')"
    )
    environment = {**cli.environment, "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "nats-server is missing: pip install 'atoll[embedded]'" in done.stderr


def test_a_home_that_cannot_be_written_is_one_clear_line(cli: Cli, tmp_path: Path) -> None:
    """The folder and the reason are named."""
    (tmp_path / "home").write_text("a file where the folder should be")
    done = cli("up")
    assert done.returncode == 1
    assert f"the home folder {tmp_path / 'home'} cannot be used: it is no folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_one_clear_line(cli: Cli, tmp_path: Path) -> None:
    """It names the file and what to do, and nothing goes on running."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    try:
        (disk / "fill").write_bytes(b"x" * 4096)
        done = cli("up", "--home", str(disk / "home"))
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"error: cannot write {disk}")
        assert "No space left on device; free some space there" in done.stderr
        assert wait_until_gone(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_one_failure_inside_groups_of_tasks_is_told_as_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A process of several tasks fails with a group: a file that is missing is no bug of ours for that."""
    missing = InvalidInput("cannot use the CA of the hub, ca.crt: there is no such file")
    assert failure.report(ExceptionGroup("tasks", [ExceptionGroup("inner", [missing])])) == 1
    assert capsys.readouterr().err == f"error: {missing}\n"


def test_a_bug_ends_in_a_file_and_a_hint(cli: Cli, tmp_path: Path) -> None:
    """An unforeseen error shows no traceback; it is in a file that a report can carry."""
    program = (
        "import sys\nfrom atoll.cli import api, main\n"
        "def broken(*_arguments, **_more):\n    raise RuntimeError('never foreseen')\n"
        "api.Api.get = broken\n"
        "sys.argv = ['atoll', 'get', 'jobs', '--server', 'http://127.0.0.1:1']\nmain.run()"
    )
    environment = {**cli.environment, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: this is a bug in Atoll: RuntimeError: never foreseen\n")
    report = next(tmp_path.glob("atoll-bug-*.txt")).read_text()
    assert "Traceback" in report
    assert "Traceback" not in done.stderr


def test_every_command_has_help_with_an_example() -> None:
    """No command is left unexplained."""
    program = (
        "import json, sys\nimport typer.main\nfrom atoll.cli.main import app\n"
        "def walk(command, path):\n"
        "    below = getattr(command, 'commands', None)\n"
        "    if below is None:\n        yield ' '.join(path), command.help or ''\n"
        "    for name, child in (below or {}).items():\n        yield from walk(child, [*path, name])\n"
        "print(json.dumps(dict(walk(typer.main.get_command(app), []))))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    helps: dict[str, str] = json.loads(found.stdout)
    assert len(helps) > 30
    assert [command for command, text in helps.items() if "Example" not in text] == []


def test_help_starts_fast() -> None:
    """`atoll --help` imports nothing heavy: no HTTP client, no kinds, no server."""
    heavy = (
        "[name for name in ('httpx', 'pydantic', 'starlette', 'kubernetes', 'nats', 'numpy') if name in sys.modules]"
    )
    program = f"import sys\nfrom atoll.cli import main\nprint({heavy})"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
    assert subprocess.run([*ATOLL, "--help"], capture_output=True, check=True).stdout.startswith(b"Usage: atoll")
