"""What every part of the demo works with: where the federation is, what is played to it, what came of it. Values."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from atoll.cli.api import Api
from atoll.federation.resources import Dataset, Job
from atoll.local.home import Home
from atoll.local.state import ClusterAccess, State
from atoll.sandbox.demo.instruments import Published
from atoll.sandbox.demo.recording import Recording
from atoll.sandbox.demo.repository import Repository


@dataclass(frozen=True)
class World:
    """A running federation with the demo's objects on it."""

    home: Home
    state: State
    hub: Api
    recording: Recording
    repository: Repository

    @property
    def logs(self) -> str:
        """Where the processes' logs are, for messages."""
        return str(self.home.logs)

    def cluster(self, name: str) -> ClusterAccess:
        """Give the access to one simulated cluster."""
        return next(access for access in self.state.clusters if access.name == name)

    @contextmanager
    def cluster_api(self, name: str) -> Iterator[Api]:
        """Open a client of one cluster's own API server."""
        with Api(self.cluster(name).url) as api:
            yield api

    def files_of(self, cluster: str, dataset: str, version: int) -> Path | None:
        """Find a dataset version's folder on a cluster's disk; None if it is not there."""
        storage = Path(self.cluster(cluster).storage)
        found = [path for path in storage.rglob(f"v{version}") if path.is_dir() and path.parent.name == dataset]
        return found[0] if found else None


@dataclass(frozen=True)
class PolicyOutcome:
    """What came of the edit by hand."""

    cluster: str
    policy: str
    healed_after_seconds: float


@dataclass(frozen=True)
class Outcome:
    """What the scenario did."""

    published: Published
    dataset: Dataset
    job: Job
    policies: PolicyOutcome
