"""Who the clusters of a mesh are: names and ids are valid, used once, and what was declared. Pure.

Cilium itself only refuses the second claimant of an id, and in silence: it never becomes ready.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from atoll.federation.mesh.members import Member, Violation
from atoll.federation.mesh.naming import id_fault, name_faults

_ANEW = "disconnect it from the mesh, install Cilium with another, restart its workloads"


def identity_faults(members: Sequence[Member]) -> Iterator[Violation]:
    """Find names and ids that cannot be, or that are used twice."""
    for member in members:
        yield from _own(member)
    yield from _duplicates(members)


def _own(member: Member) -> Iterator[Violation]:
    who, facts = (member.cluster,), member.facts
    if facts.name and not facts.id and member.declared_id is not None:
        message = f"is declared to have mesh id {member.declared_id}, and its Cilium is in no mesh (cluster-id 0)"
        remedy = f"install its Cilium with cluster.name={member.declared_name}, cluster.id={member.declared_id}"
        yield Violation("NotInMesh", who, message, remedy)
        return
    for fault, remedy in name_faults(member.mesh_name):
        yield Violation("InvalidName", who, fault, remedy)
    if member.mesh_id is not None and (fault := id_fault(member.mesh_id, member.limit)):
        yield Violation("InvalidId", who, fault, f"use 1 to {member.limit}, which max-connected-clusters allows")
    yield from _not_as_declared(member)


def _not_as_declared(member: Member) -> Iterator[Violation]:
    if not member.facts.name:
        return
    for what, declared, seen in (
        ("name", member.declared_name, member.facts.name),
        ("id", member.declared_id, member.facts.id),
    ):
        if declared is not None and declared != seen:
            message = f"mesh {what} is declared to be {declared!r}, its Cilium says {seen!r}"
            remedy = f"spec.mesh.{what} cannot be changed: delete the Cluster and declare it with {seen!r}"
            yield Violation("NotAsDeclared", (member.cluster,), message, remedy)


def _duplicates(members: Sequence[Member]) -> Iterator[Violation]:
    names: dict[str, list[str]] = defaultdict(list)
    ids: dict[int, list[str]] = defaultdict(list)
    for member in members:
        names[member.mesh_name].append(member.cluster)
        ids[member.mesh_id or 0].append(member.cluster)
    for name, who in names.items():
        if len(who) > 1:
            message = f"mesh name {name!r} is used twice: policies cannot tell their pods apart"
            yield Violation("DuplicateName", tuple(who), message, f"all but one of them: {_ANEW}")
    for number, who in ids.items():
        if len(who) > 1 and number:
            message = f"mesh id {number} is used twice: Cilium never connects the second one, and says nothing"
            yield Violation("DuplicateId", tuple(who), message, f"all but one of them: {_ANEW}")
