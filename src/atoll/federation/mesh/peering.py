"""Who is configured to reach whom: both sides are, it is the right cluster, and what is ready is no old cache. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from atoll.federation.mesh.members import Member, Violation


def peering_faults(members: Sequence[Member]) -> Iterator[Violation]:
    """Find peers that know only one way, that are not who they should be, or that are only remembered."""
    counts = Counter(member.mesh_name for member in members)  # whom a name that is used twice means, nobody knows
    named = {member.mesh_name: member for member in members if counts[member.mesh_name] == 1}
    expected = {member.cluster: expected_peers(member) for member in members}
    for member in members:
        for name in sorted(expected[member.cluster]):
            peer = named.get(name)
            if peer is None or peer is member or not _has_told(peer):
                continue
            if member.mesh_name not in expected[peer.cluster]:
                yield _one_way(member, peer)
        yield from _doubtful(member, named)


def expected_peers(member: Member) -> frozenset[str]:
    """Give the mesh names that a member is configured to reach; else those that its agents list, which is the same."""
    if member.facts.expected_peers is not None:
        return frozenset(member.facts.expected_peers)
    return frozenset(link.peer for link in member.links)


def _has_told(member: Member) -> bool:
    return member.facts.expected_peers is not None or bool(member.links)


def _one_way(member: Member, peer: Member) -> Violation:
    message = f"{member.cluster} is configured to reach {peer.cluster}, not the reverse: answers find no way back"
    remedy = f"connect them both ways: cilium clustermesh connect --context {peer.cluster} "
    return Violation("MissingReversePeer", (peer.cluster,), message, f"{remedy}--destination-context {member.cluster}")


def _doubtful(member: Member, named: Mapping[str, Member]) -> Iterator[Violation]:
    for link in member.links:
        peer = named.get(link.peer)
        if peer is not None and link.peer_id and peer.mesh_id and link.peer_id != peer.mesh_id:
            message = f"what {member.cluster} reaches as {link.peer} has id {link.peer_id}, not {peer.mesh_id}"
            remedy = f"check the endpoints of {link.peer} in {member.cluster}'s Secret cilium-clustermesh"
            yield Violation("WrongPeer", (member.cluster, peer.cluster), message, remedy)
        if link.is_ready and link.cache_problem:
            message = (
                f"agents of {member.cluster} are ready on an old cache of {link.peer}, which KVStoreMesh does not "
                f"reach: {link.cache_problem}"
            )
            remedy = f"see the kvstoremesh container of {member.cluster}'s clustermesh-apiserver; identities there age"
            yield Violation("StaleCache", (member.cluster,), message, remedy)
