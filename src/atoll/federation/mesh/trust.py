"""Whom the clusters of a mesh trust: one CA, and certificates that do not end soon. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from atoll.federation.mesh.members import Member, Violation

# Cilium's certificates live for a year from 1.20 on, and Helm does not renew them by itself: a month is time to act.
EXPIRY_WARNING = timedelta(days=30)
_SHORT = 12


def trust_faults(members: Sequence[Member]) -> Iterator[Violation]:
    """Find clusters whose CAs are not those of the others."""
    telling = [member for member in members if member.facts.ca_fingerprints]
    counts = Counter(print_ for member in telling for print_ in set(member.facts.ca_fingerprints))
    if not counts:
        return
    usual, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    if count == len(telling):
        return
    who = tuple(member.cluster for member in telling if usual not in member.facts.ca_fingerprints)
    clusters = who if 2 * count > len(telling) else tuple(member.cluster for member in telling)
    message = (
        f"the mesh's clusters trust no CA in common; most trust {usual[:_SHORT]}…: those without it refuse "
        "the others' certificates, or reach no Hubble relay"
    )
    remedy = "install Cilium with the same cilium-ca everywhere, or put all CAs into tls.caBundle"
    yield Violation("CaNotShared", clusters, message, remedy)


def expiry_faults(members: Sequence[Member], now: datetime) -> Iterator[Violation]:
    """Find certificates that have ended or will within a month; each cluster's first one to end is named."""
    for member in members:
        first = min(member.facts.certificates, key=lambda each: each.expires_at, default=None)
        if first is None or first.expires_at - now > EXPIRY_WARNING:
            continue
        is_over, day = first.expires_at <= now, f"{first.expires_at:%Y-%m-%d}"
        message = f"certificate {first.name} {'ended' if is_over else 'ends'} on {day}: "
        message += "peers refuse it" if is_over else "from then on peers refuse it"
        remedy = "renew it: helm upgrade of Cilium, or cilium-certgen, then restart clustermesh-apiserver"
        yield Violation("CertificateExpired" if is_over else "CertificateExpires", (member.cluster,), message, remedy)
