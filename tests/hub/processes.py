"""Hubs in processes of their own, which tests may kill and start again on the same port."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

_SERVE = Path(__file__).with_name("serve.py")
_START_SECONDS = 30.0


@dataclass
class HubProcess:
    """One hub. `members` are clusters in memory that it brings along."""

    nats_url: str
    folder: Path
    members: tuple[str, ...] = ()
    port: int = 0
    url: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ready = self.folder / "url"
        ready.unlink(missing_ok=True)
        arguments = [sys.executable, _SERVE, self.nats_url, self.folder, str(self.port), *self.members]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with (self.folder / "log").open("ab") as output:
            self.process = subprocess.Popen(arguments, stdout=output, stderr=output, env=environment)
        end = time.monotonic() + _START_SECONDS
        while not ready.exists():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, f"the hub does not serve after {_START_SECONDS:g} s: {self.log}"
            time.sleep(0.05)
        self.url = ready.read_text()
        self.port = int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def leads(self) -> bool:
        """Whether it has been the leader since it was started last."""
        return "this hub leads now" in self.log.rpartition("the hub serves")[2]

    def kill9(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End it and check that it ends well."""
        if self.process is not None:
            self.process.terminate()
            code = self.process.wait(timeout=30)
            self.process = None
            assert code == 0, self.log
