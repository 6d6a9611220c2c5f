"""A nats-server with accounts, started as any other server of the tests."""

from dataclasses import dataclass
from pathlib import Path

from atoll.federation.bus.nats_keys import Keys
from atoll.local.nats import Accounts, NatsSettings, write_config
from nats_servers import NatsServer


@dataclass
class AccountServer(NatsServer):
    """Keeps its keys in its home."""

    @property
    def keys(self) -> Keys:
        return Keys.ensure(self.home / "keys")

    def configure(self, config: Path) -> None:
        accounts = Accounts(self.keys, self.home / "accounts")
        write_config(NatsSettings(self.port, self.home / "store", accounts), config)


def launch_secured(home: Path) -> tuple[NatsServer, Path]:
    """Start a server; give it and the folder of its keys."""
    server = AccountServer.launch(home)
    return server, home / "keys"
