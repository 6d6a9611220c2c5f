"""Node heartbeats: every node renews its lease, and is NotReady while it is told to be silent.

Owns the leases and the Ready condition; must not make or cordon nodes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import datetime

from atoll.kubeapi.errors import AlreadyExists, ApiError
from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import LEASE, NODE

HEARTBEAT_SECONDS = 10.0  # kubelet's own: a quarter of the lease's 40 s
LEASE_NAMESPACE = "kube-node-lease"
_LEASE_SECONDS = 40


class Heartbeats:
    """The heartbeats of all nodes of one cluster."""

    def __init__(self, store: Store, clock: Callable[[], datetime], *, silent: Iterable[str] = ()) -> None:
        """Write to `store`; nodes that are `silent` are offline from the start on."""
        self._store = store
        self._clock = clock
        self._silent = set(silent)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            for node in (await self._store.list(NODE)).items:
                if node["metadata"]["name"] not in self._silent:
                    with contextlib.suppress(ApiError):  # the next beat is soon
                        await self._beat(node["metadata"]["name"])
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def set_ready(self, name: str, *, is_ready: bool) -> None:
        """Let a node fall silent and NotReady, or come back. What runs on it goes on. Raises NotFound."""
        node = await self._store.get(NODE, None, name)
        (self._silent.discard if is_ready else self._silent.add)(name)
        others = [each for each in node["status"].get("conditions", ()) if each["type"] != "Ready"]
        condition = ready_condition(self._clock(), is_ready=is_ready)
        patch = Patch("merge", {"status": {"conditions": [*others, condition]}})
        await self._store.patch(NODE, None, name, patch, subresource="status")

    async def _beat(self, node: str) -> None:
        renewed = self._clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": node, "leaseDurationSeconds": _LEASE_SECONDS, "renewTime": renewed}
        try:
            await self._store.patch(LEASE, LEASE_NAMESPACE, node, Patch("merge", {"spec": spec}))
        except ApiError:
            lease = {"metadata": {"name": node, "namespace": LEASE_NAMESPACE}, "spec": spec}
            with contextlib.suppress(AlreadyExists):
                await self._store.create(LEASE, lease)


def ready_condition(now: datetime, *, is_ready: bool) -> Object:
    """Return a node's Ready condition."""
    at = timestamp(now)
    return {
        "type": "Ready",
        "status": "True" if is_ready else "Unknown",
        "reason": "KubeletReady" if is_ready else "NodeStatusUnknown",
        "message": "sandbox is posting ready status" if is_ready else "Kubelet stopped posting node status.",
        "lastHeartbeatTime": at,
        "lastTransitionTime": at,
    }
