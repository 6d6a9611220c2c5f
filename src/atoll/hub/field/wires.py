"""The hub's connections: one to the account that only hubs use, one to the account where members are.

Nothing that is said in the field reaches the hub's own streams. A NATS without accounts has one connection for both.
"""

import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from atoll.federation.bus.capabilities import OPEN_TO_ALL, Capabilities
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.login import OPEN
from atoll.federation.bus.table import Table
from atoll.federation.errors import Conflict, Unavailable
from atoll.hub.access.token_table import ACCESS_PREFIX, ACCESS_STREAM
from atoll.hub.field.keys import FIELD, HUB, SYSTEM, Signer
from atoll.hub.settings import HubSettings

_KEY = "field/key"
_KEY_BYTES = 32
# A healthy server answers in milliseconds; what it is asked next is waited for as long as a change of leaders takes.
_LEADER_SECONDS = 2.0


@dataclass(frozen=True)
class Wires:
    """How one hub is connected. Without `signer` NATS has no accounts, and there is nobody to revoke."""

    own: Bus
    field: Bus
    capabilities: Capabilities = OPEN_TO_ALL
    signer: Signer | None = None
    system: Bus | None = None

    @classmethod
    def open_to_all(cls, bus: Bus) -> "Wires":
        """Give the wires to a NATS that asks nobody who he is."""
        return cls(bus, bus)


@contextlib.asynccontextmanager
async def connected(settings: HubSettings) -> AsyncIterator[Wires]:
    """Be connected during the context.

    Raises:
        Unavailable: NATS does not answer, or does not let us in. InvalidInput: its keys cannot be used.
    """
    async with contextlib.AsyncExitStack() as stack:
        if settings.nats is None:
            bus = await Bus.connect(settings.nats_url, name="hub")
            bus.replicas = settings.nats_replicas
            stack.push_async_callback(bus.close)
            await _has_leader(bus)
            yield Wires.open_to_all(bus)
            return
        signer = Signer.load(settings.nats.keys, settings.nats.ca)
        buses = []
        for account in (HUB, FIELD, SYSTEM):
            bus = await Bus.connect(settings.nats_url, name=f"hub {account}", login=signer.login(account))
            bus.replicas = settings.nats_replicas
            stack.push_async_callback(bus.close)
            buses.append(bus)
        own, field, system = buses
        await _has_leader(own)
        await own.ensure_table(ACCESS_STREAM, ACCESS_PREFIX)
        key = await _ensure_key(own.table(ACCESS_STREAM, ACCESS_PREFIX))
        yield Wires(own, field, Capabilities(key), signer, system)


async def own_bus(settings: HubSettings, *, name: str) -> Bus:
    """Connect once more to the account that only hubs use.

    Raises:
        Unavailable: NATS does not answer, or does not let us in. InvalidInput: its keys cannot be used.
    """
    login = OPEN if settings.nats is None else Signer.load(settings.nats.keys, settings.nats.ca).login(HUB)
    bus = await Bus.connect(settings.nats_url, name=name, login=login)
    bus.replicas = settings.nats_replicas
    return bus


async def _has_leader(bus: Bus) -> None:
    """Ask what only a leader answers, and answers at once: servers that have none yet say nothing to anything.

    Raises:
        Unavailable: there is no leader.
    """
    await bus.api("INFO", timeout_seconds=_LEADER_SECONDS)


async def _ensure_key(table: Table) -> bytes:
    """Read the key of all capabilities; the first hub makes it."""
    for _ in range(3):
        found = await table.get(_KEY)
        if found is not None and found.value:
            return found.value
        with contextlib.suppress(Conflict):
            await table.put(_KEY, secrets.token_bytes(_KEY_BYTES), expected=0)
    raise Unavailable("the key of the field bus could neither be read nor made")
