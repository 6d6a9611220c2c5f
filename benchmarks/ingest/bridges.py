"""Mosquitto's own bridge, as what stands in Atoll's place: into a second Mosquitto, or on into NATS's MQTT listener.

Owns how both are set up and what is measured of them: from the start of the bridge until `mosquitto_sub` at its far end
has all readings in a file. Only NATS syncs anything to disk.
"""

from __future__ import annotations

import getpass
import socket
import subprocess
import time
from pathlib import Path

from nats_process import Server
from processes import Running

from gateway import children, start_broker, sub_command, subscribe

_DEADLINE_SECONDS = 120.0
_KEEPS = ("cleansession false", "try_private false", "notifications false")
Result = dict[str, float]


def bridged(source: int, home: Path, readings: int) -> Result:
    """Bridge into a second broker, which queues for a session of its own what comes before that is there again."""
    home.mkdir()
    # As this user, or it could not read the session again that it keeps here.
    kept = (f"user {getpass.getuser()}", "persistence true", f"persistence_location {home}/")
    port, second = start_broker(home, *kept)
    try:
        subscribe("end", port)
    finally:
        second.terminate()
        second.wait()
    began, before = time.monotonic(), children()
    port, second = start_broker(home, *kept, *_from(source))
    bridge = Running(second)
    try:
        seconds = _taken(port, home, readings, began)
        return {"seconds": seconds, "cpu": children() - before + bridge.cpu_seconds}
    finally:
        bridge.end()


def bridged_into_nats(source: int, home: Path, readings: int) -> Result:
    """Bridge into a nats-server that syncs before it acknowledges, and knows the session at its end already."""
    home.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    nats = Running(Server.launch(home / "nats", "server_name: end", f'mqtt {{ listen: "127.0.0.1:{port}" }}').process)
    try:
        subscribe("end", port)
        began, before, idle = time.monotonic(), children(), nats.cpu_seconds
        # NATS takes no dots in client ids. The way out comes first: what came in before it would go nowhere.
        out = ("connection nats", f"address 127.0.0.1:{port}", "remote_clientid onward", *_KEEPS, "topic lab/# out 1")
        bridge = Running(start_broker(home, *out, *_from(source))[1])
        try:
            seconds = _taken(port, home, readings, began)
            cpu = nats.cpu_seconds - idle
            return {"seconds": seconds, "cpu": children() - before + bridge.cpu_seconds + cpu, "nats_cpu": cpu}
        finally:
            bridge.end()
    finally:
        nats.end()


def _from(source: int) -> tuple[str, ...]:
    """Give what makes a broker fetch everything from another one."""
    names = ("remote_clientid bridge", "local_clientid from-first")
    return ("connection first", f"address 127.0.0.1:{source}", *names, *_KEEPS, "topic lab/# in 1")


def _taken(port: int, home: Path, readings: int, began: float) -> float:
    with (home / "readings").open("wb") as file:
        command = sub_command("end", port, "-C", str(readings))
        subprocess.run(command, stdout=file, check=True, timeout=_DEADLINE_SECONDS)
    return time.monotonic() - began
