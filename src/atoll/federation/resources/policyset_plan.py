"""What a commit of a policy set does: objects in each cluster, and connections among what runs there.

Owns the models only. The hub makes a plan once, when a commit is new, and compares with the one that was complete.
"""

from datetime import datetime

from pydantic import Field

from atoll.federation.resources.base import ClusterName, Model, NonNegative


class ClusterPlan(Model):
    """What a commit changes in one cluster. Connections are counted by pairs of parties that policies tell apart."""

    cluster: ClusterName = Field(description="The cluster.")
    added: NonNegative = Field(default=0, description="Objects that are new.")
    changed: NonNegative = Field(default=0, description="Objects that say something else.")
    removed: NonNegative = Field(default=0, description="Objects that go.")
    opens: NonNegative = Field(default=0, description="Pairs that begin or end there to which some port opens.")
    closes: NonNegative = Field(default=0, description="Pairs that begin or end there to which ports only close.")
    label_sets: NonNegative | None = Field(
        default=None, description="Distinct sets of labels that run there; unset: its agent has not told them."
    )


class PlannedFlow(Model):
    """Connections from some parties to others that change."""

    source: str = Field(description="Who opens them: namespace/name@cluster, or how many.")
    destination: str = Field(description="Who takes them.")
    before: str = Field(description="The ports that are open now, or `nothing`.")
    after: str = Field(description="The ports that will be open.")
    opens: bool = Field(description="Whether something is open that was closed.")
    pods: NonNegative = Field(default=0, description="Pods on both sides.")


class PolicyPlan(Model):
    """What one commit does, compared with another one."""

    commit: str = Field(description="The commit.")
    against: str = Field(default="", description="The commit that it is compared with; empty: with no policies at all.")
    made_at: datetime | None = Field(default=None, description="When it was made; what runs may be another since.")
    clusters: tuple[ClusterPlan, ...] = Field(default=(), description="The clusters in which something changes.")
    flows: tuple[PlannedFlow, ...] = Field(
        default=(), description="The connections that change, at most 20; what opens something comes first."
    )
    omitted_flows: NonNegative = Field(default=0, description="How many more there are.")
    message: str = Field(default="", description="Why connections could not be compared; empty if they were.")
