"""The network policies of one cluster, watched from outside: what was there when, and what people did to it by hand.

Owns the witness of policies and the hands. It must not know what the hub or the agent say of them.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from atoll.kubeapi.errors import ApiError
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import NETWORK_POLICY
from atoll.sandbox.watching import follow

FOREIGN = ("theirs", "theirs-copied")
_SPEC = {"podSelector": {"matchLabels": {"app": "theirs"}}, "policyTypes": ["Egress"]}


@dataclass(frozen=True)
class Sight:
    """A policy as it was seen; `port` is what it lets in, 0 if it is gone or says nothing of the kind."""

    at: float
    event: str
    name: str
    port: int


class PolicyWitness:
    """Sees every change of the policies of a cluster."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store, self._now = store, now
        self.sights: list[Sight] = []
        self.held: dict[str, int] = {}
        self.touched_at: list[float] = []

    async def seed(self) -> None:
        """Make two policies that are somebody else's; one was copied from a set's, with all labels."""
        for name in FOREIGN:
            labels = (
                {"atoll.dev/policyset": "base", "app.kubernetes.io/managed-by": "atoll"} if "copied" in name else {}
            )
            await self._store.create(
                NETWORK_POLICY, {"metadata": {"name": name, "namespace": "default", "labels": labels}, "spec": _SPEC}
            )

    async def run(self) -> None:
        """Look until cancelled."""
        async for event in follow(self._store, NETWORK_POLICY):
            name = event.object["metadata"]["name"]
            port = 0 if event.type == "DELETED" else _port(event.object)
            self.sights.append(Sight(self._now(), event.type, name, port))
            if event.type == "DELETED":
                self.held.pop(name, None)
            else:
                self.held[name] = port

    async def delete(self, name: str) -> None:
        """Delete a policy by hand."""
        self.touched_at.append(self._now())
        with contextlib.suppress(ApiError):
            await self._store.delete(NETWORK_POLICY, "default", name)

    async def edit(self, name: str) -> None:
        """Open another port by hand."""
        self.touched_at.append(self._now())
        ports = [{"protocol": "TCP", "port": 22}]
        with contextlib.suppress(ApiError):
            await self._store.patch(
                NETWORK_POLICY, "default", name, Patch("merge", {"spec": {"ingress": [{"ports": ports}]}})
            )


def _port(policy: dict[str, Any]) -> int:
    for rule in policy["spec"].get("ingress", ()):
        for port in rule.get("ports", ()):
            return int(port["port"])
    return 0
