"""Cilium's operator, as far as policies go: writes the condition Valid of each CiliumNetworkPolicy.

Owns that condition only (cilium#32727); what is valid is policies/' to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from atoll.kubeapi.errors import NotFound
from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.store import Store
from atoll.sandbox.cilium.policies import read
from atoll.sandbox.controllers.runtime import Controller, Reconcile, Source, own_key, split
from atoll.sandbox.kinds.catalog import CILIUM_CLUSTER_POLICY, CILIUM_POLICY


class PolicyChecks:
    """The Valid conditions of one cluster."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        """Read and write through `store`."""
        self._store, self._clock = store, clock

    def controllers(self) -> Iterator[Controller]:
        """Return what to run."""
        for rt in (CILIUM_POLICY, CILIUM_CLUSTER_POLICY):
            yield Controller(f"valid-{rt.plural}", (Source(rt, own_key),), self._checker(rt))

    def _checker(self, rt: ResourceType) -> Reconcile:
        async def check(key: str) -> float | None:
            await self._check(rt, *split(key))
            return None

        return check

    async def _check(self, rt: ResourceType, namespace: str, name: str) -> None:
        try:
            policy = await self._store.get(rt, namespace or None, name)
        except NotFound:
            return
        _, problems = read(rt, policy)
        status = "False" if problems else "True"
        message = "; ".join(problems) or "Policy validation succeeded"
        old = next((c for c in policy.get("status", {}).get("conditions", ()) if c["type"] == "Valid"), None)
        if old is not None and (old["status"], old["message"]) == (status, message):
            return
        is_same = old is not None and old["status"] == status
        at = old["lastTransitionTime"] if old is not None and is_same else timestamp(self._clock())
        condition = {"type": "Valid", "status": status, "message": message, "lastTransitionTime": at}
        patch = Patch("merge", {"status": {"conditions": [condition]}})
        await self._store.patch(rt, namespace or None, name, patch, subresource="status")
