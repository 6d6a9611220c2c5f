"""The hub of a home: its process, its certificates, and how its administrator reaches it.

What runs beside it is the composer's business; `compose_hub` is the smallest one: NATS and a hub.
"""

import asyncio
import shlex
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from atoll.local import kubeconfig, pki
from atoll.local.credentials import Credentials, tls_context
from atoll.local.home import Home, default_home
from atoll.local.kubeconfig import Context
from atoll.local.pki import Pki
from atoll.local.ports import LOOPBACK, assign
from atoll.local.stack import Compose, LocalNats, Stack, atoll, environment, start_nats
from atoll.local.supervisor import ProcessSpec


@dataclass(frozen=True)
class LocalHub:
    """A hub on this machine: what to run, and how its administrator reaches it."""

    process: ProcessSpec
    context: Context
    ca: Path


def prepare(stack: Stack, nats: LocalNats, port: int, *, options: Sequence[str] = ()) -> LocalHub:
    """Make or renew the certificates, write the home's kubeconfig, and describe the hub's process.

    Raises:
        InvalidInput: the home's CA cannot be used.
        Unavailable: the home cannot be written.
    """
    home = stack.home
    files = pki.ensure(home, now=datetime.now(UTC))
    context = _context(home, files, port, start=stack.state.start_command)
    kubeconfig.write(home.kubeconfig, context)
    arguments = (
        *("--nats", nats.url, "--nats-keys", str(nats.keys), "--nats-ca", str(nats.ca)),
        *("--host", LOOPBACK, "--port", str(port), "--state-dir", str(home.folder("hub"))),
        *("--tls-cert", str(files.server.certificate), "--tls-key", str(files.server.key)),
        *("--client-ca", str(files.ca.certificate)),
    )
    tls = tls_context(Credentials(ca=context.credentials.ca))
    process = ProcessSpec(
        "hub",
        atoll("hub", "serve", *arguments, *options),
        environment(),
        is_ready=lambda: answers_https(port, tls),
    )
    return LocalHub(process, context, files.ca.certificate)


def compose_hub(*, port: int | None = None) -> Compose:
    """Compose NATS and a hub, on ports that stay."""

    async def compose(stack: Stack) -> None:
        wanted = {"hub": port} if port else {}
        ports = assign(stack.home.ports_file, ("nats", "hub"), wanted=wanted)
        server = await start_nats(stack, ports)
        stack.step("starting the hub")
        hub = prepare(stack, server, ports["hub"])
        await stack.supervisor.start(hub.process)
        note(stack, hub)

    return compose


def note(stack: Stack, hub: LocalHub) -> None:
    """Note in the state of a stack where its hub is."""
    stack.note(hub_url=hub.context.server, hub_kubeconfig=str(stack.home.kubeconfig))


def context_of(home: Home) -> Context:
    """Give the context by which a home's administrator reaches its hub, as the last start wrote it.

    Raises:
        NotFound: nothing was ever started there.
        InvalidInput: its kubeconfig is malformed.
    """
    found = kubeconfig.Kubeconfig.read([home.kubeconfig])
    return found.context(found.current)


def context_name(home: Home) -> str:
    """Name the context of a home: `atoll` for the default one, else after its folder."""
    return "atoll" if home == Home(default_home()) else f"atoll-{home.root.name}"


async def answers_https(port: int, tls: ssl.SSLContext, path: str = "/readyz") -> bool:
    """Tell whether a server on this port proves who it is and answers 200."""
    try:
        async with asyncio.timeout(2.0):
            reader, writer = await asyncio.open_connection(LOOPBACK, port, ssl=tls)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n".encode())
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):  # ssl.SSLError is an OSError
        return False


def _context(home: Home, files: Pki, port: int, *, start: str) -> Context:
    admin = files.admin.read()
    is_usual = home in (Home(default_home()), Home(default_home() / "sandbox"))
    return Context(
        name=context_name(home),
        server=f"https://{LOOPBACK}:{port}",
        credentials=Credentials(files.ca.read().certificate, admin.certificate, admin.key),
        home=str(home.root),
        start=start if is_usual else f"{start} --home {shlex.quote(str(home.root))}",
    )
