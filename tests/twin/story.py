"""What a history is to be: clocks, work, and what goes wrong when. All of it follows from the seed. Pure."""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

HUBS = ("hub-1", "hub-2")
CLUSTERS = ("north", "south")
NATS, GIT = "nats", "git"

# Of which machines each kind of fault can be, and how long it lasts at least and at most.
_HUBS, _AGENTS, _SERVERS = HUBS, tuple(f"agent {name}" for name in CLUSTERS), CLUSTERS
KINDS: dict[str, tuple[tuple[str, ...], float, float]] = {
    "cut": ((*_HUBS, *_AGENTS), 0.5, 60.0),
    "hold up": ((*_HUBS, *_AGENTS), 1.0, 40.0),
    "hold down": ((*_HUBS, *_AGENTS), 1.0, 40.0),
    "lag": ((*_HUBS, *_AGENTS), 2.0, 40.0),
    "kill": ((*_HUBS, *_AGENTS), 0.5, 40.0),
    "freeze": ((*_HUBS, *_AGENTS), 1.0, 60.0),
    "reboot": (_AGENTS, 2.0, 40.0),
    "clock jump": ((*_HUBS, *_AGENTS), 5.0, 60.0),
    "kill nats": ((NATS,), 0.5, 20.0),
    "no leader": ((NATS,), 0.5, 8.0),
    "full disk": ((NATS,), 1.0, 30.0),
    "slow disk": ((NATS,), 2.0, 20.0),
    "api away": (_SERVERS, 1.0, 40.0),
    "api hangs": (_SERVERS, 1.0, 40.0),
    "api 500": (_SERVERS, 1.0, 30.0),
    "api 429": (_SERVERS, 1.0, 30.0),
    "api 409": (_SERVERS, 1.0, 30.0),
    "api answers are lost": (_SERVERS, 1.0, 30.0),
    "watches break": (_SERVERS, 0.0, 0.0),
    "a policy is deleted by hand": (_SERVERS, 0.0, 0.0),
    "a policy is edited by hand": (_SERVERS, 0.0, 0.0),
    "git away": ((GIT,), 1.0, 30.0),
}
# What makes a cluster silent, and is what hurts most: so often it is one of these.
_LINKS, _LINKS_PART = ("cut", "hold up", "hold down", "freeze", "kill", "reboot"), 0.4
# When a fault begins, from the end of the one before: what goes wrong at once, or right after, is what hurts.
GAPS = (-20.0, -5.0, -1.0, 0.0, 0.2, 0.5, 1.0, 2.0, 8.0, 20.0)
# When the federation stands, and work begins.
BEGIN = 12.0


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong: when, what, where, for how long. `steps`: how much of its work is done before."""

    at: float
    kind: str
    where: str
    seconds: float
    steps: int = 0

    @property
    def ends(self) -> float:
        return self.at + self.seconds

    def __str__(self) -> str:
        after = f", {self.steps} steps later" if self.steps else ""
        return f"{self.at:7.2f} s  {self.kind}, {self.where}, for {self.seconds:.2f} s{after}"


@dataclass(frozen=True)
class Work:
    """A job that somebody submits; `grace_used` is the part of its grace that it takes when it is told to end."""

    name: str
    at: float
    loss_policy: str
    seconds: float
    grace_seconds: int
    grace_used: float

    def __str__(self) -> str:
        return (
            f"{self.at:7.2f} s  job {self.name} is submitted: {self.loss_policy}, {self.seconds:.0f} s of work, "
            f"takes {self.grace_used:g} of {self.grace_seconds} s of grace"
        )


@dataclass(frozen=True)
class Story:
    """Everything that is left to chance, but for the moments within a machine."""

    seed: int
    work: tuple[Any, ...] = ()
    faults: tuple[Fault, ...] = ()
    commits: tuple[float, ...] = ()
    rates: dict[str, float] = field(default_factory=dict)
    skews: dict[str, float] = field(default_factory=dict)

    def without(self, fault: Fault) -> "Story":
        """Give the same story in which one thing does not go wrong."""
        return replace(self, faults=tuple(one for one in self.faults if one is not fault))

    def __str__(self) -> str:
        lines = [(one.at, str(one)) for one in (*self.work, *self.faults)]
        lines += [(at, f"{at:7.2f} s  policies are changed in Git") for at in self.commits]
        return "\n".join(text for _, text in sorted(lines))


def told(seed: int) -> Story:
    """Tell the story of a seed."""
    chance = Random(f"story {seed}")
    machines = (*HUBS, *(f"agent {name}" for name in CLUSTERS), *CLUSTERS)
    return Story(
        seed=seed,
        work=_work(chance),
        faults=_faults(chance),
        commits=tuple(sorted(round(BEGIN + chance.uniform(0.0, 80.0), 2) for _ in range(chance.randint(0, 2)))),
        # Half of what FencePolicy.drift allows between two clocks, each.
        rates={name: chance.choice((1.0, 1.0, 0.996, 1.004)) for name in machines},
        skews={name: chance.choice((0.0, 0.0, -2.0, 2.0)) for name in machines},
    )


def _work(chance: Random) -> tuple[Work, ...]:
    return tuple(
        Work(
            name=f"job-{number}",
            at=round(BEGIN + chance.uniform(0.0, 25.0), 2),
            loss_policy=chance.choice(("Wait", "Wait", "Failover", "Failover", "Duplicate")),
            seconds=chance.choice((2.0, 25.0, 45.0)),
            grace_seconds=chance.choice((0, 3, 8)),
            grace_used=chance.choice((0.0, 0.5, 1.0)),
        )
        for number in range(chance.randint(2, 5))
    )


def _faults(chance: Random) -> tuple[Fault, ...]:
    faults: list[Fault] = []
    end = BEGIN + chance.uniform(0.0, 30.0)
    for _ in range(chance.randint(1, 7)):
        kind = chance.choice(_LINKS if chance.random() < _LINKS_PART else tuple(KINDS))
        places, least, most = KINDS[kind]
        at = max(1.0, end + chance.choice(GAPS))
        faults.append(Fault(round(at, 2), kind, chance.choice(places), round(chance.uniform(least, most), 2)))
        end = faults[-1].ends
    return tuple(sorted(faults, key=lambda one: one.at))
