"""Somebody who writes numbers into objects through one hub after the other, and remembers what was acknowledged.

Every write names the version that it changes, so that one whose answer was lost can come late and change nothing.
"""

import threading
from typing import Any

import httpx

from campaign.evidence import Read, Register
from campaign.whole import Federation
from hub.support import collection, manifest, path_of

NAMESPACE, COUNT = "registers", 6
_PAUSE_SECONDS, _PATIENCE_SECONDS = 0.15, 6.0


class Writer:
    """Writes in a thread of its own until told that it is enough."""

    def __init__(self, federation: Federation, prefix: str) -> None:
        self._urls, self._prefix = federation.hub_urls, prefix
        self._versions: dict[str, str] = {}
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self.found: dict[str, Register] = {}
        self.reads: list[Read] = []
        self.acknowledged = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._enough.set()
        self._thread.join(60)

    def _run(self) -> None:
        number = 0
        with httpx.Client(timeout=_PATIENCE_SECONDS) as client:
            while not self._enough.wait(_PAUSE_SECONDS):
                number += 1
                name = f"{self._prefix}-{number % COUNT}"
                self._write(client, number // COUNT % len(self._urls), name, number)

    def _write(self, client: httpx.Client, hub: int, name: str, number: int) -> None:
        before = self.found.get(name, Register(name, None))
        self.found[name] = Register(name, before.acknowledged, (*before.unknown, number))
        try:
            answer = self._send(client, hub, name, number)
            if answer.status_code in (200, 201):
                self._keep(name, answer.json(), number)
            elif answer.status_code == 409:
                self._learn(client, hub, name)
            elif 400 <= answer.status_code < 500 and answer.status_code != 429:
                raise AssertionError(answer.text)
        except httpx.HTTPError:
            self._versions.pop(name, None)

    def _send(self, client: httpx.Client, hub: int, name: str, number: int) -> httpx.Response:
        wanted = manifest("Dataset", name, {"storageClass": f"class-{number}"}, NAMESPACE)
        if self.found[name].acknowledged is None:
            return client.post(f"{self._urls[hub]}{collection(wanted)}", json=wanted)
        if name not in self._versions:
            self._learn(client, hub, name)
        wanted["metadata"]["resourceVersion"] = self._versions[name]
        return client.put(f"{self._urls[hub]}{path_of(wanted)}", json=wanted)

    def _learn(self, client: httpx.Client, hub: int, name: str) -> None:
        """Read what is there: one of the writes whose answer was lost, or what was acknowledged."""
        answer = client.get(f"{self._urls[hub]}{path_of(manifest('Dataset', name, {}, NAMESPACE))}")
        answer.raise_for_status()
        value = value_of(answer.json())
        self.reads.append(Read(self.found[name], hub, value))
        self._versions[name] = answer.json()["metadata"]["resourceVersion"]
        if self.found[name].acknowledged is None:
            self.found[name] = Register(name, value, self.found[name].unknown)

    def _keep(self, name: str, obj: dict[str, Any], number: int) -> None:
        self._versions[name] = obj["metadata"]["resourceVersion"]
        self.found[name] = Register(name, number)
        self.acknowledged += 1

    def read(self, federation: Federation, hub: int) -> list[Read]:
        """Read what one hub has in each register."""
        return [Read(register, hub, self._value(federation, hub, name)) for name, register in self.found.items()]

    def _value(self, federation: Federation, hub: int, name: str) -> int | None:
        path = path_of(manifest("Dataset", name, {}, NAMESPACE))
        answer = federation.insist(lambda: federation.ask("GET", path, hub=hub), 200, 404)
        return value_of(answer.json()) if answer.status_code == 200 else None


def value_of(obj: dict[str, Any]) -> int:
    return int(obj["spec"]["storageClass"].removeprefix("class-"))
