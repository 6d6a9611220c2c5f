"""Connections between processes and the NATS server: two pipes each, in order as TCP is, and what goes wrong with them.

Owns when bytes arrive. What is written into a pipe arrives in order or not at all, and nothing arrives behind a reset.
It must not know what travels.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from twin.machine import Machine, Process, VirtualLoop

# One way over a healthy link, at least and at most.
_LEAST_SECONDS, _MOST_SECONDS = 0.0005, 0.004


@dataclass
class Weather:
    """How the ways between one machine and the server are now.

    Attributes:
        is_cut: connections break, and none can be made.
        is_held: nothing arrives, in the directions named ("up", "down"); it comes when that is over.
        lag_seconds: everything takes so much longer.
    """

    is_cut: bool = False
    held: set[str] = field(default_factory=set)
    lag_seconds: float = 0.0


class Network:
    """All links of one history."""

    def __init__(self, loop: VirtualLoop, chance: Random) -> None:
        self.loop, self._chance = loop, chance
        self._weather: dict[Machine, Weather] = {}
        self._links: dict[Machine, list[Link]] = {}

    def weather(self, machine: Machine) -> Weather:
        weather = self._weather.get(machine)
        if weather is None:
            weather = self._weather[machine] = Weather()
        return weather

    def connect(self, process: Process) -> "Link":
        """Make a link for a process; the other end is the server's to take."""
        link = Link(self, process)
        links = self._links.setdefault(process.machine, [])
        links[:] = [one for one in links if one.is_open]
        links.append(link)
        return link

    def latency(self, machine: Machine) -> float:
        """Give how long one way takes this time."""
        return self._chance.uniform(_LEAST_SECONDS, _MOST_SECONDS) + self.weather(machine).lag_seconds

    def cut(self, machine: Machine) -> None:
        """Break all connections of a machine; none comes about until `mend`."""
        self.weather(machine).is_cut = True
        for link in self.links(machine):
            link.reset()

    def hold(self, machine: Machine, *directions: str) -> None:
        """Let nothing arrive in these directions. Whoever sends pings notices within seconds and gives up."""
        self.weather(machine).held |= set(directions)
        for link in self.links(machine):
            link.notice_silence()

    def mend(self, machine: Machine) -> None:
        """Let all ways be good again; what was held arrives."""
        weather = self.weather(machine)
        weather.is_cut, weather.lag_seconds = False, 0.0
        weather.held.clear()
        for link in self.links(machine):
            link.resume()

    def links(self, machine: Machine) -> "Iterable[Link]":
        return [link for link in self._links.get(machine, ()) if link.is_open]

    def silence_seconds(self) -> float:
        """Give how long one who sends pings takes to notice: two of them five seconds apart (bus/link.py)."""
        return self._chance.uniform(10.0, 15.0)


class Pipe:
    """One direction of a link."""

    def __init__(self, link: "Link", direction: str) -> None:
        self._link, self._direction = link, direction
        self._queue: deque[tuple[float, Any]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0.0
        self.deliver: Callable[[Any], None] = lambda _item: None
        self.context: Any = None

    def send(self, item: Any) -> None:
        """Put something in; it arrives behind everything before it."""
        network = self._link.network
        at = max(self._last, network.loop.clock.now + network.latency(self._link.process.machine))
        self._last = at
        self._queue.append((at, item))
        self._schedule()

    def _is_held(self) -> bool:
        return self._direction in self._link.network.weather(self._link.process.machine).held

    def _schedule(self) -> None:
        if self._timer is None and self._queue and not self._is_held():
            loop = self._link.network.loop
            self._timer = loop.call_true(self._queue[0][0], self._arrive, context=self.context)

    def _arrive(self) -> None:
        self._timer = None
        now = self._link.network.loop.clock.now
        while self._queue and self._queue[0][0] <= now and not self._is_held():
            self.deliver(self._queue.popleft()[1])
        self._schedule()

    def resume(self) -> None:
        self._schedule()

    def drop(self) -> None:
        """Forget what is under way."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Link:
    """One connection of a process to the server."""

    def __init__(self, network: Network, process: Process) -> None:
        self.network, self.process = network, process
        self.up, self.down = Pipe(self, "up"), Pipe(self, "down")
        self.down.context = process.context
        self.up.context = contextvars.Context()  # nobody's: what was sent arrives also when its sender is dead
        self.is_open = True
        self.on_reset_here: Callable[[], None] = lambda: None
        self.on_reset_there: Callable[[], None] = lambda: None
        process.on_death.append(self.hang_up)

    def hang_up(self) -> None:
        """Close this end: what was written before still arrives, then the other end learns of it."""
        if self.is_open:
            self.is_open = False
            self.down.drop()
            self.up.send(_END)

    def reset(self) -> None:
        """Break it: what is under way is lost in both directions, and both ends learn of it."""
        if not self.is_open:
            return
        self.is_open = False
        self.up.drop()
        self.down.drop()
        self.on_reset_there()
        self.network.loop.call_true(self.network.loop.clock.now, self.on_reset_here, context=self.process.context)

    def notice_silence(self) -> None:
        """Give up in some seconds if the way is held still."""
        self.network.loop.call_later(self.network.silence_seconds(), self._give_up)

    def _give_up(self) -> None:
        if self.is_open and self.network.weather(self.process.machine).held:
            self.reset()

    def resume(self) -> None:
        self.up.resume()
        self.down.resume()


_END = object()
