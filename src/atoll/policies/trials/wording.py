"""How a plan names who may talk to whom: for tables, for pull requests, for a policy set's status. Pure."""

from collections.abc import Sequence

from atoll.policies.trials.parties import Group
from atoll.policies.trials.reach import Reach, Span

_NAMED = 2


def words(spans: tuple[Span, ...]) -> str:
    """Name open ports."""
    return Reach("", "", spans).ports


def side(groups: Sequence[Group]) -> str:
    """Name the parties on one side of a block: a few by their names, many by how many they are and where."""
    if len(groups) <= _NAMED:
        return ", ".join(group.name for group in groups)
    pods = [group for group in groups if group.sets]
    others = [group.name for group in groups if not group.sets]
    told = []
    if pods:
        spaces = {(group.cluster, one.namespace) for group in pods for one in group.sets}
        clusters = sorted({group.cluster for group in pods})
        sets, where = sum(len(group.sets) for group in pods), ", ".join(clusters[:3])
        more = f" and {len(clusters) - 3} more" if len(clusters) > 3 else ""
        of = next(iter(spaces))[1] if len({name for _, name in spaces}) == 1 else f"{len(spaces)} namespaces"
        told.append(f"{sets} label sets of {of} in {where}{more}")
    if others:
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        told.append(", ".join(others[:_NAMED]) + more)
    return "; ".join(told)
