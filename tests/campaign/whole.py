"""A whole federation of real processes: what there is, where it is, and how to ask its hubs.

`building.py` starts it. What goes wrong with it is `wreaking.py`'s, what it is given to do `load/`'s, and whether it
did well is judged elsewhere, out of files and other people's API servers.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from atoll.federation.bus.subjects import MemberKind
from atoll.sandbox.spec import ClusterSpec
from atoll.sandbox.state import ClusterState
from campaign.children import Child, Tender
from campaign.clock import Skew
from campaign.nats_trio import SecuredNode
from exactly_once.disks import Surface
from gateway.datapath import Mosquitto
from hub.support import collection
from rig.hosts import Host
from rig.wire import Wire

START_SECONDS = 180.0


@dataclass(frozen=True)
class Size:
    """How much is started. `planted` names a bug of `bugs.py` that processes of some roles are to have."""

    clusters: int = 8
    gateways: int = 4
    hubs: int = 2
    planted: str = ""
    victims: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return (
            f"{self.hubs} hubs, 3 NATS servers with accounts, {self.clusters} simulated clusters with an agent each, "
            f"{self.gateways} gateways, each with a Mosquitto, sinks and movers as pods, policies from Git"
        )


@dataclass
class Member:
    """An agent or a gateway: its process, its ways and its clock."""

    name: str
    child: Child
    to_nats: Wire
    to_hub: Wire
    clock: Skew
    token: Path
    state_dir: Path
    disk: Surface | None = None

    @property
    def kind(self) -> MemberKind:
        return "gateway" if self.child.role == "gateway" else "cluster"


@dataclass
class Cluster:
    """A simulated cluster, where it is, and its agent."""

    spec: ClusterSpec
    child: Child
    state: ClusterState
    api: Wire
    agent: Member
    admin_socket: str

    @property
    def name(self) -> str:
        return self.spec.name


@dataclass
class Lab:
    """A gateway with its broker."""

    gateway: Member
    mosquitto: Mosquitto
    to_broker: Wire

    @property
    def name(self) -> str:
        return self.gateway.name


@dataclass
class Federation:
    """Everything that runs."""

    home: Path
    size: Size
    tender: Tender
    nodes: Sequence[SecuredNode]
    hubs: Sequence[Child]
    hub_urls: Sequence[str]
    hub_clocks: Sequence[Skew]
    client: httpx.Client
    hosts: Mapping[str, Host]
    """Of hubs and members by their names: where each lives, if not beside all else."""
    clusters: list[Cluster] = field(default_factory=list)
    labs: list[Lab] = field(default_factory=list)

    def ask(self, method: str, path: str, *, hub: int | None = None, **options: Any) -> httpx.Response | None:
        """Ask a hub, the first that answers unless one is named; None if nobody answers."""
        urls = self.hub_urls if hub is None else [self.hub_urls[hub]]
        for url in urls:
            with contextlib.suppress(httpx.HTTPError):
                answer = self.client.request(method, f"{url}{path}", **options)
                if answer.status_code not in (502, 503):
                    return answer
        return None

    def get(self, path: str) -> dict[str, Any]:
        """Give what a hub serves; empty if it is not there or nobody answers."""
        answer = self.ask("GET", path)
        return dict(answer.json()) if answer is not None and answer.status_code == 200 else {}

    def create(self, *manifests: Mapping[str, Any]) -> None:
        """Create objects, however often it takes; one that is there already is well."""
        for wanted in manifests:
            self.insist(lambda: self.ask("POST", collection(wanted), json=wanted), 201, 409)  # noqa: B023

    def insist(self, what: Callable[[], httpx.Response | None], *codes: int) -> httpx.Response:
        """Do it again until a hub answers with one of these codes."""
        end, answer = time.monotonic() + START_SECONDS, None
        while (answer := what()) is None or answer.status_code not in codes:
            assert time.monotonic() < end, f"the hub does not do it: {answer.text if answer is not None else 'silent'}"
            time.sleep(0.2)
        return answer

    def invite(self, kind: str, name: str, token: Path) -> None:
        """Have the hub make a one-time token for a member, and leave it where the member looks."""
        body = {"kind": kind, "name": name}
        answer = self.insist(lambda: self.ask("POST", "/access/enrolments", json=body), 201)
        token.parent.mkdir(parents=True, exist_ok=True)
        token.write_text(answer.json()["token"])

    @property
    def members(self) -> list[Member]:
        return [*(cluster.agent for cluster in self.clusters), *(lab.gateway for lab in self.labs)]

    def cluster(self, name: str) -> Cluster:
        return next(each for each in self.clusters if each.name == name)
