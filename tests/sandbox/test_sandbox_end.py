"""However a sandbox ends, nothing that it started is left."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from atoll.sandbox.settings import SandboxSettings
from atoll.sandbox.spec import LAB_K3S
from sandbox.worlds import Job, Sandbox, claim, eventually, python, running_sandbox

# A container whose process starts a child in a session of its own, deaf to SIGTERM, as a daemon would.
DAEMON = python(
    "import os, subprocess, sys, time\n"
    "code = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)'\n"
    "child = subprocess.Popen([sys.executable, '-c', code], start_new_session=True)\n"
    "print(os.getpid(), child.pid, os.getppid())\n"
    "time.sleep(300)\n"
)


SIMPLE = python("import os, time\nprint(os.getpid(), os.getppid())\ntime.sleep(300)")


def _pids(sandbox: Sandbox, job: str, command: list[str] = DAEMON) -> list[int]:
    kubectl = sandbox.kubectl("lab-k3s")
    kubectl.apply(Job(job, command, pod={"terminationGracePeriodSeconds": 1}).manifest())

    def said() -> list[int]:
        done = kubectl.run("logs", f"job/{job}", check=False)
        return [int(word) for word in done.stdout.split()] if done.returncode == 0 else []

    pids: list[int] = eventually(said, what="the pids in the log")
    assert all(_is_alive(pid) for pid in pids)
    return pids


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def settings(tmp_path: Path) -> SandboxSettings:
    return SandboxSettings(tmp_path / "sb", (LAB_K3S,))


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_of_a_pod_outlives_its_sandbox(settings: SandboxSettings, number: signal.Signals) -> None:
    """SIGTERM and SIGKILL of the sandbox both end launcher, container and the daemon that it started."""
    with running_sandbox(settings) as sandbox:
        pids = _pids(sandbox, "daemon")
        os.kill(sandbox.process.pid, number)
        sandbox.process.wait(timeout=20)
        eventually(lambda: not any(_is_alive(pid) for pid in pids), what="the end of all processes")


@pytest.mark.faults
def test_a_container_dies_with_its_launcher(settings: SandboxSettings) -> None:
    """If the launcher itself is killed, the container's process dies and the pod is seen to have ended."""
    with running_sandbox(settings) as sandbox:
        container, launcher = _pids(sandbox, "orphan", SIMPLE)
        os.kill(launcher, signal.SIGKILL)
        eventually(lambda: not _is_alive(container), what="the end of the container")
        kubectl = sandbox.kubectl("lab-k3s")
        eventually(lambda: kubectl.status("job", "orphan").get("failed") == 1, what="the failure of the job")


def test_a_deleted_pod_leaves_no_process(settings: SandboxSettings) -> None:
    """Deleting a job ends its container and the daemon that it started, after the grace period."""
    with running_sandbox(settings) as sandbox:
        pids = _pids(sandbox, "gone")
        kubectl = sandbox.kubectl("lab-k3s")
        kubectl("delete", "job", "gone")
        eventually(lambda: not any(_is_alive(pid) for pid in pids), what="the end of all processes")
        eventually(lambda: not kubectl.pods(), what="the end of the pod")


def test_a_namespace_takes_its_content_along(settings: SandboxSettings) -> None:
    """Deleting a namespace ends its processes and removes its pods, claims, volumes and folders."""
    with running_sandbox(settings) as sandbox:
        kubectl = sandbox.fresh("lab-k3s")
        mounts = [{"name": "v", "mountPath": "/v"}]
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
        pod = {"volumes": volumes, "terminationGracePeriodSeconds": 1}
        kubectl.apply(claim(), Job("user", DAEMON, container={"volumeMounts": mounts}, pod=pod).manifest())
        pids = eventually(lambda: _said(kubectl), what="the pids in the log")
        folder = sandbox.storage("lab-k3s") / kubectl.namespace
        assert folder.exists()
        kubectl("delete", "namespace", kubectl.namespace, "--timeout=20s")
        assert not any(_is_alive(pid) for pid in pids)
        eventually(lambda: not (folder / "data").exists(), what="the removal of the folder")
        assert kubectl.objects("persistentvolumes") == []
        refused = kubectl.run("apply", "--server-side", "-f", "-", stdin=_CONFIG_MAP, check=False)
        assert f'namespaces "{kubectl.namespace}" not found' in refused.stderr


def _said(kubectl: Any) -> list[int]:
    done = kubectl.run("logs", "job/user", check=False)
    return [int(word) for word in done.stdout.split()] if done.returncode == 0 else []


_CONFIG_MAP = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}}'


def test_the_state_file_goes_with_the_sandbox(settings: SandboxSettings) -> None:
    """clusters.json is there while the sandbox is ready and not after its end, and neither are pods' folders."""
    with running_sandbox(settings) as sandbox:
        assert (sandbox.home / "clusters.json").exists()
        assert Path(sandbox.state.cluster("lab-k3s").kubeconfig).exists()
    assert not (settings.home / "clusters.json").exists()
    assert not (settings.home / "lab-k3s" / "pods").exists()
