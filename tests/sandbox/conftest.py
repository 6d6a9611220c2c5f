"""One sandbox with all default clusters for the tests that do not end it, and one of which more may be changed."""

from collections.abc import Iterator

import pytest

from atoll.sandbox.settings import SandboxSettings
from atoll.sandbox.spec import ONPREM_GPU
from sandbox.worlds import Kubectl, Sandbox, running_sandbox


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Run the default sandbox for the whole session; tests take namespaces of their own."""
    with running_sandbox(SandboxSettings(tmp_path_factory.mktemp("sb"))) as running:
        yield running


@pytest.fixture
def onprem(sandbox: Sandbox) -> Kubectl:
    """Give a kubectl in a new namespace of the cluster with the A100s."""
    return sandbox.fresh("onprem-gpu")


@pytest.fixture
def lab(sandbox: Sandbox) -> Kubectl:
    """Give a kubectl in a new namespace of the small cluster."""
    return sandbox.fresh("lab-k3s")


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Run a sandbox of one cluster whose kinds and nodes the tests may change, as long as they put them back."""
    with running_sandbox(SandboxSettings(tmp_path_factory.mktemp("ws"), clusters=(ONPREM_GPU,))) as running:
        yield running


@pytest.fixture
def site(workshop: Sandbox) -> Kubectl:
    """Give a kubectl in a new namespace of the cluster that may be changed."""
    return workshop.fresh("onprem-gpu")
