"""What can go wrong in a laboratory, drawn by a seed."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from exactly_once.disks import Disk, Surface
from exactly_once.lab import Lab
from exactly_once.witness import broken_promise, promised
from rig.forgetful_disk import ForgetfulDisk
from rig.forgetful_tree import CUTS as CUTS_OF_POWER

Act = Callable[[Lab], None]


@dataclass(frozen=True)
class Fault:
    """Something that begins and ends; in between the laboratory goes on with it."""

    name: str
    begin: Act
    end: Act


def _small(disk: Surface) -> Disk:
    assert isinstance(disk, Disk)
    return disk


KILLS = (
    Fault("gateway killed", lambda lab: lab.gateway.end(), lambda lab: lab.gateway.start()),
    Fault("sink killed", lambda lab: lab.sink.end(), lambda lab: lab.sink.start()),
    Fault("NATS killed", lambda lab: lab.site.kill_node(), lambda lab: lab.site.start_node()),
    Fault("hub killed", lambda lab: lab.site.hub.kill9(), lambda lab: lab.site.hub.start()),
)
CUTS = (
    Fault("broker's link cut", lambda lab: lab.to_broker.cut(), lambda lab: lab.to_broker.mend()),
    Fault("uplink cut", lambda lab: lab.uplink.cut(), lambda lab: lab.uplink.mend()),
    Fault("uplink stalled", lambda lab: lab.uplink.stall(), lambda lab: lab.uplink.mend()),
    Fault("sink's link cut", lambda lab: lab.sink_link.cut(), lambda lab: lab.sink_link.mend()),
    Fault("sink's link stalled", lambda lab: lab.sink_link.stall(), lambda lab: lab.sink_link.mend()),
)
FULL_DISKS = (
    Fault(
        "gateway's disk full", lambda lab: _small(lab.gateway_disk).fill(), lambda lab: _small(lab.gateway_disk).free()
    ),
    Fault("volume full", lambda lab: _small(lab.volume).fill(), lambda lab: _small(lab.volume).free()),
)
_AT_ONCE, _POWER_CUTS = 4, 2


def power_cuts(chooser: random.Random) -> tuple[Fault, ...]:
    """Give the power cuts of a laboratory on disks that forget, each with what it leaves."""

    def after(kill: Act, disk: Callable[[Lab], Surface | None]) -> Act:
        how, seed = chooser.choice(CUTS_OF_POWER), chooser.randrange(1 << 30)

        def act(lab: Lab) -> None:
            kill(lab)
            told, found = promised(lab), disk(lab)
            assert isinstance(found, ForgetfulDisk)
            found.cut(how, seed)
            assert broken_promise(lab, told) == []

        return act

    gateway, sink, nats, _ = KILLS
    disks = (lambda lab: lab.gateway_disk, lambda lab: lab.volume, lambda lab: lab.site.nats_disk)
    return tuple(
        Fault(f"power of {kill.name.removesuffix(' killed')} cut off", after(kill.begin, disk), kill.end)
        for kill, disk in zip((gateway, sink, nats), disks, strict=True)
    )


def drawn_for(lab: Lab, chooser: random.Random) -> list[Fault]:
    """Draw what is done to a laboratory: some of what can be."""
    if isinstance(lab.volume, ForgetfulDisk):
        others = (*CUTS, KILLS[-1])
        return [
            *chooser.sample(power_cuts(chooser), _POWER_CUTS),
            *chooser.sample(others, _AT_ONCE - _POWER_CUTS),
        ]
    return chooser.sample((*KILLS, *CUTS, *(FULL_DISKS if lab.volume.is_small else ())), _AT_ONCE)


def wreak(lab: Lab, seed: int) -> list[str]:
    """Do what the seed says, some of it at the same time; return when all is whole again. Gives what was done."""
    chooser = random.Random(seed)
    drawn = _one_a_cable(drawn_for(lab, chooser))
    errors: list[BaseException] = []

    def suffer(fault: Fault, after: float, seconds: float) -> None:
        try:
            time.sleep(after)
            fault.begin(lab)
            try:
                time.sleep(seconds)
            finally:
                fault.end(lab)
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=suffer, args=(fault, chooser.uniform(0, 0.8), chooser.uniform(0.05, 0.6)))
        for fault in drawn
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [fault.name for fault in drawn]


def _one_a_cable(drawn: list[Fault]) -> list[Fault]:
    """Leave out a stall of a cable that is cut: the end of one would mend the other."""
    cut = {fault.name.removesuffix(" cut") for fault in drawn}
    return [fault for fault in drawn if fault.name.removesuffix(" stalled") not in cut - {fault.name}]
