"""Three nats-servers that keep streams together."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nats_servers import NatsServer, free_port

Node = TypeVar("Node", bound="ClusterNode")


@dataclass
class ClusterNode(NatsServer):
    """One of them."""

    name: str = ""
    route_port: int = 0
    routes: tuple[int, ...] = ()

    def configure(self, config: Path) -> None:
        config.write_text(
            f'listen: "127.0.0.1:{self.port}"\nserver_name: {self.name}\n'
            f'jetstream {{ store_dir: "{self.home}/store", sync_interval: always }}\n{self.cluster()}'
        )

    def cluster(self) -> str:
        """Give the part of a configuration that makes it one of three."""
        peers = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self.routes)
        listen = f"127.0.0.1:{self.route_port}"
        return f'cluster {{ name: test, listen: "{listen}", routes: [ {peers} ], no_advertise: true }}\n'


def launch_cluster(home: Path, make: Callable[..., Node] = ClusterNode) -> list[Node]:
    """Start three servers; once more, with other ports, if somebody took one of theirs."""
    for attempt in range(3):
        ports = tuple(free_port() for _ in range(3))
        nodes = [
            make(home / f"{attempt}-{index}", name=f"n{index}", route_port=port, routes=ports)
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
