"""This machine: what Atoll needs of it, and what it uses if it is there. Looks, and changes nothing."""

import platform
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from atoll import __version__
from atoll.cli.checkup.findings import Finding, note, ok, problem, warning
from atoll.cli.output import bytes_shown
from atoll.federation.errors import AtollError
from atoll.local import nats
from atoll.local.ports import LOOPBACK

_PYTHON = (3, 11)
# Below the first a nats-server and a hub cannot run; below the second a thousand agents on one machine cannot.
_FEW_FILES, _FILES = 1024, 8192
_LOW_BYTES, _LEAST_BYTES = 10_000_000_000, 1_000_000_000
_TOOL_SECONDS = 5.0
# What is only needed for some things, and for which.
_TOOLS = {
    "kubectl": (("version", "--client"), "to use the hub as a Kubernetes API"),
    "git": (("--version",), "for policies, which are read from Git"),
    "mosquitto": (("-h",), "only to try a lab's broker on this machine"),
}


def examine(home: Path) -> Iterator[Finding]:
    """Look at the machine; `home` is where Atoll keeps things on it."""
    yield _python()
    yield _nats()
    yield from (_tool(name, *about) for name, about in _TOOLS.items())
    yield disk(home)
    yield open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield _loopback()


def _python() -> Finding:
    shown = f"Python {platform.python_version()}, atoll {__version__}, {platform.system()} {platform.machine()}"
    if sys.version_info < _PYTHON:
        return problem("machine/python", shown, "install Python 3.11 or newer")
    return ok("machine/python", shown)


def _nats() -> Finding:
    try:
        binary = nats.find_server()
    except AtollError as error:
        message, _, remedy = str(error).partition(": ")
        return warning("machine/nats-server", f"{message}; 'atoll up' and the sandbox need it", remedy)
    return ok("machine/nats-server", str(binary))


def _tool(name: str, arguments: tuple[str, ...], why: str) -> Finding:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        return note(f"machine/{name}", f"not installed; it is needed {why}")
    try:
        done = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return warning(f"machine/{name}", f"{found} does not run: {error}", "install it anew")
    first = next(iter(done.stdout.splitlines()), "").strip()
    return ok(f"machine/{name}", f"{first} ({found})" if first else found)


def disk(home: Path) -> Finding:
    """Look at the room where the home is, or would be."""
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    shown = f"{bytes_shown(free)} free at {place}"
    remedy = "free some space, or choose another folder with --home"
    if free < _LEAST_BYTES:
        return problem("machine/disk", shown, remedy)
    return warning("machine/disk", shown, remedy) if free < _LOW_BYTES else ok("machine/disk", shown)


def open_files(limit: int) -> Finding:
    """Judge how many files a process may have open. Pure."""
    shown = "no limit" if limit == resource.RLIM_INFINITY else f"{limit} files may be open in a process"
    if limit == resource.RLIM_INFINITY or limit >= _FILES:
        return ok("machine/open-files", shown)
    remedy = "ulimit -n 65536 before 'atoll up' (LimitNOFILE= of a systemd unit)"
    if limit < _FEW_FILES:
        return problem("machine/open-files", shown, remedy)
    return warning("machine/open-files", f"{shown}: too few for some hundred agents and watchers", remedy)


def _loopback() -> Finding:
    try:
        with socket.create_server((LOOPBACK, 0)) as server, socket.create_connection(server.getsockname(), 2.0):
            return ok("machine/loopback", f"{LOOPBACK} takes connections")
    except OSError as error:
        remedy = "bring the loopback interface up (ip link set lo up), and look at local firewalls"
        return problem("machine/loopback", f"no connection over {LOOPBACK}: {error}", remedy)
