"""Three nats-servers that keep streams together."""

import contextlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from nats_servers import NatsServer, free_port, nats_binary


@dataclass
class ClusterNode(NatsServer):
    """One of them."""

    name: str = ""
    route_port: int = 0
    routes: tuple[int, ...] = ()

    def start(self) -> None:
        peers = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self.routes)
        config = self.home / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{self.port}"\nserver_name: {self.name}\n'
            f'jetstream {{ store_dir: "{self.home}/store", sync_interval: always }}\n'
            f'cluster {{ name: test, listen: "127.0.0.1:{self.route_port}", routes: [ {peers} ], '
            "no_advertise: true }\n"
        )
        with (self.home / "nats.log").open("ab") as output:
            self.process = subprocess.Popen([nats_binary(), "-c", config], stdout=output, stderr=output)
        self._wait()


def launch_cluster(home: Path) -> list[ClusterNode]:
    """Start three servers; once more, with other ports, if somebody took one of theirs."""
    for attempt in range(3):
        ports = tuple(free_port() for _ in range(3))
        nodes = [
            ClusterNode(home / f"{attempt}-{index}", name=f"n{index}", route_port=port, routes=ports)
            for index, port in enumerate(ports)
        ]
        with contextlib.suppress(RuntimeError):
            for node in nodes:
                node.home.mkdir(parents=True)
                node.start()
            return nodes
        for node in nodes:
            node.kill9()
    raise RuntimeError("no three servers could be started")
