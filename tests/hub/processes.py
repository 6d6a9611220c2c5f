"""Hubs in processes of their own, which tests may kill and start again on the same port."""

import signal
import time
from dataclasses import dataclass
from pathlib import Path

from rig.nursery import Nursery, nursery

_SERVE = "hub.serve"
_START_SECONDS = 30.0


def hubs() -> Nursery:
    return nursery(_SERVE)


@dataclass
class HubProcess:
    """One hub. `members` are clusters in memory that it brings along."""

    nats_url: str
    folder: Path
    members: tuple[str, ...] = ()
    port: int = 0
    url: str = ""
    pid: int | None = None

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ready = self.folder / "url"
        ready.unlink(missing_ok=True)
        arguments = (self.nats_url, str(self.folder), str(self.port), *self.members)
        self.pid = hubs().begin(_SERVE, *arguments, log=self.folder / "log")
        end = time.monotonic() + _START_SECONDS
        while not ready.exists():
            assert hubs().code(self.pid) is None, self.log
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
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it and check that it ends well."""
        assert self._end(signal.SIGTERM) == 0, self.log

    def _end(self, number: signal.Signals) -> int:
        """End it if it runs; give its code."""
        pid, self.pid = self.pid, None
        return 0 if pid is None else hubs().end(pid, number)
