"""Commands in pods that only stand for something: answered by what they stand for, no process is started.

Owns who answers for which pods; must not know what is answered.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from atoll.kubeapi.http.channels import STDERR, STDOUT, Channels
from atoll.kubeapi.resource import Object
from atoll.sandbox.kubelet.exec_session import exit_status

APP = "k8s-app"
"""The label by which pods of the system say what they are."""
_NOT_FOUND = 127  # the exit code of shells


@dataclass(frozen=True)
class Place:
    """Where a command is run."""

    pod: Object
    container: str


class Answerer(Protocol):
    """Answers commands in the place of some program."""

    async def answer(self, place: Place, command: Sequence[str]) -> bytes | None:
        """Return what the command prints; None if there is no such command there."""


class StandIns:
    """Who answers commands, by the pods' `k8s-app`."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._answerers: dict[str, Answerer] = {}

    def play(self, app: str, answerer: Answerer) -> None:
        """Have `answerer` answer in pods of `app`."""
        self._answerers[app] = answerer

    async def answer(self, place: Place, command: Sequence[str]) -> bytes | None:
        """Return what a command prints; None if nobody plays it."""
        answerer = self._answerers.get((place.pod["metadata"].get("labels") or {}).get(APP, ""))
        return None if answerer is None else await answerer.answer(place, command)


class StandInSession:
    """One command in such a pod."""

    def __init__(self, stand_ins: StandIns, place: Place, command: Sequence[str]) -> None:
        """Answer when the conversation begins."""
        self._stand_ins = stand_ins
        self._place = place
        self._command = command

    async def run(self, channels: Channels) -> dict[str, Any]:
        """Print the answer. Raises ClientGone."""
        answer = await self._stand_ins.answer(self._place, self._command)
        if answer is None:
            name = self._place.pod["metadata"]["name"]
            message = f"sandbox: {shlex.join(self._command)}: no such command in {name}, which only stands for a pod\n"
            await channels.send(STDERR, message.encode())
            return exit_status(_NOT_FOUND)
        await channels.send(STDOUT, answer)
        return exit_status(0)
