"""`"…".format([…])`: the verbs %s, %d, %f, %e, %b, %o, %x and %X.

Owns the verbs and how values are written in them.
Source: cel-go ext/formatting.go; Kubernetes takes the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from atoll.kubeapi.cel.conversions import CONVERSIONS
from atoll.kubeapi.cel.values import CelError, Spend, TypeValue, kind_of

_CLAUSE = re.compile(r"%(?:(%)|(?:\.(\d{1,3}))?([a-zA-Z])|)")
_WRITE = {overload.parameters[0]: overload.call for overload in CONVERSIONS if overload.name == "string"}
_NAMES = {"google.protobuf.Timestamp": "timestamp", "google.protobuf.Duration": "duration"}
_PRECISION = 6


def formatted(template: str, arguments: list[Any], spend: Spend) -> str:
    """Return a template with its clauses filled in. Raises CelError if they and the arguments do not fit."""
    rest = iter(arguments)

    def fill(clause: re.Match[str]) -> str:
        spend(1)
        if clause[1]:
            return "%"
        if not clause[3]:
            raise CelError("could not parse formatting clause: missing verb")
        verb = _VERBS.get(clause[3])
        if verb is None:
            raise CelError(f'could not parse formatting clause: unrecognized formatting clause "{clause[3]}"')
        text = verb(_next(rest), int(clause[2] or _PRECISION))
        spend(len(text) // 10)
        return text

    return _CLAUSE.sub(fill, template)


def _next(arguments: Any) -> Any:
    for argument in arguments:
        return argument
    raise CelError("index out of range: the template has more clauses than there are arguments")


def _text(value: Any, _precision: int = 0) -> str:
    kind = kind_of(value)
    if kind == "null_type":
        return "null"
    if kind == "list":
        return f"[{', '.join(map(_text, value))}]"
    if kind == "map":
        return f"{{{', '.join(sorted(f'{_text(key)}: {_text(inner)}' for key, inner in value.items()))}}}"
    if isinstance(value, TypeValue):
        return value.name
    if kind == "double" and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    write = _WRITE.get(_NAMES.get(kind, kind))
    if write is None:
        raise CelError(f"error during formatting: string clause cannot take {kind}")
    return str(write(value))


def _decimal(value: Any, _precision: int) -> str:
    if kind_of(value) not in ("int", "uint"):
        raise _refused("decimal", value)
    return str(int(value))


def _in_base(base: str) -> Callable[[Any, int], str]:
    def write(value: Any, _precision: int) -> str:
        if isinstance(value, str | bytes) and base in "xX":
            text = (value.encode() if isinstance(value, str) else value).hex()
            return text.upper() if base == "X" else text
        if kind_of(value) not in ("int", "uint") and not (base == "b" and isinstance(value, bool)):
            raise _refused("integer", value)
        return format(int(value), base)

    return write


def _number(style: str) -> Callable[[Any, int], str]:
    def write(value: Any, precision: int) -> str:
        if kind_of(value) not in ("double", "int", "uint"):
            raise _refused("number", value)
        if not math.isfinite(value):
            return _text(float(value))
        return format(float(value), f".{precision}{style}")

    return write


def _refused(clause: str, value: Any) -> CelError:
    return CelError(f"error during formatting: {clause} clause cannot take {kind_of(value)}")


_VERBS: dict[str, Callable[[Any, int], str]] = {
    "s": _text,
    "d": _decimal,
    "f": _number("f"),
    "e": _number("e"),
    "b": _in_base("b"),
    "o": _in_base("o"),
    "x": _in_base("x"),
    "X": _in_base("X"),
}
