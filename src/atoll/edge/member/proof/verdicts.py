"""What Hubble has shown of policies: connections that they let through or stopped, by the policy that decided. Pure.

Field names are those of Cilium's api/v1/flow/flow.proto in its JSON form, which `hubble observe -o jsonpb` prints.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from atoll.edge.member.proof.reading import Mark, mark_of
from atoll.federation.errors import Internal
from atoll.policies.rules import Direction, Identity, Rule

_FORWARDED, _DROPPED = frozenset({"FORWARDED", "REDIRECTED"}), "DROPPED"
# Nothing allowed it. A deny rule that stopped it is named, a direction that is merely closed is not.
_BY_DEFAULT = "POLICY_DENIED"


@dataclass(frozen=True)
class Verdict:
    """One connection as one of its ends saw it.

    Attributes:
        labels: those of the endpoint at this end, by `source:key`.
        marks: the objects that decided; none where the end is closed and nothing allows it.
        is_closed: it was dropped since nothing allows it.
    """

    at: datetime
    direction: Direction
    labels: Mapping[str, str]
    marks: frozenset[Mark]
    is_closed: bool = False


def read_verdicts(printed: bytes) -> tuple[Verdict, ...]:
    """Read what `hubble observe --type policy-verdict -o jsonpb` prints: one flow per line.

    Raises:
        Internal: it is no such thing.
    """
    try:
        lines = (orjson.loads(line) for line in printed.splitlines() if line.strip())
        return tuple(_verdicts(line["flow"] for line in lines if "flow" in line))
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise Internal("'hubble observe' printed something that is no flow") from error


def _verdicts(flows: Iterable[Mapping[str, Any]]) -> Iterator[Verdict]:
    for flow in flows:
        direction, verdict = str(flow.get("traffic_direction", "")).lower(), flow.get("verdict")
        # In audit mode Cilium names who would have denied, and lets it pass: nothing is enforced.
        if direction not in ("ingress", "egress") or verdict not in (*_FORWARDED, _DROPPED):
            continue
        by = flow.get(f"{direction}_{'allowed' if verdict in _FORWARDED else 'denied'}_by") or ()
        marks = (mark_of(policy.get("labels") or ()) for policy in by)
        end = flow.get("destination" if direction == "ingress" else "source") or {}
        yield Verdict(
            at=datetime.fromisoformat(_to_microseconds(str(flow["time"]))),
            direction=Direction(direction),
            labels=dict(_split(label) for label in end.get("labels") or ()),
            marks=frozenset(mark for mark in marks if mark is not None),
            is_closed=verdict == _DROPPED and not by and flow.get("drop_reason_desc") == _BY_DEFAULT,
        )


def _to_microseconds(text: str) -> str:
    """Cut what is finer: protobuf's JSON has nanoseconds in UTC, of which Python's clock knows nothing."""
    whole, _, rest = text.removesuffix("Z").partition(".")
    return f"{whole}.{rest[:6] or '0'}+00:00"


def _split(label: str) -> tuple[str, str]:
    key, _, value = label.partition("=")
    return key, value


def decided_at(mark: Mark, rules: Sequence[Rule], verdicts: Iterable[Verdict]) -> datetime | None:
    """Give the newest verdict that shows a policy at work; None if none does.

    A policy is named by what it allows or denies. One that only closes is shown by a drop, for want of an allow, at an
    endpoint that it selects.
    """
    closing = [rule for rule in rules if rule.peers == () or rule.traffic == ()]
    shown = (each.at for each in verdicts if mark in each.marks or _is_closed_by(closing, each))
    return max(shown, default=None)


def _is_closed_by(closing: Sequence[Rule], verdict: Verdict) -> bool:
    if not closing or not verdict.is_closed:
        return False
    identity = Identity(verdict.labels)
    return any(rule.direction is verdict.direction and rule.subject.matches(identity) for rule in closing)
