"""Whether one rule says all that another says. Pure; in doubt no."""

from collections.abc import Iterable

from atoll.policies.rules import Labelled, NamedPort, Peer, Ports, Range, Rule, Traffic


def covers(outer: Rule, inner: Rule) -> bool:
    """Tell whether a rule surely speaks of all endpoints, peers and traffic that another speaks of."""
    return (
        outer.direction is inner.direction
        and is_within(inner.subject, outer.subject)
        and (outer.peers is None or (inner.peers is not None and all(_any_holds(p, outer.peers) for p in inner.peers)))
        and (outer.traffic is None or (inner.traffic is not None and all(_is_said(t, outer) for t in inner.traffic)))
    )


def is_within(inner: Peer, outer: Peer) -> bool:
    """Tell whether all that one selects is surely selected by the other."""
    if isinstance(inner, Labelled) and isinstance(outer, Labelled):
        return set(outer.terms) <= set(inner.terms)
    if isinstance(inner, Range) and isinstance(outer, Range) and inner.network.version == outer.network.version:
        is_inside = inner.network.subnet_of(outer.network)  # type: ignore[arg-type]  # same version, as asked above
        return is_inside and set(outer.exceptions) <= set(inner.exceptions)
    return inner == outer


def is_apart(one: Labelled, other: Labelled) -> bool:
    """Tell whether two selectors surely select nothing in common: they ask for different values of one label."""
    values = {(term.source, term.key): term.values for term in one.terms if term.operator == "In"}
    return any(
        term.operator == "In" and values.get((term.source, term.key), term.values).isdisjoint(term.values)
        for term in other.terms
    )


def _any_holds(peer: Peer, among: Iterable[Peer]) -> bool:
    return any(is_within(peer, other) for other in among)


def _is_said(traffic: Traffic, outer: Rule) -> bool:
    return any(_speaks_of(other, traffic) for other in outer.traffic or ())


def _speaks_of(outer: Traffic, inner: Traffic) -> bool:
    if isinstance(outer, Ports) and isinstance(inner, Ports):
        return inner.protocols <= outer.protocols and outer.first <= inner.first <= inner.last <= outer.last
    if isinstance(outer, NamedPort) and isinstance(inner, NamedPort):
        return inner.protocols <= outer.protocols and inner.name == outer.name
    return outer == inner
