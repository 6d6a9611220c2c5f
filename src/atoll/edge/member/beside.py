"""Policies that are not of any set: follows them, and tells which of them may allow what a set closes.

Owns their copies and who wrote them last. It touches none of them: what is not Atoll's stays.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import orjson

from atoll.edge.member.informer import Informer, Source
from atoll.edge.member.objects import FIELD_MANAGER, Kind, Object, was_applied_by
from atoll.edge.member.proof.reports import ProvenReports
from atoll.edge.member.proof.standing import Standing
from atoll.policies.manifest import Manifest, parse_file
from atoll.policies.widening import Widening, find_widenings

_CILIUM = "cilium.io/v2"
# Each with what is followed in its stead where it is not served: groups are v2 since Cilium 1.18.
_KINDS: Mapping[Kind, tuple[Kind, ...]] = {
    Kind("networking.k8s.io/v1", "NetworkPolicy"): (),
    Kind(_CILIUM, "CiliumNetworkPolicy"): (),
    Kind(_CILIUM, "CiliumClusterwideNetworkPolicy"): (),
    Kind(_CILIUM, "CiliumCIDRGroup"): (Kind("cilium.io/v2alpha1", "CiliumCIDRGroup"),),
    Kind("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"): (),
}
POLICY_KINDS = (*_KINDS, *(kind for alternatives in _KINDS.values() for kind in alternatives))
# How soon a kind that is installed later is followed.
_LOOK_AGAIN_SECONDS = 30.0
# What is applied together is looked at together.
_BREATH_SECONDS = 0.5
_TOLD = 10


@dataclass(frozen=True)
class Beside:
    """A policy that Atoll has not applied; `manifest` is None where no engine would take it."""

    manifest: Manifest | None
    manager: str


class BesidePolicies:
    """The policies of one cluster that are not of any set."""

    def __init__(
        self,
        kube: Source,
        standings: Callable[[], Mapping[str, Standing]],
        reports: ProvenReports,
        *,
        engine: Callable[[], str],
        now: Callable[[], datetime],
    ) -> None:
        self._standings, self._reports, self._engine, self._now = standings, reports, engine, now
        self._news = asyncio.Event()
        self._informers = [
            Informer(
                kube,
                kind,
                project=partial(_beside, kind),
                keep=lambda obj: not was_applied_by(obj, FIELD_MANAGER),
                alternatives=alternatives,
                look_again_seconds=_LOOK_AGAIN_SECONDS,
            )
            for kind, alternatives in _KINDS.items()
        ]
        for informer in self._informers:
            informer.on_news(lambda _key: self.wake())

    def wake(self) -> None:
        """Compare again soon."""
        self._news.set()

    async def run(self) -> None:
        """Follow and tell until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.run())
            while True:
                await self._news.wait()
                await asyncio.sleep(_BREATH_SECONDS)
                self._news.clear()
                for key, standing in self._standings().items():
                    self._reports.widen(key, await self._widened(standing), self._now())

    async def _widened(self, standing: Standing) -> tuple[str, ...]:
        """Name what widens a set, each with who wrote it last."""
        beside = [item for informer in self._informers for item in informer.items.values()]
        own = {policy.key for policy in standing.policies}
        others = {item.manifest.key: item for item in beside if item.manifest and item.manifest.key not in own}
        manifests = [item.manifest for item in others.values() if item.manifest]
        # Thousands of policies take seconds, in which the agent has other things to hear.
        found = await asyncio.to_thread(
            find_widenings, standing.policies, manifests, "", is_cilium=self._engine() == "cilium"
        )
        by_object: dict[tuple[str, str, str], list[Widening]] = {}
        for each in found:
            by_object.setdefault((each.kind, each.namespace, each.name), []).append(each)
        return tuple(_told(each, others[key].manager) for key, each in by_object.items())[:_TOLD]


def _told(widenings: list[Widening], manager: str) -> str:
    first = widenings[0]
    name = f"{first.namespace}/{first.name}" if first.namespace else first.name
    directions = " and ".join(dict.fromkeys(each.direction.value for each in widenings))
    who = f" ({manager})" if manager else ""
    return f"{first.kind} {name}{who}: {directions} that {first.closed_by} closes"


def _beside(kind: Kind, obj: Object) -> Beside:
    """Read a policy as its author wrote it; one with problems is enforced nowhere."""
    metadata = {name: obj["metadata"][name] for name in ("name", "namespace") if obj["metadata"].get(name)}
    content = {name: obj[name] for name in ("spec", "specs") if name in obj}
    text = orjson.dumps({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}).decode()
    manifests = parse_file(text, "cluster").manifests
    return Beside(manifests[0] if manifests else None, _last_manager(obj))


def _last_manager(obj: Object) -> str:
    entries = [each for each in obj["metadata"].get("managedFields") or () if not each.get("subresource")]
    newest = max(entries, key=lambda entry: str(entry.get("time", "")), default=None)
    return str(newest.get("manager", "")) if newest is not None else ""
