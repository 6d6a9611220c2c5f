"""The CLI's tests run the real program against a real hub: `atoll up --hub-only` in a temporary home."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from clitool import Cli, wait_ready

from atoll.local.home import Home

QUEUE = "apiVersion: atoll.dev/v1alpha1\nkind: Queue\nmetadata: {name: batch}\n"


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A CLI whose home has a running hub, shared by the tests of a process: they use namespaces of their own."""
    cli = Cli(tmp_path_factory.mktemp("home"))
    with cli.running("up", "--hub-only") as process:
        wait_ready(Home(cli.root), process)
        yield cli
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A CLI whose home has a hub with one simulated cluster and the queue `batch`: jobs run there."""
    cli = Cli(tmp_path_factory.mktemp("cluster") / "home")
    with cli.running("up") as process:
        wait_ready(Home(cli.root), process)
        cli.ok("apply", "-f", "-", stdin=QUEUE)
        yield cli
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=40)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A CLI whose home is empty."""
    return Cli(tmp_path / "home")
