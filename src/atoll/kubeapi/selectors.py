"""Label and field selectors: text to predicate.

Owns the grammar (k8s.io/apimachinery labels.Parse and fields.ParseSelector); must not know resources or storage.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.kubeapi.errors import BadRequest

Predicate = Callable[[Mapping[str, Any]], bool]

_KEY = r"(?:[a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_LABEL_KEY = re.compile(rf"^{_KEY}$")
_LABEL_VALUE = re.compile(r"^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
_SET = re.compile(r"^(?P<key>\S+?)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_COMPARE = re.compile(r"^(?P<key>[^=!<>\s]+)\s*(?P<op>==|!=|=|<|>)\s*(?P<value>[^=!<>\s]*)$")
_FIELD = re.compile(r"^(?P<key>[^=!]+)(?P<op>==|!=|=)(?P<value>.*)$", re.DOTALL)
_INTEGER = re.compile(r"-?[0-9]{1,19}")  # as Go's int64; of a label's value there are 63 letters at most
_PUNCTUATION = re.compile(r"[(),]")


@dataclass(frozen=True)
class Requirement:
    """One term of a label selector; all terms must hold."""

    key: str
    operator: str  # in, notin, exists, absent, gt, lt
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Say whether a set of labels meets the term; `notin` is met by a missing label."""
        value = labels.get(self.key)
        if self.operator == "absent":
            return value is None
        if self.operator == "notin":
            return value not in self.values
        if value is None:
            return False
        if self.operator == "exists":
            return True
        if self.operator == "in":
            return value in self.values
        return _compares(value, self.operator, int(self.values[0]))


def selector_text(selector: Mapping[str, Any]) -> str:
    """Write a LabelSelector, as it stands in a spec, as the text that clients send."""
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for rule in selector.get("matchExpressions") or ():
        key, values = rule["key"], f"({','.join(sorted(rule.get('values') or ()))})"
        forms = {"In": f"{key} in {values}", "NotIn": f"{key} notin {values}", "Exists": key, "DoesNotExist": f"!{key}"}
        terms.append(forms[rule["operator"]])
    return ",".join(terms)


def _compares(value: str, operator: str, bound: int) -> bool:
    try:
        number = int(value)
    except ValueError:
        return False
    return number > bound if operator == "gt" else number < bound


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """Parse a label selector. Raises BadRequest naming the term that is wrong."""
    return tuple(_label_term(term) for term in _split(text))


def _label_term(term: str) -> Requirement:
    if match := _SET.match(term):
        values = tuple(value.strip() for value in match["values"].split(","))
        requirement = Requirement(match["key"], match["op"], values)
    elif match := _COMPARE.match(term):
        operator = {"=": "in", "==": "in", "!=": "notin", "<": "lt", ">": "gt"}[match["op"]]
        requirement = Requirement(match["key"], operator, (match["value"],))
    elif term.startswith("!"):
        requirement = Requirement(term[1:].strip(), "absent")
    else:
        requirement = Requirement(term, "exists")
    _check_label_term(term, requirement)
    return requirement


def _check_label_term(term: str, requirement: Requirement) -> None:
    if not _LABEL_KEY.match(requirement.key):
        raise BadRequest(f'unable to parse requirement "{term}": "{requirement.key}" is not a label key')
    for value in requirement.values:
        if requirement.operator in ("gt", "lt"):
            if not _INTEGER.fullmatch(value):
                raise BadRequest(f'unable to parse requirement "{term}": "{value}" must be an integer')
        elif len(value) > 63 or not _LABEL_VALUE.match(value):
            raise BadRequest(f'unable to parse requirement "{term}": "{value}" is not a label value')


@dataclass(frozen=True)
class FieldTerm:
    """One term of a field selector over a dotted path."""

    path: tuple[str, ...]
    equal: bool
    value: str

    def holds(self, obj: Mapping[str, Any]) -> bool:
        """Say whether an object meets the term; a missing field counts as the empty string, as in Kubernetes."""
        return (_text_at(obj, self.path) == self.value) is self.equal


def parse_fields(text: str) -> tuple[FieldTerm, ...]:
    """Parse a field selector such as `metadata.name=a,status.phase!=Running`. Raises BadRequest."""
    return tuple(_field_term(term) for term in _split(text))


def _field_term(term: str) -> FieldTerm:
    match = _FIELD.match(term)
    if match is None:
        raise BadRequest(f'invalid selector: "{term}"; can\'t understand "{term}", use path=value or path!=value')
    return FieldTerm(tuple(match["key"].strip().split(".")), match["op"] != "!=", match["value"].strip())


def _text_at(obj: object, path: Sequence[str]) -> str:
    for step in path:
        obj = obj.get(step) if isinstance(obj, Mapping) else None
    if obj is None:
        return ""
    if isinstance(obj, bool):
        return "true" if obj else "false"
    return str(obj)


def _split(text: str) -> list[str]:
    """Split at the commas outside of parentheses, which do not nest: those that no `)` follows before a `(`."""
    ends, end, is_inside = [], len(text), False
    for found in reversed(list(_PUNCTUATION.finditer(text))):
        if found[0] != ",":
            is_inside = found[0] == ")"
        elif not is_inside:
            ends.append(text[found.end() : end])
            end = found.start()
    terms = (term.strip() for term in (text[:end], *reversed(ends)))
    return [term for term in terms if term]


@dataclass(frozen=True)
class Selector:
    """A label selector and a field selector together."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldTerm, ...] = ()

    @classmethod
    def parse(cls, label_selector: str, field_selector: str) -> Selector:
        """Parse both texts. Raises BadRequest."""
        return cls(parse_labels(label_selector), parse_fields(field_selector))

    @property
    def is_empty(self) -> bool:
        """True if every object matches."""
        return not self.labels and not self.fields

    @property
    def name(self) -> str | None:
        """The one name that can match, if the selector fixes it: such a read need not look at any other object."""
        for term in self.fields:
            if term.path == ("metadata", "name") and term.equal:
                return term.value
        return None

    def matches(self, obj: Mapping[str, Any]) -> bool:
        """Say whether an object matches."""
        if self.labels:
            labels = obj.get("metadata", {}).get("labels") or {}
            if not all(requirement.holds(labels) for requirement in self.labels):
                return False
        return all(term.holds(obj) for term in self.fields)
