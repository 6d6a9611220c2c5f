"""The clusters as a cycle found them, and as they are with what it has put on them since.

Owns what a cycle assumes as taken. A cluster is seen as a whole again only when somebody asks for it: tens of thousands
of jobs may be put on a thousand clusters before anybody does.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from atoll.federation.placement.claims import Beside, Claim
from atoll.federation.placement.demand import Pods
from atoll.federation.placement.ends import Ends
from atoll.federation.placement.gangs import Shapes, taken
from atoll.federation.placement.links import Links
from atoll.federation.placement.shapes import Blocks
from atoll.federation.placement.table import ClusterTable
from atoll.federation.placement.views import ClusterView, Joined, Occupation
from atoll.federation.placement.waiting import End, seconds_until_free


@dataclass
class Floor:
    """The clusters of one cycle, by their positions.

    Attributes:
        table: what the cycle found.
        shapes: the nodes of each cluster as they are now.
        versions: how often something was put on each cluster, or claimed there.
    """

    table: ClusterTable
    links: Links
    shapes: list[Shapes]
    versions: list[int]
    blocks: Blocks = field(default_factory=Blocks, repr=False)
    _views: list[ClusterView | None] = field(default_factory=list, repr=False)
    _added: dict[int, list[End]] = field(default_factory=lambda: defaultdict(list), repr=False)
    _left: tuple[int, ClusterTable] | None = field(default=None, repr=False)
    _beside: dict[int, Beside] = field(default_factory=dict, repr=False)
    _numbers: dict[Pods, int] = field(default_factory=dict, repr=False)
    _pods: list[Pods] = field(default_factory=list, repr=False)
    _waits: dict[tuple[int, int], tuple[ClusterView, float]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, views: Sequence[ClusterView], links: Links, blocks: Blocks | None = None) -> "Floor":
        """Begin with these clusters; `blocks` remembers the nodes of those that did not change since another cycle."""
        blocks = blocks or Blocks()
        table, shapes = ClusterTable.of(views, links, blocks), [view.shapes for view in views]
        return cls(table, links, shapes, [0] * len(views), blocks, list(views))

    def __len__(self) -> int:
        """Count the clusters."""
        return len(self.shapes)

    @cached_property
    def ends(self) -> Ends:
        """When runs end, as the cycle found them."""
        return Ends.of(self.table.views, self.table.shapes)

    def name(self, position: int) -> str:
        """Name a cluster."""
        return self.table.views[position].name

    def view(self, position: int) -> ClusterView:
        """See a cluster with what was put there."""
        view = self._views[position]
        if view is None:
            found, added = self.table.views[position], self._added[position]
            occupations = Joined(found.occupations, [_occupation(*each) for each in added])
            view = replace(found, shapes=self.shapes[position], occupations=occupations)
            self._views[position] = view
        return view

    def occupy(self, position: int, until: End) -> None:
        """Assume capacity of a cluster as taken until an end."""
        self.shapes[position] = taken(self.shapes[position], until[2])
        self._added[position].append(until)
        self._views[position] = None
        self.versions[position] += 1

    def touch(self, cluster: str) -> None:
        """Have a cluster looked at again: room on it is claimed."""
        self.versions[self.table.index[cluster]] += 1

    def left(self) -> ClusterTable:
        """Lay out what is left."""
        version = sum(self.versions)
        if self._left is None or self._left[0] != version:
            views = [self.view(position) for position in range(len(self))]
            self._left = (version, ClusterTable.of(views, self.links, self.blocks) if version else self.table)
        return self._left[1]

    def beside(self, position: int, claims: tuple[Claim, ...]) -> Beside:
        """See what the claims on a cluster leave of it; alike jobs ask for the same again and again."""
        known, view = self._beside.get(position), self.view(position)
        if known is None or known.view is not view or known.claims is not claims:
            known = self._beside[position] = Beside(view, claims)
        return known

    def number_of(self, pods: Pods) -> int:
        """Give pods a number, the same for equal ones: comparing them is slow."""
        number = self._numbers.setdefault(pods, len(self._pods))
        if number == len(self._pods):
            self._pods.append(pods)
        return number

    def seconds_until_free(self, number: int, position: int) -> float:
        """Estimate when all of some pods could start at once on a cluster as it is now; infinite if that is not known.

        Jobs that differ in other things often have equal pods.
        """
        known, view = self._waits.get((number, position)), self.view(position)
        if known is None or known[0] is not view:
            known = self._waits[number, position] = (view, seconds_until_free(self._pods[number], view))
        return known[1]


def _occupation(seconds: float, run: str, pods: Pods) -> Occupation:
    return Occupation.of(run, pods, seconds, is_counted=False)
