"""Compiling the rules that a schema states in CEL: which there are, where they stand, and what is wrong with them.

Owns the tree of places with their rules; asking them is schema_validations.py's.
Source: Kubernetes documentation "Validation rules"; k8s.io/apiextensions-apiserver schema/cel/compilation.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from atoll.kubeapi.cel.checker import Checker, CompileError, Unsupported
from atoll.kubeapi.cel.program import Program
from atoll.kubeapi.cel.types import EMBEDDED, Schema, declared, escape
from atoll.kubeapi.cel.values import CelError
from atoll.kubeapi.errors import Cause

VALIDATIONS = "x-kubernetes-validations"
REASONS = {
    "FieldValueInvalid": "Invalid value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
}
"""The reasons that a rule may give, as messages name them."""


@dataclass(frozen=True)
class Rule:
    """One rule; `computed` gives its message, `field_path` is what it adds to the path of a failure."""

    program: Program
    text: str
    message: str
    computed: Program | None
    reason: str
    field_path: str
    old_is_optional: bool

    @property
    def is_transition(self) -> bool:
        """True if it compares with an old value, and so has nothing to say without one."""
        return "oldSelf" in self.program.names and not self.old_is_optional


@dataclass(frozen=True)
class Place:
    """One level of the schema: its own rules, and the levels below that have any."""

    rules: tuple[Rule, ...]
    properties: Mapping[str, tuple[str, Place]]  # by the name that rules see, with the name in paths
    every: Place | None  # of the items of a list, or the values of a map

    @property
    def is_needed(self) -> bool:
        """True if there is anything to ask here or below."""
        return bool(self.rules or self.properties or self.every)


@dataclass
class Findings:
    """What is wrong with the rules of a schema."""

    causes: list[Cause] = field(default_factory=list)  # rules that Kubernetes would refuse too
    unenforced: list[str] = field(default_factory=list)  # rules that only this server cannot judge, with the reason


class Compiler:
    """Compiles the rules of one schema."""

    def __init__(self, findings: Findings) -> None:
        """Write down in `findings` what is wrong; nothing is raised."""
        self._findings = findings

    def place(self, schema: Schema, path: str, *, is_object: bool, correlates: bool) -> Place:
        """Compile one level. `correlates` says that an old value of it can be told from its siblings' old values."""
        own = tuple(self._rules(schema, path, is_object, correlates)) if VALIDATIONS in schema else ()
        properties: dict[str, tuple[str, Place]] = {}
        for name, below in schema.get("properties", {}).items():
            where = f"{path}.properties[{name}]"
            place = self.place(below, where, is_object=bool(below.get(EMBEDDED)), correlates=correlates)
            if place.is_needed:
                properties[escape(name) or name] = (name, place)
        return Place(own, properties, self._every(schema, path, correlates))

    def _every(self, schema: Schema, path: str, correlates: bool) -> Place | None:
        for name in ("items", "additionalProperties"):
            below = schema.get(name)
            if isinstance(below, Mapping):
                known = correlates and (name != "items" or schema.get("x-kubernetes-list-type") == "map")
                place = self.place(below, f"{path}.{name}", is_object=bool(below.get(EMBEDDED)), correlates=known)
                return place if place.is_needed else None
        return None

    def _rules(self, schema: Schema, path: str, is_object: bool, correlates: bool) -> Iterator[Rule]:
        seen = declared(schema, is_object=is_object)
        checkers: dict[bool, Checker] = {}
        for index, stated in enumerate(schema[VALIDATIONS]):
            where = f"{path}.{VALIDATIONS}[{index}]"
            if seen is None:
                self._refuse(f"{where}.rule", stated.get("rule", ""), "rules cannot see values of this schema")
                continue
            optional = bool(stated.get("optionalOldSelf"))
            if optional not in checkers:
                checkers[optional] = Checker(seen, old_is_optional=optional)
            rule = self._rule(stated, checkers[optional], where, schema)
            if rule is None:
                continue
            if "oldSelf" in rule.program.names and not correlates:
                why = "oldSelf cannot be used on the uncorrelatable portion of the schema"
                self._refuse(f"{where}.rule", rule.text, why)
                continue
            yield rule

    def _rule(self, stated: Mapping[str, Any], checker: Checker, where: str, schema: Schema) -> Rule | None:
        faults = list(_stated_faults(stated, where, schema))
        self._findings.causes += faults
        if faults:
            return None
        text, message = str(stated["rule"]).strip(), str(stated.get("message") or "").strip()
        program = self._compiled(text, checker, f"{where}.rule", gives="bool")
        computed = None
        if stated.get("messageExpression"):
            expression = str(stated["messageExpression"])
            computed = self._compiled(expression, checker, f"{where}.messageExpression", gives="string")
        if program is None:
            return None
        reason = stated.get("reason") or "FieldValueInvalid"
        field_path = _field_path(stated.get("fieldPath") or "", schema) or ""
        return Rule(program, text, message, computed, reason, field_path, bool(stated.get("optionalOldSelf")))

    def _compiled(self, text: str, checker: Checker, where: str, *, gives: str) -> Program | None:
        try:
            return Program(checker.check(text, gives=gives))
        except CompileError as error:
            self._refuse(where, text, str(error))
        except (Unsupported, CelError) as error:
            self._findings.unenforced.append(f"{where}: {text!r} is not enforced: {error}")
        return None

    def _refuse(self, where: str, value: str, why: str) -> None:
        self._findings.causes.append(_invalid(where, value, why))


def _stated_faults(stated: Mapping[str, Any], where: str, schema: Schema) -> Iterator[Cause]:
    """Yield what is wrong with a rule beside its expressions."""
    if not str(stated.get("rule") or "").strip():
        yield Cause(f"{where}.rule", "Required value: rule is not specified", "FieldValueRequired")
    reason = stated.get("reason") or "FieldValueInvalid"
    if reason not in REASONS:
        choices = ", ".join(f'"{known}"' for known in REASONS)
        message = f'Unsupported value: "{reason}": supported values: {choices}'
        yield Cause(f"{where}.reason", message, "FieldValueNotSupported")
    path = stated.get("fieldPath") or ""
    if _field_path(path, schema) is None:
        yield _invalid(f"{where}.fieldPath", path, "must be a path to a field of the schema, such as .a.b")


def _invalid(where: str, value: str, why: str) -> Cause:
    return Cause(where, f'Invalid value: "{value}": {why}')


def _field_path(text: str, schema: Schema) -> str | None:
    """Return what a rule's fieldPath adds to the path of a failure, or None if it leads to no field of the schema."""
    where, rest, added = schema, text, ""
    while rest:
        if rest.startswith("['") and "']" in rest:
            name, _, rest = rest[2:].partition("']")
        elif rest.startswith("."):
            name = rest[1:].split(".", 1)[0].split("[", 1)[0]
            rest = rest[1 + len(name) :]
        else:
            return None
        below = where.get("properties", {}).get(name)
        added += f".{name}"
        if below is None:
            below = where.get("additionalProperties")
            added = f"{added[: -len(name) - 1]}[{name}]"
        if not isinstance(below, Mapping) or not name:
            return None
        where = below
    return added
