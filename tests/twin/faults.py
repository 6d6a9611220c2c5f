"""Does to a history what a story says. Owns how each kind of fault begins and ends."""

import asyncio
from typing import TYPE_CHECKING

from twin.history import History
from twin.story import GIT, Fault

if TYPE_CHECKING:
    from twin.world import World

_LAG_SECONDS = 1.5
_SYNC_SECONDS = 1.2
NATS_FAULTS = ("kill nats", "no leader", "full disk", "slow disk")
_WEATHER = ("cut", "hold up", "hold down", "lag")


class Breaker:
    """Breaks what every history has: programs, their ways to NATS, and NATS."""

    deaths: tuple[str, ...] = ("kill", "reboot")

    def __init__(self, history: History) -> None:
        self._history = history
        self._standing: list[Fault] = []

    async def let_happen(self, fault: Fault) -> None:
        """Let a fault begin and end at its times. Of equal ones that overlap the last to end ends all."""
        await asyncio.sleep(max(0.0, fault.at - self._history.clock.now))
        self._standing.append(fault)
        self._begin(fault)
        await asyncio.sleep(fault.seconds)
        self._standing.remove(fault)
        if fault.kind == "clock jump" or not any(self._excludes(one, fault) for one in self._standing):
            self._end(fault)

    def _begin(self, fault: Fault) -> None:
        if fault.kind in NATS_FAULTS:
            self._nats(fault.kind, is_so=True)
        else:
            self._break(fault)

    def _end(self, fault: Fault) -> None:
        history, where = self._history, fault.where
        if fault.kind in NATS_FAULTS:
            self._nats(fault.kind, is_so=False)
        elif fault.kind in self.deaths:
            history.by_name[where].start()
        elif fault.kind == "freeze":
            if history.by_name[where].process.is_frozen:
                history.loop.thaw(history.by_name[where].process)
        elif fault.kind == "clock jump":
            history.by_name[where].machine.skew_seconds -= _jump(fault)
        else:
            history.network.mend(history.by_name[where].machine)
            for one in self._standing:
                if one.where == where and one.kind in _WEATHER:
                    self._break(one)

    def _break(self, fault: Fault) -> None:
        network, program = self._history.network, self._history.by_name[fault.where]
        match fault.kind:
            case "cut":
                network.cut(program.machine)
            case "hold up" | "hold down":
                network.hold(program.machine, fault.kind.removeprefix("hold "))
            case "lag":
                network.weather(program.machine).lag_seconds = _LAG_SECONDS
            case "kill":
                program.kill()
            case "reboot":
                program.kill()
                program.machine.boots += 1
            case "freeze":
                program.process.is_frozen = program.process.is_alive
            case "clock jump":
                program.machine.skew_seconds += _jump(fault)

    def _nats(self, kind: str, *, is_so: bool) -> None:
        server = self._history.server
        match kind:
            case "kill nats":
                (server.kill if is_so else server.start)()
            case "no leader":
                server.moods.is_mute = is_so
            case "full disk":
                server.moods.is_full = is_so
            case "slow disk":
                server.moods.sync_seconds = _SYNC_SECONDS if is_so else 0.0

    def _excludes(self, standing: Fault, ended: Fault) -> bool:
        """Tell whether a fault that still stands is of the same sort, at the same place."""
        if standing.where != ended.where:
            return False
        return standing.kind == ended.kind or (standing.kind in self.deaths and ended.kind in self.deaths)


class FederationBreaker(Breaker):
    """Breaks API servers, policies and Git as well."""

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._world = world

    def _begin(self, fault: Fault) -> None:
        if fault.where == GIT:
            self._world.repository.is_away = True
        elif fault.where in self._world.members:
            self._api(fault, is_so=True)
        else:
            super()._begin(fault)

    def _end(self, fault: Fault) -> None:
        if fault.where == GIT:
            self._world.repository.is_away = False
        elif fault.where in self._world.members:
            self._api(fault, is_so=False)
        else:
            super()._end(fault)

    def _api(self, fault: Fault, *, is_so: bool) -> None:
        manners = self._world.members[fault.where].manners
        match fault.kind:
            case "api away":
                manners.is_away = is_so
                if is_so:
                    manners.cut()
            case "api hangs":
                manners.hangs = is_so
            case "api answers are lost":
                manners.loses = 0.5 if is_so else 0.0
            case "watches break":
                manners.cut()
            case "a policy is deleted by hand" | "a policy is edited by hand":
                if is_so:
                    self._by_hand(fault)
            case _:
                manners.refuses = 0.5 if is_so else 0.0
                manners.code = int(fault.kind.removeprefix("api "))

    def _by_hand(self, fault: Fault) -> None:
        member = self._world.members[fault.where]
        hand = member.policies.delete if "deleted" in fault.kind else member.policies.edit
        member.process.start(hand("base"))

    def _excludes(self, standing: Fault, ended: Fault) -> bool:
        is_refusal = standing.kind.startswith("api ") and standing.kind[-1].isdigit()
        is_other = standing.where == ended.where and is_refusal and ended.kind[-1].isdigit()
        return is_other or super()._excludes(standing, ended)


def _jump(fault: Fault) -> float:
    """Give how far a clock jumps: minutes, forwards or backwards."""
    return 60.0 * (fault.seconds - 30.0)
