"""What runs in a cluster as policies see it: the distinct sets of labels, and how many pods bear each.

Owns the models only. Agents report them in chunks by namespace; who asks the hub gets the chunks of a cluster put
together (`ClusterWorkloads`).
"""

from datetime import datetime

from pydantic import Field

from atoll.federation.resources.base import Labels, Model, NonNegative


class LabelSet(Model):
    """Pods of one namespace that no policy can tell apart."""

    namespace: str = Field(description="Their namespace.")
    labels: Labels = Field(default_factory=dict, description="Their labels, without those that no identity has.")
    service_account: str = Field(default="default", description="Their service account.")
    ports: dict[str, str] = Field(
        default_factory=dict, description="Their container ports that have a name, such as https: 443/TCP."
    )
    pods: NonNegative = Field(default=1, description="How many there are; above 20 in round numbers.")


class ClusterWorkloads(Model):
    """All that runs in one cluster."""

    namespaces: dict[str, Labels] = Field(default_factory=dict, description="Labels of its namespaces by their names.")
    sets: tuple[LabelSet, ...] = Field(default=(), description="The distinct sets of labels that run there.")
    omitted_sets: NonNegative = Field(default=0, description="Sets that are too many to be told, the smallest ones.")
    omitted_pods: NonNegative = Field(default=0, description="How many pods are of those sets.")
    seen_at: datetime | None = Field(
        default=None, description="When the newest change was seen; unset: the agent has told nothing yet."
    )
