"""A nats-server of its own for a benchmark, which syncs before it acknowledges."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Server:
    """One process."""

    port: int
    process: subprocess.Popen[bytes]

    @classmethod
    def launch(cls, home: Path, *more: str) -> Server:
        """Start it on a free port, with `more` lines of configuration, and wait until it listens."""
        home.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        config = home / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{port}"\nmax_payload: 8MB\n'
            f'jetstream {{ store_dir: "{home}/store", sync_interval: always }}\n'
            + "".join(f"{line}\n" for line in more)
        )
        binary = Path(sys.executable).parent / "nats-server"
        with (home / "nats.log").open("wb") as output:
            process = subprocess.Popen([binary, "-c", config], stdout=output, stderr=output)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
                break
            except OSError:
                time.sleep(0.05)
        return cls(port, process)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"nats://127.0.0.1:{self.port}"

    def kill9(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
