"""What the policy pages read: policy sets, and the labels of clusters.

Owns the shelf of sets: one of a thousand clusters is summed up when somebody looks at it, once for each state it is in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from atoll.federation.resources import PolicySet
from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.fleet.clusters import CLUSTERS
from atoll.hub.dashboard.page import NoSuchThing
from atoll.hub.dashboard.policy.matrix import SetSummary, summary_of
from atoll.hub.dashboard.policy.standing import Standing, standing_of
from atoll.hub.dashboard.rows import Shelf
from atoll.hub.dashboard.sources import Sources
from atoll.kubeapi.resource import Object


class SetRow:
    """One policy set in one state."""

    def __init__(self, stored: Object) -> None:
        self.stored, self.policyset = stored, PolicySet.model_validate(stored)

    @cached_property
    def standings(self) -> tuple[Standing, ...]:
        """What each of its clusters proves."""
        status = self.policyset.status
        return tuple(standing_of(row, status.commit) for row in status.clusters)

    @cached_property
    def summary(self) -> SetSummary:
        """The set summed up."""
        return summary_of(self.policyset, self.standings)


SETS: Shelf[SetRow] = Shelf(PolicySet, SetRow)


@dataclass(frozen=True)
class SetsScope:
    """All sets by name."""

    sets: Mapping[str, SetRow]


@dataclass(frozen=True)
class SetScope:
    """One set, with the labels by which its waves select clusters."""

    row: SetRow
    labels: Mapping[str, Mapping[str, str]]


async def fetch_sets(sources: Sources, ask: Ask) -> SetsScope:
    """Read all sets; who may not list them sees none."""
    return SetsScope(dict(await sources.rows(SETS)) if ask.rights.sees("policysets") else {})


async def fetch_set(sources: Sources, ask: Ask) -> SetScope:
    """Read one set.

    Raises:
        NoSuchThing: there is none, or it is not for this user.
    """
    name = ask.params["name"]
    sets = await fetch_sets(sources, ask)
    if name not in sets.sets:
        raise NoSuchThing(f"policy set {name} does not exist", "atoll policy status")
    clusters = await sources.rows(CLUSTERS)
    return SetScope(sets.sets[name], {row.name: row.labels for row in clusters.values()})
