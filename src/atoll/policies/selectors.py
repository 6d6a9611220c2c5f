"""Label selectors: kubectl's one-line form, which annotations use, and matching. Pure; knows no policy."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_KEY = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_SET = re.compile(rf"(?P<key>{_KEY})\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(rf"(?P<key>{_KEY})\s*(?P<operator>==|=|!=)\s*(?P<value>{_VALUE})")
_EXISTS = re.compile(rf"(?P<absent>!?)\s*(?P<key>{_KEY})")
_LONGEST = 4096  # _COMMA looks ahead from every comma: quadratic, so bounded
_COMMA = re.compile(r",(?![^()]*\))")


@dataclass(frozen=True)
class Term:
    """One requirement on labels: In, NotIn, Exists or DoesNotExist, as in metav1.LabelSelectorRequirement."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether labels meet it; like Kubernetes, NotIn also holds where the key is absent."""
        if self.operator == "In":
            return labels.get(self.key) in self.values if self.key in labels else False
        if self.operator == "NotIn":
            return self.key not in labels or labels[self.key] not in self.values
        return (self.key in labels) == (self.operator == "Exists")


@dataclass(frozen=True)
class Selector:
    """Terms that must all hold; none means everything."""

    terms: tuple[Term, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether labels meet every term."""
        return all(term.matches(labels) for term in self.terms)


def parse_selector(text: str) -> Selector:
    """Read `region=eu, tier in (lab, edge), !draining`. ValueError says which part is wrong."""
    if len(text) > _LONGEST:
        raise ValueError(f"has {len(text)} characters, at most {_LONGEST} are read")
    parts = [part.strip() for part in _COMMA.split(text)]
    if parts == [""]:
        raise ValueError("is empty; write a label selector such as region=eu,tier in (lab,edge)")
    return Selector(tuple(_term(part) for part in parts))


def selector_of(body: Mapping[str, object]) -> Selector:
    """Read a metav1.LabelSelector that has been validated."""
    labels, expressions = body.get("matchLabels") or {}, body.get("matchExpressions") or []
    terms = [Term(key, "In", (value,)) for key, value in sorted(_mapping(labels).items())]
    for expression in _sequence(expressions):
        terms.append(Term(expression["key"], expression["operator"], tuple(expression.get("values") or ())))
    return Selector(tuple(terms))


def _term(part: str) -> Term:
    if found := _SET.fullmatch(part):
        values = tuple(value.strip() for value in found["values"].split(","))
        if not all(re.fullmatch(_VALUE, value) for value in values) or values == ("",):
            raise ValueError(f"{part!r}: the values in parentheses are no label values")
        return Term(found["key"], "In" if found["operator"] == "in" else "NotIn", values)
    if found := _EQUAL.fullmatch(part):
        return Term(found["key"], "NotIn" if found["operator"] == "!=" else "In", (found["value"],))
    if found := _EXISTS.fullmatch(part):
        return Term(found["key"], "DoesNotExist" if found["absent"] else "Exists")
    raise ValueError(f"{part!r} is no label requirement; write key=value, key!=value, key in (a,b), key or !key")


def _mapping(value: object) -> dict[str, str]:
    return dict(value) if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[Mapping[str, str]]:
    return value if isinstance(value, list) else []
