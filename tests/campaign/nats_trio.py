"""Three nats-servers with accounts that keep streams together, as `deploy/` has them; each can be killed by itself."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from atoll.federation.bus.nats_keys import Keys
from atoll.local.nats import Accounts, NatsSettings, write_config
from bus.nats_cluster import ClusterNode, launch_cluster


@dataclass
class SecuredNode(ClusterNode):
    """One of them; the keys are those of all."""

    keys: Path = field(default_factory=Path)

    def configure(self, config: Path) -> None:
        accounts = Accounts(Keys.load(self.keys), self.home / "accounts")
        write_config(NatsSettings(self.port, self.home / "store", accounts), config)
        named = config.read_text().replace('server_name: "atoll"', f'server_name: "{self.name}"')
        config.write_text(named + self.cluster())


def launch_secured_cluster(home: Path) -> list[SecuredNode]:
    """Start three."""
    keys = home / "keys"
    home.mkdir(parents=True, exist_ok=True)
    Keys.ensure(keys)
    return launch_cluster(home, partial(SecuredNode, keys=keys))
