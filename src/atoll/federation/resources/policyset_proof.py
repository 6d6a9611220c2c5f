"""What is proven of a policy set in one cluster: the rungs of a ladder, each with the time of its newest proof."""

from datetime import datetime
from typing import Literal, get_args

from pydantic import Field

from atoll.federation.resources.base import Model, NonNegative

# Each rung needs those before it. Applied: the API server holds it as ordered. Valid: the engine's own check took it.
# Realized: every node's engine enforces it on every endpoint that it selects. Resolved: its peers in other clusters
# have been found.
PolicyRung = Literal["Applied", "Valid", "Realized", "Resolved"]
RUNGS: tuple[PolicyRung, ...] = get_args(PolicyRung)


class RungTimes(Model):
    """When each rung was last proven; unset: never of this commit. A rung that is lost keeps its time."""

    applied: datetime | None = Field(default=None, description="When the objects were last seen as ordered.")
    valid: datetime | None = Field(default=None, description="When Cilium's own check was last seen to have passed.")
    realized: datetime | None = Field(default=None, description="When the node asked longest ago was asked.")
    resolved: datetime | None = Field(default=None, description="When peers in other clusters were last seen found.")


class ObjectProof(Model):
    """One policy object that is not on the highest rung."""

    kind: str = Field(description="Its kind.")
    namespace: str | None = Field(default=None, description="Its namespace; unset for cluster-wide kinds.")
    name: str = Field(description="Its name.")
    rung: PolicyRung | None = Field(default=None, description="The highest rung that is proven; unset: none.")
    realized_nodes: NonNegative = Field(default=0, description="Nodes on which it is proven to be realized.")
    reason: str = Field(default="", description="Why it is on no higher rung.")


class PolicyProof(Model):
    """The lowest rung of all objects of a set in one cluster."""

    rung: PolicyRung | None = Field(default=None, description="The highest rung that all objects have; unset: none.")
    reason: str = Field(default="", description="Why it is no higher; empty on the highest.")
    nodes: NonNegative = Field(default=0, description="Nodes of the cluster.")
    realized_nodes: NonNegative = Field(default=0, description="Nodes on which every object is proven to be realized.")
    proven_at: RungTimes = Field(default=RungTimes(), description="When each rung was last proven.")
    objects: tuple[ObjectProof, ...] = Field(
        default=(), description="The objects that are not on the highest rung, the lowest first, at most 20."
    )

    def is_at_least(self, rung: PolicyRung) -> bool:
        """Say whether a rung is proven."""
        return self.rung is not None and RUNGS.index(self.rung) >= RUNGS.index(rung)
