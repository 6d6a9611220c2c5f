"""A real control plane for tests: etcd and kube-apiserver from KUBEBUILDER_ASSETS, alone, without any controller.

A pytest plugin: it offers the fixture `real_server` to every room. Where the binaries are missing it skips and says so.
The flags that a kube-apiserver needs to run like this are those that controller-runtime's envtest found.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

ASSETS = Path(os.environ.get("KUBEBUILDER_ASSETS", "/usr/local/kubebuilder/bin"))
BINARIES = ("etcd", "kube-apiserver")
TOKEN = "secret"
# envtest allows 20 s; a busy machine with two cores needs more.
START_SECONDS = 45.0
# ServiceAccount wants an account in each namespace and TaintNodesByCondition a controller that takes its taint off
# again: the controller manager would do both, and there is none here.
_DISABLED = "ServiceAccount,TaintNodesByCondition"


@dataclass(frozen=True)
class RealServer:
    """A running kube-apiserver whose one user may do everything."""

    port: int
    kubeconfig: Path

    @property
    def url(self) -> str:
        return url_of(self.port)


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """Run etcd and kube-apiserver for the session, killed at its end."""
    if reason := why_missing():
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("kube")) as server:
        yield server


def why_missing() -> str:
    """Say what this machine lacks to run a real API server; empty if nothing."""
    if missing := [name for name in BINARIES if not (ASSETS / name).exists()]:
        return f"{' and '.join(missing)} not in {ASSETS}: set KUBEBUILDER_ASSETS to run on a real API server"
    return "" if shutil.which("openssl") else "openssl, which makes the service-account key, is not on PATH"


@contextlib.contextmanager
def running(home: Path, *, is_durable: bool = False) -> Iterator[RealServer]:
    """Run a control plane whose files are in `home` for the time of a block; tests need none that is durable."""
    client, peer, api = (_free_port() for _ in range(3))
    (home / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
    subprocess.run(["openssl", "genrsa", "-out", home / "sa.key", "2048"], check=True, capture_output=True)
    unsafe = [] if is_durable else ["--unsafe-no-fsync"]
    etcd_command = [ASSETS / "etcd", *unsafe, *_etcd_flags(home, client, peer)]
    api_command = [ASSETS / "kube-apiserver", *_api_flags(home, api, client)]
    with contextlib.ExitStack() as stack:
        _start(stack, etcd_command, home / "etcd.log", ready=f"http://127.0.0.1:{client}/health")
        _start(stack, api_command, home / "kube-apiserver.log", ready=f"{url_of(api)}/readyz")
        kubeconfig = home / "kubeconfig"
        write_kubeconfig(kubeconfig, url_of(api))
        yield RealServer(api, kubeconfig)


def _etcd_flags(home: Path, client: int, peer: int) -> list[str]:
    client_url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return [
        f"--data-dir={home / 'etcd'}",
        f"--listen-client-urls={client_url}",
        f"--advertise-client-urls={client_url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=default={peer_url}",
    ]


def _api_flags(home: Path, port: int, etcd: int) -> list[str]:
    # Without an address to advertise it looks for one on the default route, and ends where there is none; as the
    # endpoint of its own Service a loopback address would be refused, so it makes none.
    serving = ["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"]
    key = home / "sa.key"
    accounts = [f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}"]
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--secure-port={port}",
        *serving,
        f"--cert-dir={home / 'certs'}",  # it signs a certificate for itself there
        f"--token-auth-file={home / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        f"--service-account-issuer={url_of(port)}",
        *accounts,
        "--service-cluster-ip-range=10.0.0.0/24",
        "--allow-privileged=true",
        f"--disable-admission-plugins={_DISABLED}",
    ]


def _start(stack: contextlib.ExitStack, command: list[Path | str], log: Path, *, ready: str) -> None:
    """Start a process and wait until it says that it is ready; it is killed when the stack closes."""
    output = stack.enter_context(log.open("wb"))
    process = stack.enter_context(subprocess.Popen(command, stdout=output, stderr=output))
    stack.callback(process.kill)
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(ready):
        assert process.poll() is None, f"{command[0]} has ended: {_tail(log)}"
        assert time.monotonic() < deadline, f"{command[0]} is not ready after {START_SECONDS:g} s: {_tail(log)}"
        time.sleep(0.1)


def _is_ready(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        answer = httpx.get(url, headers={"Authorization": f"Bearer {TOKEN}"}, verify=False, timeout=2)
        return answer.status_code == 200
    return False


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def url_of(port: int) -> str:
    """Give the address of an API server on this machine."""
    return f"https://127.0.0.1:{port}"


def write_kubeconfig(path: Path, url: str) -> None:
    """Write how the one user reaches a server at a URL."""
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "real",
        "clusters": [{"name": "real", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "real", "context": {"cluster": "real", "user": "admin"}}],
    }
    path.write_text(yaml.safe_dump(content))
