"""`kubectl exec` in the pods of a simulated cluster, by the real kubectl: what goes in, what comes out, how it ends."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from atoll.kubeapi.http.channels import PROTOCOLS
from sandbox.worlds import Json, Kubectl, Sandbox, eventually, python

BUSY = ["sleep", "600"]


def pod(name: str = "p", command: list[str] = BUSY, **spec: object) -> Json:
    container = {"name": "c", "image": "x", "command": command, "env": [{"name": "LAB", "value": "north"}]}
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}


def until(kubectl: Kubectl, phase: str, name: str = "p") -> None:
    eventually(lambda: kubectl.status("pod", name).get("phase") == phase, what=f"pod {name} {phase}")


@pytest.fixture
def busy(site: Kubectl) -> Kubectl:
    """A kubectl in a namespace with a running pod `p`."""
    site.apply(pod())
    until(site, "Running")
    return site


@contextmanager
def following(kubectl: Kubectl, *args: str) -> Iterator["subprocess.Popen[str]"]:
    """A kubectl exec that goes on, with its output to read."""
    command = kubectl.command("exec", "p", "--", *args)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=kubectl.environment) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_command_prints_on_both_outputs_and_its_exit_code_is_kubectls(busy: Kubectl) -> None:
    """It runs in the container's environment, and what it printed is told apart."""
    done = busy.run("exec", "p", "--", "sh", "-c", "echo $LAB $HOSTNAME; echo broken >&2; exit 7", check=False)
    assert (done.returncode, done.stdout) == (7, "north p\n")
    assert done.stderr == "broken\ncommand terminated with exit code 7\n"
    assert busy("exec", "p", "--", "true") == ""


def test_what_is_typed_reaches_the_command_with_its_end(busy: Kubectl) -> None:
    """More than any buffer holds goes through both ways; the command ends because its input did (v5's close)."""
    text = "sample\n" * 600_000
    assert busy.run("exec", "-i", "p", "--", "cat", stdin=text).stdout == text
    assert busy.run("exec", "-i", "p", "--", "head", "-c", "6", stdin=text).stdout == "sample"


def test_a_command_sees_the_mounts_and_the_files_of_its_container(site: Kubectl, tmp_path: Path) -> None:
    """A volume is the same beside the container, at the same path and working directory; `kubectl cp` goes by that."""
    manifest = pod(command=["sh", "-c", "echo seen > note && sleep 600"], volumes=[{"name": "v", "emptyDir": {}}])
    mounts = [{"name": "v", "mountPath": "/scratch"}]
    manifest["spec"]["containers"][0] |= {"volumeMounts": mounts, "workingDir": "/scratch"}
    site.apply(manifest)
    until(site, "Running")
    eventually(lambda: site.run("exec", "p", "--", "cat", "note", check=False).stdout == "seen\n", what="the note")
    assert site("exec", "p", "--", "cat", "/scratch/note") == "seen\n"
    (tmp_path / "sent").write_text("sample\n" * 100_000)
    site("cp", str(tmp_path / "sent"), "p:/scratch/sent")
    site("cp", "p:/scratch/sent", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == (tmp_path / "sent").read_text()


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "a pod that is not there": (("q", "--", "true"), 'pods "q" not found'),
    "a container that is not there": (("p", "-c", "d", "--", "true"), "container d is not valid for pod p"),
    "a program that is not there": (("p", "--", "unheard-of"), "executable file not found in $PATH"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_kubectl_says_what_is_wrong_with(busy: Kubectl, what: str) -> None:
    """Exit 1 and the server's own words, though kubectl asks a second time by SPDY where a WebSocket was refused."""
    arguments, words = REFUSED[what]
    done = busy.run("exec", *arguments, check=False)
    assert done.returncode == 1
    assert words in done.stderr


def test_containers_that_do_not_run_take_no_commands(site: Kubectl) -> None:
    """One that waits for its configuration is named with that; a pod that has ended says so."""
    waiting = pod("waiting")
    waiting["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "missing"}}]
    site.apply(waiting, pod("over", ["true"], restartPolicy="Never"))
    until(site, "Succeeded", "over")
    eventually(lambda: "CreateContainerConfigError" in json.dumps(site.status("pod", "waiting")), what="the wait")
    assert "is not running: it is waiting" in site.run("exec", "waiting", "--", "true", check=False).stderr
    assert "completed pod" in site.run("exec", "over", "--", "true", check=False).stderr


def test_a_command_ends_with_its_container(busy: Kubectl) -> None:
    """The pod is deleted in the middle: the command is killed, and says so."""
    with following(busy, "sh", "-c", "echo begun; sleep 600") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "begun\n"
        busy("delete", "pod", "p", "--grace-period=0", "--force", "--wait=false")
        assert process.wait(20) == 137
        assert "exit code 137" in process.stderr.read()


def test_a_command_ends_when_its_client_is_gone(busy: Kubectl) -> None:
    """kubectl is killed: neither the command nor what it started goes on, and the container does."""
    with following(
        busy,
        *python(
            "import os, subprocess, time\nprint(os.getpid(), "
            "subprocess.Popen(['sleep', '600']).pid, flush=True)\ntime.sleep(600)"
        ),
    ) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert all(map(is_alive, pids))
        process.send_signal(signal.SIGKILL)
        eventually(lambda: not any(map(is_alive, pids)), what="the end of the command")
    assert busy.status("pod", "p")["phase"] == "Running"


def test_a_client_that_goes_away_is_noticed_though_the_command_reads_nothing(busy: Kubectl, tmp_path: Path) -> None:
    """What was typed waits in a buffer: its end does not wait for it."""
    typed = tmp_path / "typed"
    typed.write_bytes(b"x" * 500_000)
    with typed.open("rb") as source:
        command = busy.command("exec", "-i", "p", "--", "sh", "-c", "echo $$; exec sleep 600")
        with subprocess.Popen(
            command, stdin=source, stdout=subprocess.PIPE, text=True, env=busy.environment
        ) as process:
            assert process.stdout is not None
            pid = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            eventually(lambda: not is_alive(pid), what="the end of the command")


def test_many_commands_at_once_keep_their_own_output(busy: Kubectl) -> None:
    """Each of eight gets what it printed and nothing else."""

    def ask(number: int) -> str:
        return busy("exec", "p", "--", "sh", "-c", f"for i in 1 2 3; do echo {number}; done")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [f"{number}\n" * 3 for number in range(8)]


def test_a_terminal_is_one_with_a_size_and_its_keys_work(busy: Kubectl) -> None:
    """`kubectl exec -it`: the command has a terminal as large as ours, and Ctrl-C interrupts what runs in it."""
    ours, theirs = pty.openpty()
    subprocess.run(["stty", "cols", "132", "rows", "43"], stdin=theirs, check=True)
    sized = "until stty size | grep -q '43 132'; do sleep 0.05; done"  # it comes a moment after the command has begun
    script = f"{sized}; trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.1; done"
    command = busy.command("exec", "-it", "p", "--", "sh", "-c", script)
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=busy.environment,
                               start_new_session=True)  # fmt: skip
    os.close(theirs)
    try:
        seen = b""
        while b"ready" not in seen:
            seen += os.read(ours, 4096)
        os.write(ours, b"\x03")
        while b"interrupted" not in seen:
            seen += os.read(ours, 4096)
        assert process.wait(20) == 5
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_ciliums_pods_answer_as_its_sockets_do(sandbox: Sandbox) -> None:
    """`cilium status` on each node, from the same simulation; anything else is not there."""
    kubectl = sandbox.kubectl("onprem-gpu", "kube-system")
    socket = sandbox.cilium("onprem-gpu", "/healthz").json()
    for index, node in enumerate(("gpu-a", "gpu-b")):
        told = json.loads(kubectl("exec", f"cilium-{index}", "--", "cilium", "status", "-o", "json"))
        assert told["cluster"]["self"] == f"onprem-gpu/{node}"
        assert told["cluster-mesh"] == socket["cluster-mesh"]
    probes = json.loads(kubectl("exec", "cilium-1", "--", "cilium-health", "status", "-o", "json"))
    assert (probes["local"]["name"], len(probes["nodes"])) == ("onprem-gpu/gpu-b", 9)
    done = kubectl.run("exec", "cilium-0", "--", "ls", check=False)
    assert (done.returncode, "no such command" in done.stderr) == (127, True)


async def test_no_web_page_gets_into_a_pod(busy: Kubectl, workshop: Sandbox) -> None:
    """Pods are processes of whoever runs the sandbox: not by a name that leads here, and not by a WebSocket."""
    server = workshop.state.cluster("onprem-gpu").server
    address = f"{server}/api/v1/namespaces/{busy.namespace}/pods/p/exec?command=true&stdout=true"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{server}/api/v1/pods", headers={"host": "evil.example"}) as answer:
            assert answer.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(address, protocols=PROTOCOLS, origin="https://evil.example")
        assert refused.value.status == 403
        async with session.ws_connect(address, protocols=PROTOCOLS, origin=server) as socket:
            assert socket.protocol in PROTOCOLS
