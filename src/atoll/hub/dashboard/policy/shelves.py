"""What the policy pages read: policy sets and clusters, and what each cluster was ordered to hold.

Owns the shelves. A set of a thousand clusters is parsed when somebody looks at it, and once for each state it is in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from atoll.federation.resources import Cluster, PolicySet
from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.page import NoSuchThing
from atoll.hub.dashboard.policy.matrix import SetSummary, summary_of
from atoll.hub.dashboard.policy.standing import Standing, standing_of
from atoll.hub.dashboard.rows import Shelf
from atoll.hub.dashboard.sources import Sources
from atoll.kubeapi.resource import Object


class SetRow:
    """One policy set in one state."""

    def __init__(self, stored: Object) -> None:
        self._stored = stored

    @cached_property
    def policyset(self) -> PolicySet:
        """The set."""
        return PolicySet.model_validate(self._stored)

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
    """One set, as it is parsed and as it is stored, with the clusters that its waves select by labels."""

    row: SetRow
    stored: Object
    labels: Mapping[str, Mapping[str, str]]


def _labels(cluster: Object) -> Mapping[str, str]:
    labels: Mapping[str, str] = cluster["metadata"].get("labels", {})
    return labels


LABELS: Shelf[Mapping[str, str]] = Shelf(Cluster, _labels)


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
    stored = sources.look(PolicySet, None, name)
    if name not in sets.sets or stored is None:
        raise NoSuchThing(f"policy set {name} does not exist", "atoll policy status")
    return SetScope(sets.sets[name], stored, dict(await sources.rows(LABELS)))
