"""Loopback ports: picked once for a home, then kept, so that what was told a port finds it again after a restart."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from atoll.federation.errors import Conflict
from atoll.local.home import write_atomically

LOOPBACK = "127.0.0.1"


def assign(path: Path, names: Sequence[str], *, wanted: Mapping[str, int] | None = None) -> dict[str, int]:
    """Give each name its port: the one asked for, else the one of last time, else a free one; then write them down.

    Raises:
        Conflict: a port is in use by another program.
    """
    known = orjson.loads(path.read_bytes()) if path.exists() else {}
    fixed = {name: port for name, port in ({**known, **(wanted or {})}).items() if name in names}
    for name, port in fixed.items():
        if not is_free(port):
            raise Conflict(_in_use(name, port, path, was_asked_for=name in (wanted or {})))
    missing = [name for name in names if name not in fixed]
    ports = {**fixed, **dict(zip(missing, _free_ports(len(missing)), strict=True))}
    write_atomically(path, orjson.dumps({**known, **ports}, option=orjson.OPT_INDENT_2))
    return ports


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port now; one that only lingers in TIME_WAIT is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Give a port that is free now, for a server that lives for a moment."""
    return _free_ports(1)[0]


def _free_ports(count: int) -> list[int]:
    """Ask the kernel for free ports, all held at once so that they differ."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _in_use(name: str, port: int, path: Path, *, was_asked_for: bool) -> str:
    remedy = "choose another one" if was_asked_for else f"stop that program, or delete {path} to get new ports"
    return f"port {port} ({name}) is in use by another program: {remedy}"
