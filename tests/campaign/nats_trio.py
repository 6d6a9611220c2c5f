"""Three nats-servers with accounts that keep streams together, as `deploy/` has them; each can be killed by itself."""

import contextlib
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from atoll.federation.bus.nats_keys import Keys
from atoll.local.nats import Accounts, NatsSettings, write_config
from nats_servers import NatsServer, free_port, nats_binary


@dataclass
class SecuredNode(NatsServer):
    """One of them; the keys are those of all."""

    keys: Path = field(default_factory=Path)
    name: str = ""
    route_port: int = 0
    routes: tuple[int, ...] = ()

    def start(self) -> None:
        config = self.home / "nats.conf"
        accounts = Accounts(Keys.load(self.keys), self.home / "accounts")
        write_config(NatsSettings(self.port, self.home / "store", accounts), config)
        peers = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self.routes)
        text = config.read_text().replace('server_name: "atoll"', f'server_name: "{self.name}"')
        config.write_text(
            f'{text}cluster {{ name: campaign, listen: "127.0.0.1:{self.route_port}", routes: [ {peers} ], '
            "no_advertise: true }\n"
        )
        with (self.home / "nats.log").open("ab") as output:
            self.process = subprocess.Popen([nats_binary(), "-c", config], stdout=output, stderr=output)
        self._wait()


def launch_secured_cluster(home: Path) -> list[SecuredNode]:
    """Start three; once more, with other ports, if somebody took one of theirs."""
    keys = home / "keys"
    home.mkdir(parents=True, exist_ok=True)
    Keys.ensure(keys)
    for attempt in range(4):
        ports = tuple(free_port() for _ in range(3))
        nodes = [
            SecuredNode(home / f"{attempt}-{index}", keys=keys, name=f"n{index}", route_port=port, routes=ports)
            for index, port in enumerate(ports)
        ]
        with contextlib.suppress(RuntimeError):
            for node in nodes:
                node.home.mkdir()
                node.start()
            return nodes
        for node in nodes:
            node.kill9()
    raise RuntimeError("no three servers could be started")
