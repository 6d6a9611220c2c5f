"""Bugs to plant in a federation, one for each guarantee at least, each the kind of slip that the campaign is to find.

Owns the slips, and the weather that brings each out. `serve.py` plants them in processes of the roles named here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from campaign.schedule import Planned
from exactly_once import bugs as of_readings


def forgets_the_lease() -> None:
    """An agent that lets runs of lossPolicy Failover go on when nobody hears of it any more."""
    from atoll.edge.member import fence

    fence.decide = lambda order, record, standing: "go on" if fence.is_begun(record) else "begin"
    fence.deadline = lambda order, left, *, start, now: None  # type: ignore[assignment, misc]

    async def prolong(*_: Any) -> None:
        """No deadline in the cluster either."""

    fence.Fence.first_deadline = lambda *_: None  # type: ignore[method-assign, assignment]
    fence.Fence.prolong = prolong  # type: ignore[method-assign, assignment]


def takes_silence_for_an_order() -> None:
    """An agent that binds every run to a lease, those that are to wait as well."""
    from atoll.federation.bus.messages import RunOrder

    decode = RunOrder.decode.__func__  # type: ignore[attr-defined]

    def hasty(cls: Any, data: bytes) -> Any:
        order = decode(cls, data)
        return order if order.lease_seconds else order.model_copy(update={"lease_seconds": 6.0})

    RunOrder.decode = classmethod(hasty)  # type: ignore[assignment, method-assign]


def acknowledges_before_it_stores() -> None:
    """A gateway that has told its broker that it has what it has only in memory."""
    of_readings.acknowledges_before_it_stores()


def prunes_what_is_others() -> None:
    """An agent that deletes what bears its label, whoever has put it there."""
    from atoll.edge.member import policy_objects

    policy_objects.was_applied_by = lambda *_: True  # type: ignore[assignment]


def puts_nothing_back() -> None:
    """An agent for which what it applied once stands for ever."""
    from atoll.edge.member.policies import PolicyController
    from atoll.edge.member.policy_objects import PolicyObjects
    from atoll.edge.member.work import DONE, Result

    async def no_drift(*_: Any) -> None:
        """Whatever was applied once stands."""

    async def no_heal(self: PolicyController, key: str) -> Result:
        return DONE

    PolicyObjects.drift = no_drift  # type: ignore[method-assign, assignment]
    PolicyController.heal = no_heal  # type: ignore[method-assign]


def takes_a_lost_answer_for_a_yes() -> None:
    """A hub that acknowledges a write of which NATS has not said that it is stored."""
    from atoll.hub.store.jetstream import JetStreamStorage
    from atoll.kubeapi.errors import Unavailable

    write = JetStreamStorage.write

    async def hopeful(self: JetStreamStorage, key: str, value: bytes | None, *, expected: int) -> int:
        try:
            return await write(self, key, value, expected=expected)
        except Unavailable:
            return expected + 1

    JetStreamStorage.write = hopeful  # type: ignore[method-assign]


def signs_for_everything() -> None:
    """A hub that vouches for members without saying what they may do."""
    from atoll.federation.bus import permissions

    for role in ("agent", "gateway"):
        setattr(permissions, role, lambda *_, **__: permissions.EVERYTHING)


def believes_what_it_is_told() -> None:
    """A hub that stores what its own schema forbids."""
    from atoll.kubeapi import writing

    def admit(self: Any, obj: Any, old: Any) -> Any:
        prepared = self.rt.strategy.prepare(obj, old)
        return obj if prepared.causes else prepared.obj

    writing.Writer._admit = admit  # type: ignore[method-assign]


def asks_nobody_whether_they_are_there() -> None:
    """A member for which a connection stands as long as nobody says that it does not."""
    from atoll.federation.bus.client import NatsClient

    async def no_pings(*_: Any) -> None:
        """Whoever is not there says so."""

    NatsClient._ping_interval = no_pings  # type: ignore[method-assign]


@dataclass(frozen=True)
class Bug:
    """A slip: of which guarantee, whose, what brings it out, and how long the jobs are that are to suffer from it."""

    plant: Callable[[], None]
    guarantee: str
    victims: tuple[str, ...]
    script: Sequence[Planned] = ()
    work_seconds: tuple[float, float] = (3.0, 10.0)
    needs_hosts: bool = False
    """Whether what brings it out goes wrong below TCP."""


def _again(kind: str, place: str, *, times: int, every: float, lasts: float, first: float = 4.0) -> list[Planned]:
    return [Planned(first + number * every, kind, place, lasts, number) for number in range(times)]


_CLUSTERS = ("cloud-eu", "onprem-gpu")
_LONG_CUT = [Planned(8.0, "cluster cut off", name, 45.0, 0) for name in _CLUSTERS[:1]]
# All at once, which no seed draws: nothing can be stored then, and nothing may be acknowledged. Packets are late, so
# that writes are on their way when the servers go: a hub asks for an audit record first, and stores quickly after it.
_NO_NATS = [
    fault
    for node in ("n0", "n1", "n2")
    for fault in _again("NATS server killed", node, times=5, every=9.0, lasts=3.0, first=10.0)
]
_LATE = [
    Planned(5.0, "hub's packets late, twice and out of order", hub, 45.0, 0)  # of 0 is drawn: 0.1 to 0.3 s
    for hub in ("hub-0", "hub-1")
]
BUGS: Mapping[str, Bug] = {
    bug.plant.__name__: bug
    for bug in (
        Bug(forgets_the_lease, "G1", ("agent",), _LONG_CUT, (50.0, 60.0)),
        Bug(takes_silence_for_an_order, "G2", ("agent",), _LONG_CUT, (20.0, 30.0)),
        Bug(
            acknowledges_before_it_stores,
            "G3",
            ("gateway",),
            _again("gateway killed", "lab-0", times=12, every=2.5, lasts=0.3),
        ),
        Bug(
            prunes_what_is_others,
            "G4",
            ("agent",),
            _again("nonsense committed", "the repository", times=1, every=1, lasts=0.1),
        ),
        Bug(
            puts_nothing_back,
            "G4",
            ("agent",),
            _again("policy deleted by hand", _CLUSTERS[0], times=2, every=2, lasts=0.1),
        ),
        Bug(takes_a_lost_answer_for_a_yes, "G5", ("hub",), [*_NO_NATS, *_LATE], needs_hosts=True),
        Bug(signs_for_everything, "G6", ("hub",)),
        Bug(believes_what_it_is_told, "G7", ("hub",)),
        Bug(
            asks_nobody_whether_they_are_there,
            "Settled",
            ("agent",),
            _again("cluster's firewall forgets", _CLUSTERS[0], times=1, every=1, first=20.0, lasts=0.1),
            needs_hosts=True,
        ),
    )
}


def plant(name: str) -> None:
    """Plant a bug in this process."""
    BUGS[name].plant()
