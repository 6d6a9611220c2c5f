"""What goes wrong when: drawn from a seed, the same each time. Pure.

Owns which kinds of faults there are, how likely and how long each is, and which may not be at the same place at once.
What a kind does is `wreaking.py`'s.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Site = Literal[
    "hub",
    "nats",
    "agent",
    "gateway",
    "broker",
    "api",
    "pod",
    "policy",
    "disk-full",
    "disk-forgetful",
    "git",
    "hub-link",
    "cluster-link",
    "gateway-link",
]


@dataclass(frozen=True)
class Kind:
    """One kind of fault: where it may be, how often beside others, and for how long (from, to, in seconds)."""

    name: str
    site: Site
    weight: float
    seconds: tuple[float, float] = (1.0, 8.0)


@dataclass(frozen=True)
class Planned:
    """One fault of a schedule: it begins `at` seconds after the start. `salt` decides what else there is to choose."""

    at: float
    kind: str
    place: str
    seconds: float
    salt: int

    def text(self) -> str:
        return f"{self.at:6.1f} s  {self.kind}: {self.place}, for {self.seconds:.1f} s"


def _of_packets(name: str, site: Site) -> tuple[Kind, ...]:
    """Give what goes wrong below TCP, where hubs and members have network namespaces."""
    return (
        Kind(f"{name}'s link silent", site, 2, (2.0, 40.0)),
        Kind(f"{name}'s link silent one way", site, 1, (2.0, 30.0)),
        Kind(f"{name}'s link flapping", site, 1, (5.0, 25.0)),
        Kind(f"{name}'s packets lost", site, 2, (5.0, 25.0)),
        Kind(f"{name}'s packets late, twice and out of order", site, 1, (4.0, 20.0)),
        Kind(f"{name}'s large packets lost", site, 1, (4.0, 25.0)),
        Kind(f"{name}'s firewall forgets", site, 2, (0.1, 0.1)),
        Kind(f"{name}'s firewall forgets and resets", site, 1, (0.1, 0.1)),
    )


KINDS: tuple[Kind, ...] = (
    Kind("hub killed", "hub", 3),
    Kind("hub paused", "hub", 2, (2.0, 9.0)),
    Kind("hub restarted again and again", "hub", 1, (4.0, 8.0)),
    Kind("hub's clock wrong", "hub", 1, (3.0, 12.0)),
    Kind("NATS server killed", "nats", 3),
    Kind("NATS server paused", "nats", 1, (2.0, 8.0)),
    Kind("agent killed", "agent", 3),
    Kind("agent paused", "agent", 2, (2.0, 20.0)),
    Kind("agent restarted again and again", "agent", 1, (3.0, 8.0)),
    Kind("agent's clock wrong", "agent", 2, (3.0, 20.0)),
    Kind("agent's files damaged", "agent", 2),
    Kind("agent's credentials revoked", "agent", 1, (2.0, 8.0)),
    Kind("cluster cut off", "agent", 4, (2.0, 30.0)),
    Kind("cluster's link deaf", "agent", 2, (2.0, 20.0)),
    Kind("cluster's link mute", "agent", 2, (2.0, 20.0)),
    Kind("cluster's link slow", "agent", 2, (3.0, 15.0)),
    Kind("cluster's messages twice and out of order", "agent", 3, (4.0, 20.0)),
    Kind("cluster cut off until its credentials end", "agent", 0.4, (50.0, 60.0)),
    Kind("gateway killed", "gateway", 3),
    Kind("gateway paused", "gateway", 1, (2.0, 10.0)),
    Kind("gateway restarted again and again", "gateway", 1, (3.0, 8.0)),
    Kind("gateway's clock wrong", "gateway", 1, (3.0, 15.0)),
    Kind("gateway's files damaged", "gateway", 2),
    Kind("gateway's credentials revoked", "gateway", 1, (2.0, 8.0)),
    Kind("gateway cut off", "gateway", 3, (2.0, 15.0)),
    Kind("gateway's link deaf", "gateway", 1, (2.0, 12.0)),
    Kind("gateway's link slow", "gateway", 1, (2.0, 12.0)),
    Kind("gateway's link mute", "gateway", 1, (2.0, 12.0)),
    Kind("gateway's messages twice and out of order", "gateway", 3, (4.0, 20.0)),
    Kind("gateway's disk full", "disk-full", 2, (2.0, 8.0)),
    Kind("gateway's disk hangs", "disk-forgetful", 1, (1.0, 5.0)),
    Kind("gateway's power cut", "disk-forgetful", 3),
    Kind("broker's link cut", "broker", 2, (1.0, 6.0)),
    Kind("broker's link slow", "broker", 1, (2.0, 6.0)),
    Kind("API server killed", "api", 2, (1.0, 8.0)),
    Kind("API server answers 429, 500, 503, 409", "api", 3, (3.0, 15.0)),
    Kind("API server does it and the answer is lost", "api", 2, (3.0, 10.0)),
    Kind("API server hangs", "api", 2, (2.0, 12.0)),
    Kind("sink or mover killed", "pod", 3, (0.1, 0.1)),
    Kind("work of a job killed", "pod", 1, (0.1, 0.1)),
    Kind("policy changed by hand", "policy", 2, (0.1, 0.1)),
    Kind("policy deleted by hand", "policy", 2, (0.1, 0.1)),
    Kind("nonsense committed", "git", 1, (0.1, 0.1)),
    *_of_packets("hub", "hub-link"),
    *_of_packets("cluster", "cluster-link"),
    *_of_packets("gateway", "gateway-link"),
)


def draw(seed: int, places: Mapping[str, Sequence[str]], *, seconds: float, faults_per_second: float) -> list[Planned]:
    """Draw a schedule of so many seconds.

    Args:
        places: which there are of each site.
    """
    chance = random.Random(seed)
    kinds = [kind for kind in KINDS if places.get(kind.site) and kind.seconds[0] < seconds]
    planned: list[Planned] = []
    at = chance.expovariate(faults_per_second)
    while at < seconds:
        kind = chance.choices(kinds, [kind.weight for kind in kinds])[0]
        place = chance.choice(places[kind.site])
        lasts = chance.uniform(kind.seconds[0], min(kind.seconds[1], max(seconds - at, kind.seconds[0])))
        wanted = Planned(round(at, 2), kind.name, place, round(lasts, 2), chance.randrange(1 << 30))
        if not any(_collide(wanted, other) for other in planned):
            planned.append(wanted)
        at += chance.expovariate(faults_per_second)
    return planned


def _collide(one: Planned, other: Planned) -> bool:
    """Tell whether two faults would be at one place at once: the end of one would mend the other.

    Of three NATS servers one may be away: two would be no faults of a federation, but its end.
    """
    sites = {kind.name: kind.site for kind in KINDS}
    both = {sites[one.kind], sites[other.kind]}
    same = both == {"nats"} or (one.place == other.place and _touches(both))
    return same and one.at < other.at + other.seconds + 1.0 and other.at < one.at + one.seconds + 1.0


def _touches(sites: set[str]) -> bool:
    """Tell whether what happens at two sites of one name takes hold of the same thing."""
    return len(sites) == 1 or sites <= {"gateway", "disk-full", "disk-forgetful"}
