"""What a history of laboratories is to be: what instruments publish, and what goes wrong when. From the seed. Pure."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from twin.story import GAPS, NATS, Fault, Story

GATEWAYS = ("lab-1", "lab-2")
SINK, HUB = "sink", "hub"
_PROGRAMS = (*GATEWAYS, SINK, HUB)
KINDS: dict[str, tuple[tuple[str, ...], float, float]] = {
    "cut": (_PROGRAMS, 0.5, 20.0),
    "hold up": (_PROGRAMS, 1.0, 20.0),
    "hold down": (_PROGRAMS, 1.0, 20.0),
    "lag": (_PROGRAMS, 2.0, 20.0),
    "freeze": (_PROGRAMS, 1.0, 30.0),
    "kill": (_PROGRAMS, 0.2, 10.0),
    "kill at work": ((*GATEWAYS, SINK), 0.5, 8.0),
    "power cut": ((SINK,), 0.5, 8.0),
    "disk full": ((*GATEWAYS, SINK), 1.0, 15.0),
    "clock jump": (_PROGRAMS, 5.0, 60.0),
    "broker cut": (GATEWAYS, 0.2, 10.0),
    "broker hold up": (GATEWAYS, 0.5, 30.0),
    "broker hold down": (GATEWAYS, 0.5, 30.0),
    "kill nats": ((NATS,), 0.5, 15.0),
    "no leader": ((NATS,), 0.5, 8.0),
    "full disk": ((NATS,), 1.0, 15.0),
    "slow disk": ((NATS,), 2.0, 15.0),
    "log lost": ((NATS,), 0.5, 5.0),
}
# What leaves things half done, and is what hurts most: so often it is one of these.
_ENDS, _ENDS_PART = ("kill at work", "power cut", "kill", "broker cut", "cut", "kill nats"), 0.5
# These come after so many steps of the work.
_IN_WORK = ("kill at work", "power cut")
# When gateways are subscribed, and instruments begin.
BEGIN = 6.0
_WORK_SECONDS = 25.0


@dataclass(frozen=True)
class Series:
    """What one instrument publishes in one run: numbered readings, `pause` seconds apart in bursts of `burst`."""

    gateway: str
    run: str
    instrument: str
    at: float
    count: int
    pause: float
    burst: int

    @property
    def topic(self) -> str:
        return f"{self.gateway}/{self.run}/{self.instrument}/data"

    def payload(self, number: int) -> bytes:
        return f"{self.topic} {number:05d} {'x' * (number * 37 % 90)}\n".encode()

    def __str__(self) -> str:
        return f"{self.at:7.2f} s  {self.topic}: {self.count} readings, {self.burst} at once, {self.pause:g} s between"


@dataclass(frozen=True)
class Shape:
    """How one gateway's Stream is set up; `spec` is what differs from the plainest one."""

    spec: dict[str, Any] = field(default_factory=dict)
    receive_maximum: int = 1000

    def __str__(self) -> str:
        return f"{self.spec or 'raw'} with {self.receive_maximum} under way"


@dataclass(frozen=True)
class LabStory(Story):
    """Beside faults: how large the gateways' logs are, their Streams, and whether all feed the same datasets."""

    log_bytes: int = 1_000_000
    are_datasets_shared: bool = False
    shapes: dict[str, Shape] = field(default_factory=dict)

    def __str__(self) -> str:
        streams = ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())
        shared = "the same datasets" if self.are_datasets_shared else "datasets of their own"
        return f"logs of {self.log_bytes} bytes; {shared}; {streams}\n{super().__str__()}"


_SPECS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"roll": {"bytes": 1024}},
    {"format": "jsonl"},
    {"format": "jsonl", "compression": "Zstd", "roll": {"age": "3s"}},
    {"format": "jsonl", "compression": "Zstd", "roll": {"bytes": 1024, "age": "8s"}},
)


def told(seed: int) -> LabStory:
    """Tell the story of a seed."""
    chance = Random(f"laboratories {seed}")
    gateways = GATEWAYS[: chance.choice((1, 2, 2))]
    return LabStory(
        seed=seed,
        work=_work(chance, gateways),
        faults=_faults(chance, gateways),
        rates={name: chance.choice((1.0, 1.0, 0.996, 1.004)) for name in _PROGRAMS},
        skews={name: chance.choice((0.0, 0.0, -2.0, 2.0)) for name in _PROGRAMS},
        log_bytes=chance.choice((8_000, 20_000, 1_000_000)),
        are_datasets_shared=chance.random() < 0.3,
        shapes={name: Shape(chance.choice(_SPECS), chance.choice((10, 50, 1000))) for name in gateways},
    )


def _work(chance: Random, gateways: tuple[str, ...]) -> tuple[Series, ...]:
    return tuple(
        Series(
            gateway=gateway,
            run=run,
            instrument=f"i{number}",
            at=round(BEGIN + chance.uniform(0.0, _WORK_SECONDS / 2), 2),
            count=chance.randint(1, 40),
            pause=chance.choice((0.02, 0.2, 0.7)),
            burst=chance.choice((1, 1, 5)),
        )
        for gateway in gateways
        for run in ("r1", "r2")[: chance.randint(1, 2)]
        for number in range(chance.randint(1, 2))
    )


def _faults(chance: Random, gateways: tuple[str, ...]) -> tuple[Fault, ...]:
    faults: list[Fault] = []
    end = BEGIN + chance.uniform(0.0, _WORK_SECONDS / 2)
    for _ in range(chance.randint(1, 6)):
        kind = chance.choice(_ENDS if chance.random() < _ENDS_PART else tuple(KINDS))
        places, least, most = KINDS[kind]
        where = chance.choice([place for place in places if place in (*gateways, SINK, HUB, NATS)])
        at, seconds = max(1.0, end + chance.choice(GAPS)), chance.uniform(least, most)
        steps = chance.randint(0, chance.choice((6, 20, 60))) if kind in _IN_WORK else 0
        faults.append(Fault(round(at, 2), kind, where, round(seconds, 2), steps))
        end = faults[-1].ends
    return tuple(sorted(faults, key=lambda one: one.at))
