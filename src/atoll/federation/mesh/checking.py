"""All invariants of the mesh, checked at once. Owns their order: who one is, then settings, addresses, trust, peers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from atoll.federation.mesh.addresses import address_faults
from atoll.federation.mesh.agreement import agreement_faults
from atoll.federation.mesh.identity import identity_faults
from atoll.federation.mesh.members import Member, Violation
from atoll.federation.mesh.peering import peering_faults
from atoll.federation.mesh.trust import expiry_faults, trust_faults

_CHECKS: tuple[Callable[[Sequence[Member]], Iterator[Violation]], ...] = (
    identity_faults,
    agreement_faults,
    address_faults,
    trust_faults,
    peering_faults,
)

RULES = (
    *("InvalidName", "InvalidId", "DuplicateName", "DuplicateId", "NotAsDeclared", "NotInMesh"),
    *("InvalidMaxConnectedClusters", "MaxConnectedClustersDiffer", "RoutingModeDiffers", "TunnelProtocolDiffers"),
    *("LabelFiltersDiffer", "PolicyDefaultDiffers", "PolicyDefaultUnknown"),
    *("PodCidrOverlap", "NodeAddressOverlap", "NativeRoutingTooNarrow"),
    *("CaNotShared", "CertificateExpires", "CertificateExpired"),
    *("MissingReversePeer", "WrongPeer", "StaleCache"),
)
"""What a violation's reason may be."""


def violations(members: Iterable[Member], *, now: datetime | None = None) -> tuple[Violation, ...]:
    """Check the mesh's invariants; what a member did not tell breaks none of them.

    Args:
        members: the clusters of one mesh.
        now: by which certificates expire; None leaves that out.
    """
    found = sorted(members, key=lambda member: member.cluster)
    broken = [violation for check in _CHECKS for violation in check(found)]
    return (*broken, *(expiry_faults(found, now) if now is not None else ()))
