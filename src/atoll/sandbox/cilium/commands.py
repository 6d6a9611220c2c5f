"""What Cilium's own commands print in the pods of a simulated cluster, out of the answers that its sockets give.

Owns the command lines that Atoll and cilium-cli run there (cilium-cli: k8s/client.go); anything else is not there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from atoll.sandbox.cilium.agent import CiliumAgent
from atoll.sandbox.kubelet.stand_ins import Place, StandIns

_JSON = ("-o", "json")
_VERDICTS = ("hubble", "observe", "--type", "policy-verdict", "--last", "100", "-o", "jsonpb")
_Answer = Callable[[str], Awaitable[Any]]
_Text = Callable[[str], Awaitable[bytes | None]]


def play(stand_ins: StandIns, agent: CiliumAgent) -> None:
    """Have the pods of a cluster's Cilium answer as `agent` does."""
    stand_ins.play(
        "cilium",
        _Program(
            {
                ("cilium-agent", "cilium", "status", *_JSON): agent.status,
                ("cilium-agent", "cilium-dbg", "status", *_JSON): agent.status,
                ("cilium-agent", "cilium-health", "status", *_JSON): agent.probes,
                ("cilium-agent", "cilium", "policy", "get", *_JSON): agent.held,
                ("cilium-agent", "cilium", "policy", "selectors", *_JSON): agent.selectors,
                ("cilium-agent", "cilium", "endpoint", "list", *_JSON): agent.endpoints,
            },
            {
                ("cilium-agent", "cilium", "bpf", "metrics", "list", *_JSON): agent.traffic.counted,
                ("cilium-agent", *_VERDICTS): agent.traffic.observed,
            },
        ),
    )
    kvstoremesh = ("kvstoremesh", "/usr/bin/clustermesh-apiserver", "kvstoremesh-dbg", "status", *_JSON)
    stand_ins.play("clustermesh-apiserver", _Program({kvstoremesh: agent.cache}))


class _Program:
    """Command lines by container and words; each answers for the node of its pod, with a value or with a text."""

    def __init__(
        self, answers: Mapping[tuple[str, ...], _Answer], texts: Mapping[tuple[str, ...], _Text] | None = None
    ) -> None:
        self._answers, self._texts = answers, texts or {}

    async def answer(self, place: Place, command: Sequence[str]) -> bytes | None:
        """Return what the command prints; None if there is no such command there."""
        words, node = (place.container, *command), str(place.pod["spec"]["nodeName"])
        if words in self._texts:
            return await self._texts[words](node)
        found = self._answers.get(words)
        return None if found is None else orjson.dumps(await found(node))
