"""What is proven of a policy set in one cluster: the rungs of a ladder, each with the time of its newest proof."""

from datetime import datetime
from typing import Literal, get_args

from pydantic import Field

from atoll.federation.resources.base import Model, NonNegative

# Each rung needs those before it. Applied: the API server holds it as ordered. Valid: the engine's own check took it.
# Realized: every node's engine enforces it on every endpoint that it selects. Resolved: its peers in other clusters
# have been found. Observed: Hubble has shown a connection that it decided about.
PolicyRung = Literal["Applied", "Valid", "Realized", "Resolved", "Observed"]
RUNGS: tuple[PolicyRung, ...] = get_args(PolicyRung)
# The highest rung that enforcement alone can prove: the next one takes somebody who opens a connection.
TOP_OF_ENFORCEMENT: PolicyRung = "Resolved"


class RungTimes(Model):
    """When each rung was last proven; unset: never of this commit. A rung that is lost keeps its time."""

    applied: datetime | None = Field(default=None, description="When the objects were last seen as ordered.")
    valid: datetime | None = Field(default=None, description="When Cilium's own check was last seen to have passed.")
    realized: datetime | None = Field(default=None, description="When the node asked longest ago was asked.")
    resolved: datetime | None = Field(default=None, description="When peers in other clusters were last seen found.")
    observed: datetime | None = Field(
        default=None, description="The newest connection that Hubble showed, of the object whose is the oldest."
    )


class ObjectProof(Model):
    """One policy object of which enforcement is not proven in full: it is below Resolved."""

    kind: str = Field(description="Its kind.")
    namespace: str | None = Field(default=None, description="Its namespace; unset for cluster-wide kinds.")
    name: str = Field(description="Its name.")
    rung: PolicyRung | None = Field(default=None, description="The highest rung that is proven; unset: none.")
    realized_nodes: NonNegative = Field(default=0, description="Nodes on which it is proven to be realized.")
    reason: str = Field(default="", description="Why it is on no higher rung.")


class PolicyProof(Model):
    """The lowest rung of all objects of a set in one cluster."""

    rung: PolicyRung | None = Field(default=None, description="The highest rung that all objects have; unset: none.")
    reason: str = Field(default="", description="Why it is no higher; empty from Resolved on.")
    nodes: NonNegative = Field(default=0, description="Nodes of the cluster.")
    realized_nodes: NonNegative = Field(default=0, description="Nodes on which every object is proven to be realized.")
    proven_at: RungTimes = Field(default=RungTimes(), description="When each rung was last proven.")
    objects: tuple[ObjectProof, ...] = Field(
        default=(), description="The objects that are below Resolved, the lowest first, at most 20."
    )

    observed_objects: NonNegative = Field(default=0, description="Objects of which Hubble has shown a decision.")
    last_observed_at: datetime | None = Field(
        default=None, description="The newest connection that Hubble has shown of any of them; unset: of none."
    )
    hubble: str = Field(default="", description="Why Hubble could not be asked; empty if it was, or nobody asks it.")

    def is_at_least(self, rung: PolicyRung) -> bool:
        """Say whether a rung is proven."""
        return self.rung is not None and RUNGS.index(self.rung) >= RUNGS.index(rung)


class PolicyTraffic(Model):
    """What a cluster's datapath drops because of policies, before a commit and since, over all nodes that told it."""

    drops_per_second: float | None = Field(
        default=None, description="Packets denied by policies now; unset: not measured for long enough."
    )
    drops_per_second_before: float | None = Field(
        default=None, description="The same before the commit was there; unset: nobody measured then."
    )
    nodes: NonNegative = Field(default=0, description="Nodes whose counters were read.")
    at: datetime | None = Field(default=None, description="When they were read last.")

    @property
    def rise(self) -> float | None:
        """By how much the drops have risen; None if either is not known."""
        if self.drops_per_second is None or self.drops_per_second_before is None:
            return None
        return self.drops_per_second - self.drops_per_second_before
