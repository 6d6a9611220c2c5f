"""The rules that a schema states in CEL (x-kubernetes-validations), asked at every level of an object.

Owns where and when each is evaluated, and how a failure is worded; compiling is schema_validation_rules.py's, the
language cel/'s.
A rule that this server cannot judge is not enforced: it is listed, for a warning and for the definition's status.
Source: Kubernetes documentation "Validation rules"; k8s.io/apiextensions-apiserver schema/cel/validation.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from atoll.kubeapi.cel.convert import converter
from atoll.kubeapi.cel.program import Budget
from atoll.kubeapi.cel.types import Schema
from atoll.kubeapi.cel.values import NONE, CelError, MapList, NoOverload, Optional, OutOfBudget
from atoll.kubeapi.errors import Cause
from atoll.kubeapi.schema_validation_rules import REASONS, Compiler, Findings, Place, Rule

REQUEST_BUDGET = 1_000_000  # Kubernetes' limit of one rule (PerCallLimit); here of one request: a second of Python
_MAX_MESSAGE = 5 * 1024  # bytes; Kubernetes takes the fixed message in place of a longer computed one
_ABSENT: Any = object()
_ITSELF = "<nil>"  # how Kubernetes names the object itself


class Validations:
    """The rules of one schema."""

    def __init__(self, schema: Schema, path: str = "") -> None:
        """Compile every rule; `path` is where the schema stands. Nothing is raised: what is wrong is in `findings`."""
        self.findings = Findings()
        self._place = Compiler(self.findings).place(schema, path, is_object=True, correlates=True)
        self._convert = converter(_without_identity(schema)) or _unchanged

    def check(self, new: Any, old: Any | None) -> Iterator[Cause]:
        """Yield every rule that an object breaks; `old` is what it replaces, None on create."""
        if not self._place.is_needed:
            return
        budget = Budget(REQUEST_BUDGET)
        before = _ABSENT if old is None else self._convert(old)
        yield from _Check(budget).at(self._place, self._convert(new), before, "")


def _unchanged(value: Any) -> Any:
    return value


def _without_identity(schema: Schema) -> Schema:
    """Leave out of the root's properties what is the same for every kind: it needs no conversion."""
    identity = ("apiVersion", "kind", "metadata")
    return {**schema, "properties": {k: v for k, v in schema.get("properties", {}).items() if k not in identity}}


class _Check:
    """The rules of one object, asked in one go within one budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def at(self, place: Place, value: Any, old: Any, path: str) -> Iterator[Cause]:
        """Yield what is broken at a level and below; an `old` that cannot be told is absent."""
        if value is None:
            return
        for rule in place.rules:
            if self._budget.left <= 0:
                return
            if rule.is_transition and old is _ABSENT:
                continue
            cause = self._ask(rule, _variables(rule, value, old), path)
            if cause is not None:
                yield cause
        if isinstance(value, dict):
            yield from self._below_map(place, value, old, path)
        elif isinstance(value, list) and place.every is not None:
            before = _by_key(value, old)
            for index, item in enumerate(value):
                yield from self.at(place.every, item, before(item), f"{path}[{index}]")

    def _below_map(self, place: Place, value: dict[str, Any], old: Any, path: str) -> Iterator[Cause]:
        before = old if isinstance(old, dict) else {}
        for name, (shown, below) in place.properties.items():
            if name in value:
                where = f"{path}.{shown}" if path else shown
                yield from self.at(below, value[name], before.get(name, _ABSENT), where)
        if place.every is not None:
            for name, inner in value.items():
                yield from self.at(place.every, inner, before.get(name, _ABSENT), f"{path}[{name}]")

    def _ask(self, rule: Rule, variables: Mapping[str, Any], path: str) -> Cause | None:
        """Return how a rule is broken; one that cannot be evaluated is broken."""
        try:
            if rule.program.evaluate(variables, self._budget) is True:
                return None
            text = self._message(rule, variables)
        except OutOfBudget:
            stop = "no further validation rules will be run due to call cost exceeds limit for rule"
            text = f"{stop}: {rule.message or rule.text}"
        except NoOverload as error:
            text = (
                f"'{error}' call arguments did not match a supported operator, function or macro signature for rule: "
                f"{rule.message or rule.text}"
            )
        except CelError as error:
            text = f"{error} evaluating rule: {rule.message or rule.text}"
        return _cause(rule, text, path)

    def _message(self, rule: Rule, variables: Mapping[str, Any]) -> str:
        fixed = rule.message or f"failed rule: {rule.text}"
        if rule.computed is None:
            return fixed
        try:
            computed = rule.computed.evaluate(variables, self._budget)
        except CelError:
            return fixed
        usable = isinstance(computed, str) and computed.strip() and "\n" not in computed
        return computed.strip() if usable and len(computed.encode()) <= _MAX_MESSAGE else fixed


def _cause(rule: Rule, text: str, path: str) -> Cause:
    where = f"{path}{rule.field_path}" if path else rule.field_path.lstrip(".")
    return Cause(where or _ITSELF, f"{REASONS[rule.reason]}: {text}", rule.reason)


def _variables(rule: Rule, value: Any, old: Any) -> dict[str, Any]:
    if rule.old_is_optional:
        return {"self": value, "oldSelf": NONE if old is _ABSENT else Optional(True, old)}
    return {"self": value, "oldSelf": old}


def _by_key(new: Any, old: Any) -> Any:
    """Return what finds an item's old value: only lists of type map tell their items apart."""
    if not isinstance(new, MapList) or not isinstance(old, list):
        return lambda _item: _ABSENT
    before = new.by_key(old)

    def find(item: Any) -> Any:
        return next((before.get(key, _ABSENT) for key in new.by_key([item])), _ABSENT)

    return find
