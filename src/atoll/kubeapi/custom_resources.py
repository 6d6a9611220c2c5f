"""Custom resources: serves what CustomResourceDefinitions define, and cleans up what they leave behind.

Owns the loop from definitions to the registry; reading a definition is in crd.py. One runs per server process, so that
every replica serves the same; status is written by all of them alike.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from atoll.kubeapi.crd import CLEANUP, CRD, stored_type, types_of
from atoll.kubeapi.errors import ApiError, Conflict, NotFound
from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.schema_strategy import SchemaStrategy
from atoll.kubeapi.store import Store

log = logging.getLogger(__name__)

MANAGER = "custom-resources"
_RETRY_SECONDS = 0.2


class CustomResources:
    """Keeps the registry of one store in step with its definitions."""

    def __init__(self, store: Store, *, stand_ins: Iterable[ResourceType] = ()) -> None:
        """Serve definitions from now on, and what they define while run() runs.

        `stand_ins` are registered types that give way to a definition of the same resource as long as it exists.
        """
        self._store = store
        self._stand_ins = tuple(stand_ins)
        self._served: dict[str, tuple[int, list[ResourceType]]] = {}  # by definition, with its generation
        self._due: asyncio.Queue[str] = asyncio.Queue()
        store.registry.register(CRD)

    async def run(self) -> None:
        """Follow the definitions until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(), name="crd-watch")
            while True:
                name = await self._due.get()
                try:
                    await self._reconcile(name)
                except ApiError as error:
                    facts = {"definition": name, "why": error.message}
                    if error.retryable or isinstance(error, Conflict | NotFound):
                        log.info("definition will be tried again", extra=facts)
                        asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._due.put_nowait, name)
                    else:
                        log.warning("definition was refused; it is tried again when it changes", extra=facts)

    async def _watch(self) -> None:
        while True:
            for name in self._served:
                self._due.put_nowait(name)
            try:
                async for event in self._store.watch(CRD):
                    self._due.put_nowait(event.object["metadata"]["name"])
            except ApiError:
                log.info("reading all definitions again", exc_info=True)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _reconcile(self, name: str) -> None:
        try:
            crd = await self._store.get(CRD, None, name)
        except NotFound:
            self._withdraw(name)
            return
        if "deletionTimestamp" in crd["metadata"]:
            await self._clean(crd)
            return
        taken_by = self._conflict(crd)
        if not taken_by:
            self._serve(name, crd)
        unenforced = "" if taken_by else _unenforced(self._served[name][1])
        status = _status(crd, taken_by, unenforced, timestamp(self._store.clock()))
        if crd.get("status") != status:
            patch = Patch("merge", {"status": status})
            await self._store.patch(CRD, None, name, patch, subresource="status", field_manager=MANAGER)

    def _conflict(self, crd: Object) -> str:
        """Return which other type has the definition's group and one of its names, or an empty string."""
        spec = crd["spec"]
        mine = self._served.get(crd["metadata"]["name"], (0, []))[1]
        ours = [*mine, *self._replaced_by(crd)]
        for rt in self._store.registry.all():
            same = rt.plural == spec["names"]["plural"] or rt.kind == spec["names"]["kind"]
            if rt.group == spec["group"] and same and rt not in ours:
                return f"{rt.plural}.{rt.group}"
        return ""

    def _replaced_by(self, crd: Object) -> list[ResourceType]:
        """Return the stand-ins that are the very resource of a definition."""
        spec = crd["spec"]
        wanted = (spec["group"], spec["names"]["plural"], spec["names"]["kind"], spec["scope"] == "Namespaced")
        return [rt for rt in self._stand_ins if (rt.group, rt.plural, rt.kind, rt.namespaced) == wanted]

    def _serve(self, name: str, crd: Object) -> None:
        generation = crd["metadata"]["generation"]
        known, before = self._served.get(name, (0, []))
        if known == generation:
            return
        types = types_of(crd)
        for rt in (*before, *self._replaced_by(crd)):
            if rt.version not in [each.version for each in types]:
                self._store.registry.unregister(rt)
        for rt in types:
            self._store.registry.register(rt)
        self._served[name] = (generation, types)

    def _withdraw(self, name: str) -> None:
        if name not in self._served:
            return
        for rt in self._served.pop(name)[1]:
            self._store.registry.unregister(rt)
        for rt in self._stand_ins:
            if f"{rt.plural}.{rt.group}" == name:
                self._store.registry.register(rt)

    async def _clean(self, crd: Object) -> None:
        """Delete every object of a definition that is being deleted, and let the definition go when all are gone."""
        name = crd["metadata"]["name"]
        finalizers = crd["metadata"].get("finalizers", ())
        if CLEANUP not in finalizers:
            return
        rt = stored_type(crd)
        items = (await self._store.list(rt)).items if _is_established(crd) else []  # else they are another type's
        for item in items:
            if "deletionTimestamp" not in item["metadata"]:
                await self._store.delete(rt, item["metadata"].get("namespace"), item["metadata"]["name"])
        if items:
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._due.put_nowait, name)
            return
        self._withdraw(name)
        left = [finalizer for finalizer in finalizers if finalizer != CLEANUP]
        patch = Patch(
            "merge", {"metadata": {"finalizers": left, "resourceVersion": crd["metadata"]["resourceVersion"]}}
        )
        await self._store.patch(CRD, None, name, patch, field_manager=MANAGER)


def _is_established(crd: Object) -> bool:
    conditions = (crd.get("status") or {}).get("conditions", ())
    return any((known["type"], known["status"]) == ("Established", "True") for known in conditions)


def _unenforced(types: Iterable[ResourceType]) -> str:
    """Return which CEL rules of the served versions are not enforced and why, or an empty string."""
    strategies = [(rt.version, rt.strategy) for rt in types if isinstance(rt.strategy, SchemaStrategy)]
    return "; ".join(f"{version}: {rule}" for version, strategy in strategies for rule in strategy.unenforced)


def _status(crd: Object, taken_by: str, unenforced: str, now: str) -> dict[str, Any]:
    """Return the status of a definition; the times of conditions stay while the conditions do."""
    accepted = not taken_by
    message = "no conflicts found" if accepted else f"the names are those of {taken_by}"
    reasons = ("NoConflicts", "InitialNamesAccepted") if accepted else ("NameConflict", "NotAccepted")
    conditions = []
    for kind, reason in zip(("NamesAccepted", "Established"), reasons, strict=True):
        new = {"type": kind, "status": "True" if accepted else "False", "reason": reason, "message": message}
        conditions.append({**new, "lastTransitionTime": _since(crd, new, now)})
    if unenforced:
        new = {"type": "RulesEnforced", "status": "False", "reason": "UnsupportedRules", "message": unenforced}
        conditions.append({**new, "lastTransitionTime": _since(crd, new, now)})
    stored = [version["name"] for version in crd["spec"]["versions"] if version["storage"]]
    before = (crd.get("status") or {}).get("storedVersions", [])
    names = crd["spec"]["names"] if accepted else {"plural": "", "kind": ""}
    versions = [*before, *(version for version in stored if version not in before)]
    return {"conditions": conditions, "acceptedNames": names, "storedVersions": versions}


def _since(crd: Object, condition: dict[str, Any], now: str) -> str:
    for known in (crd.get("status") or {}).get("conditions", ()):
        if (known["type"], known["status"]) == (condition["type"], condition["status"]):
            return str(known["lastTransitionTime"])
    return now
