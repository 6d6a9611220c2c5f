"""What a Cilium agent says of the policies that it enforces: its rules, its endpoints, its selectors. Pure.

Field names are those of Cilium's api/v1/openapi.yaml, 1.16 to 1.20. Go leaves out what is false, zero or empty.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from atoll.federation.errors import Internal
from atoll.policies.rules import Direction
from atoll.policies.stamp import CONTENT_LABEL

_MALFORMED = (AttributeError, TypeError, ValueError, KeyError)
# pkg/k8s/apis/cilium.io/const.go: by it a rule in an agent names the object that it came from.
_UID = "io.cilium.k8s.policy.uid"
# EndpointPolicyEnabled of the API; the audit modes look at policies and let everything pass.
_ENFORCED: Mapping[str, frozenset[Direction]] = {
    "ingress": frozenset({Direction.INGRESS}),
    "egress": frozenset({Direction.EGRESS}),
    "both": frozenset(Direction),
}


class Mark(NamedTuple):
    """Which object a rule came from, and the content that it bore as a label; empty if it bore none."""

    uid: str
    content: str


@dataclass(frozen=True)
class EndpointView:
    """One endpoint of a node.

    Attributes:
        labels: those of its identity, by `source:key`.
        mode: its policy-enabled as the agent writes it.
        revision: of the rules that it has realized; agents count for themselves, from 1 at each start.
        marks: the objects behind the filters that it has realized.
    """

    name: str
    labels: Mapping[str, str]
    state: str = ""
    mode: str = "none"
    revision: int = 0
    marks: Mapping[Direction, frozenset[Mark]] = field(default_factory=dict)

    @property
    def enforced(self) -> frozenset[Direction]:
        """The directions in which policies decide."""
        return _ENFORCED.get(self.mode, frozenset())


@dataclass(frozen=True)
class Repository:
    """The rules that an agent holds as of a revision, whether endpoints have realized them or not."""

    revision: int
    marks: frozenset[Mark]


def read_endpoints(answer: Any) -> tuple[EndpointView, ...]:
    """Read `GET /endpoint`, which is also what `cilium endpoint list -o json` prints.

    Raises:
        Internal: it is no such thing.
    """
    try:
        return tuple(_endpoint(endpoint) for endpoint in answer or ())
    except _MALFORMED as error:
        raise Internal("the Cilium agent answered with something that is no list of endpoints") from error


def read_repository(answer: Any) -> Repository | None:
    """Read `GET /policy`, which is also what `cilium policy get -o json` prints; None where it is served no more.

    Raises:
        Internal: it is no such thing.
    """
    if answer is None:
        return None
    try:
        rules = orjson.loads(answer.get("policy") or "[]") or ()
        marks = (mark_of(map(_text, rule.get("labels") or ())) for rule in rules)
        return Repository(int(answer.get("revision", 0)), frozenset(mark for mark in marks if mark is not None))
    except _MALFORMED as error:
        raise Internal("the Cilium agent answered with something that is no policy") from error


def read_selectors(answer: Any) -> dict[str, frozenset[int]]:
    """Read `GET /policy/selectors`: the identities that the peers of each object mean now, by its uid.

    Raises:
        Internal: it is no such thing.
    """
    found: dict[str, set[int]] = defaultdict(set)
    try:
        for selector in answer or ():
            for labels in _label_lists(selector.get("labels") or []):
                mark = mark_of(map(_text, labels))
                if mark is not None:
                    found[mark.uid].update(map(int, selector.get("identities") or ()))
    except _MALFORMED as error:
        raise Internal("the Cilium agent answered with something that is no list of selectors") from error
    return {uid: frozenset(identities) for uid, identities in found.items()}


def read_node(status: Any) -> str:
    """Read the node's name out of a StatusResponse: `cluster.self` is `cluster/node`, or the node alone.

    Raises:
        Internal: it is no such thing, or names no node.
    """
    try:
        name = str(status["cluster"]["self"]).rpartition("/")[2]
    except _MALFORMED as error:
        raise Internal("the Cilium agent does not say which node it is on") from error
    return name


def _endpoint(endpoint: Mapping[str, Any]) -> EndpointView:
    status = endpoint.get("status") or {}
    names, policy = status.get("external-identifiers") or {}, status.get("policy") or {}
    realized = policy.get("realized") or {}
    filters = realized.get("l4") or {}
    return EndpointView(
        name=str(names.get("pod-name") or endpoint.get("id", "")),
        labels=dict(_split(text) for text in (status.get("identity") or {}).get("labels") or ()),
        state=str(status.get("state", "")),
        mode=str(realized.get("policy-enabled", "none")),
        revision=int(realized.get("policy-revision", 0)),
        marks={direction: frozenset(_marks(filters.get(direction.value) or ())) for direction in Direction},
    )


def _marks(filters: Iterable[Mapping[str, Any]]) -> Iterator[Mark]:
    for each in filters:
        for labels in each.get("derived-from-rules") or ():
            mark = mark_of(labels)
            if mark is not None:
                yield mark


def mark_of(labels: Iterable[str]) -> Mark | None:
    """Read the labels of a rule, each `source:key=value`; None if it came from no object."""
    known = {label.partition(":")[2]: value for label, value in map(_split, labels)}
    return Mark(known[_UID], known.get(CONTENT_LABEL, "")) if _UID in known else None


def _label_lists(labels: list[Any]) -> Iterable[list[Any]]:
    """Give the labels of each rule behind a selector: one list of them before 1.20, a list of lists since."""
    return labels if labels and isinstance(labels[0], list) else [labels]


def _text(label: Mapping[str, Any]) -> str:
    return f"{label.get('source', '')}:{label['key']}={label.get('value', '')}"


def _split(label: str) -> tuple[str, str]:
    key, _, value = label.partition("=")
    return key, value
