"""What can go wrong in a laboratory, drawn by a seed."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from exactly_once.lab import Lab

Act = Callable[[Lab], None]


@dataclass(frozen=True)
class Fault:
    """Something that begins and ends; in between the laboratory goes on with it."""

    name: str
    begin: Act
    end: Act


KILLS = (
    Fault("gateway killed", lambda lab: lab.gateway.end(), lambda lab: lab.gateway.start()),
    Fault("sink killed", lambda lab: lab.sink.end(), lambda lab: lab.sink.start()),
    Fault("NATS killed", lambda lab: lab.kill_node(), lambda lab: lab.start_node()),
    Fault("hub killed", lambda lab: lab.hub.kill9(), lambda lab: lab.start_hub()),
)
CUTS = (
    Fault("broker's link cut", lambda lab: lab.to_broker.cut(), lambda lab: lab.to_broker.mend()),
    Fault("uplink cut", lambda lab: lab.uplink.cut(), lambda lab: lab.uplink.mend()),
    Fault("uplink stalled", lambda lab: lab.uplink.stall(), lambda lab: lab.uplink.mend()),
    Fault("sink's link cut", lambda lab: lab.sink_link.cut(), lambda lab: lab.sink_link.mend()),
    Fault("sink's link stalled", lambda lab: lab.sink_link.stall(), lambda lab: lab.sink_link.mend()),
)
FULL_DISKS = (
    Fault("gateway's disk full", lambda lab: lab.gateway_disk.fill(), lambda lab: lab.gateway_disk.free()),
    Fault("volume full", lambda lab: lab.volume.fill(), lambda lab: lab.volume.free()),
)
_AT_ONCE = 3


def faults_of(lab: Lab) -> tuple[Fault, ...]:
    """Give what can be done to this laboratory."""
    return (*KILLS, *CUTS, *(FULL_DISKS if lab.volume.is_small else ()))


def wreak(lab: Lab, seed: int) -> list[str]:
    """Do what the seed says, some of it at the same time; return when all is whole again. Gives what was done."""
    chooser = random.Random(seed)
    drawn = _one_a_cable(chooser.sample(faults_of(lab), _AT_ONCE))
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
