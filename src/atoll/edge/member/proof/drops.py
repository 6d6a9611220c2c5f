"""How many packets policies drop, out of the counters of all nodes: rates over any time that was watched. Pure.

Counters begin anew with their node; what they lose by that is not counted as less.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson

from atoll.federation.errors import Internal
from atoll.federation.resources.policyset_proof import PolicyTraffic

# Drops that are a policy's word (pkg/monitor/api/drop.go: 133 and 181), as `cilium bpf metrics list` writes them.
_REASONS = frozenset({"Policy denied", "Policy denied by denylist"})
# Ten minutes at the fastest pace of looks.
_KEPT_SAMPLES = 120


class Sample(NamedTuple):
    """A node's counter at one time, as if it had never begun anew."""

    at: datetime
    total: int


@dataclass
class _Node:
    samples: deque[Sample]
    counter: int


class DropMeter:
    """The counters of one cluster's nodes over the last while."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}

    def take(self, node: str, counter: int, at: datetime) -> None:
        """Take in what a node's counter says."""
        known = self._nodes.get(node)
        if known is None:
            known = self._nodes[node] = _Node(deque(maxlen=_KEPT_SAMPLES), counter)
        last = known.samples[-1].total if known.samples else 0
        # A counter that went back has begun anew, and counts from nought.
        more = counter - known.counter if counter >= known.counter else counter
        known.counter = counter
        known.samples.append(Sample(at, last + more))

    def keep(self, nodes: frozenset[str]) -> None:
        """Forget nodes that are gone."""
        self._nodes = {name: known for name, known in self._nodes.items() if name in nodes}

    def rate(self, begin: datetime, end: datetime, least: timedelta) -> float | None:
        """Give the drops per second of all nodes in a time; None if none was watched for `least` of it."""
        rates = [_rate(known.samples, begin, end, least) for known in self._nodes.values()]
        known_rates = [rate for rate in rates if rate is not None]
        return sum(known_rates) if known_rates else None

    def compare(self, applied_at: datetime, now: datetime, *, window: timedelta, least: timedelta) -> PolicyTraffic:
        """Compare what is dropped now with what was before a commit was applied."""
        return PolicyTraffic(
            drops_per_second=_told(self.rate(max(applied_at, now - window), now, least)),
            drops_per_second_before=_told(self.rate(applied_at - window, applied_at, least)),
            nodes=len(self._nodes),
            at=max((known.samples[-1].at for known in self._nodes.values()), default=None),
        )


def _rate(samples: deque[Sample], begin: datetime, end: datetime, least: timedelta) -> float | None:
    inside = [sample for sample in samples if begin <= sample.at <= end]
    if len(inside) < 2 or inside[-1].at - inside[0].at < least:
        return None
    return (inside[-1].total - inside[0].total) / (inside[-1].at - inside[0].at).total_seconds()


def _told(rate: float | None) -> float | None:
    return round(rate, 2) if rate is not None else None


def gist_of(traffic: PolicyTraffic | None) -> object:
    """Give what of it is news: rates by the power of two, since they are never twice the same."""
    if traffic is None:
        return None
    rates = (traffic.drops_per_second, traffic.drops_per_second_before)
    return tuple(None if rate is None else int(rate).bit_length() for rate in rates)


def read_drops(printed: bytes) -> int:
    """Read what `cilium bpf metrics list -o json` prints, which is nothing where nothing was counted yet.

    Raises:
        Internal: it is no such thing.
    """
    try:
        entries: list[Mapping[str, Any]] = orjson.loads(printed or b"[]") or []
        return sum(int(entry.get("packets", 0)) for entry in entries if entry.get("reason") in _REASONS)
    except (ValueError, AttributeError, TypeError) as error:
        raise Internal("'cilium bpf metrics list' printed something that is no list of counters") from error
