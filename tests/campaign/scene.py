"""What faults are done to, and where there is what. Owns finding a place by its name; nothing goes wrong here."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from campaign.children import Child
from campaign.clock import Skew
from campaign.load.jobs import Submitter
from campaign.load.policies import Watcher
from campaign.schedule import Planned
from campaign.whole import Federation, Member
from exactly_once.disks import Disk
from rig.forgetful_disk import ForgetfulDisk


@dataclass(frozen=True)
class Scene:
    """What faults are done to."""

    federation: Federation
    jobs: Submitter
    policies: Watcher

    @property
    def places(self) -> Mapping[str, list[str]]:
        """The places of every site, as schedules need them."""
        federation = self.federation
        clusters, labs = [each.name for each in federation.clusters], federation.labs
        return {
            "hub": [hub.name for hub in federation.hubs],
            "nats": [node.name for node in federation.nodes],
            "agent": clusters,
            "api": clusters,
            "pod": clusters,
            "policy": clusters,
            "git": ["the repository"],
            "gateway": [lab.name for lab in labs],
            "broker": [lab.name for lab in labs],
            "hub-link": [hub.name for hub in federation.hubs if hub.name in federation.hosts],
            "cluster-link": [name for name in clusters if name in federation.hosts],
            "gateway-link": [lab.name for lab in labs if lab.name in federation.hosts],
            "disk-full": [lab.name for lab in labs if isinstance(lab.gateway.disk, Disk) and lab.gateway.disk.is_small],
            "disk-forgetful": [lab.name for lab in labs if isinstance(lab.gateway.disk, ForgetfulDisk)],
        }

    def member(self, name: str) -> Member:
        return next(each for each in self.federation.members if each.name == name)

    def hub(self, name: str) -> tuple[Child, Skew]:
        number = [hub.name for hub in self.federation.hubs].index(name)
        return self.federation.hubs[number], self.federation.hub_clocks[number]


Does = Callable[[Scene, Planned], AbstractContextManager[None]]
"""One kind of fault: it stands while the context is open."""
