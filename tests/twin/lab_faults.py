"""Does to laboratories what a story says: deaths in the middle of work, lost power, full disks, brokers' links."""

from typing import TYPE_CHECKING

from atoll.federation.bus.subjects import lab_stream
from rig.forgetful_tree import CUTS
from twin.faults import Breaker
from twin.lab_story import SINK
from twin.network import Network
from twin.story import Fault

if TYPE_CHECKING:
    from twin.lab import Lab


class LabBreaker(Breaker):
    """Breaks one laboratory history."""

    deaths = ("kill", "kill at work", "power cut")

    def __init__(self, lab: "Lab") -> None:
        super().__init__(lab)
        self._lab = lab

    def _begin(self, fault: Fault) -> None:
        lab = self._lab
        match fault.kind:
            case "kill at work" | "power cut":
                lab.by_name[fault.where].process.steps_left = fault.steps
            case "disk full":
                lab.disks[fault.where].is_full = True
            case "log lost":
                lab.server.kill()
                for gateway in lab.story.shapes:
                    lab.server.streams.streams.pop(lab_stream(gateway), None)
            case "broker cut":
                self._to_broker(fault.where).cut(lab.by_name[fault.where].machine)
            case "broker hold up" | "broker hold down":
                self._to_broker(fault.where).hold(lab.by_name[fault.where].machine, fault.kind.rpartition(" ")[2])
            case _:
                super()._begin(fault)

    def _end(self, fault: Fault) -> None:
        lab = self._lab
        match fault.kind:
            case "kill" | "kill at work" | "power cut":
                self._come_back(fault)
            case "disk full":
                lab.disks[fault.where].is_full = False
            case "log lost":
                lab.server.start()
            case "broker cut" | "broker hold up" | "broker hold down":
                self._to_broker(fault.where).mend(lab.by_name[fault.where].machine)
                for one in self._standing:
                    if one.where == fault.where and one.kind.startswith("broker"):
                        self._begin(one)
            case _:
                super()._end(fault)

    def _come_back(self, fault: Fault) -> None:
        """Start what has died, with the files that its death left; what is still alive dies now if it must."""
        program = self._lab.by_name[fault.where]
        program.process.steps_left = None
        if fault.kind == "power cut":
            program.kill()
            self._lab.disks[fault.where].cut(self._lab.chance.choice(CUTS), self._lab.chance)
        if program.process.is_alive:
            return
        if fault.where == SINK:
            self._lab.look_after_death()
        program.start()

    def _to_broker(self, gateway: str) -> Network:
        return self._lab.brokers[gateway].network

    def _excludes(self, standing: Fault, ended: Fault) -> bool:
        if ended.kind == "log lost":  # its end is the server's start
            return standing.kind == "kill nats"
        return super()._excludes(standing, ended)
