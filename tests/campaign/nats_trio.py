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
    is_for_hosts: bool = False
    """Whether it listens at every address of its network namespace, and not at 127.0.0.1 alone."""

    def configure(self, config: Path) -> None:
        accounts = Accounts(Keys.load(self.keys), self.home / "accounts")
        write_config(NatsSettings(self.port, self.home / "store", accounts), config)
        named = config.read_text().replace('server_name: "atoll"', f'server_name: "{self.name}"')
        if self.is_for_hosts:
            named = named.replace('listen: "127.0.0.1:', 'listen: "0.0.0.0:')
        config.write_text(named + self.cluster())


def launch_secured_cluster(home: Path, *, is_for_hosts: bool = False) -> list[SecuredNode]:
    """Start three."""
    keys = home / "keys"
    home.mkdir(parents=True, exist_ok=True)
    Keys.ensure(keys)
    return launch_cluster(home, partial(SecuredNode, keys=keys, is_for_hosts=is_for_hosts))
