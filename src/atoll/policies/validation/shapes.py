"""A small vocabulary for the shape of JSON-like values: objects, lists, texts, numbers; and what to say if they differ.

A *shape* is a function that looks at one value and reports every problem in it, never only the first.
It must not know any kind of policy.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

REQUIRED = "FieldValueRequired"
UNKNOWN = "FieldValueUnknown"
INVALID = "FieldValueInvalid"
WRONG_TYPE = "FieldValueTypeInvalid"
NOT_SUPPORTED = "FieldValueNotSupported"
FORBIDDEN = "FieldValueForbidden"
TOO_LONG = "FieldValueTooLong"
TOO_MANY = "FieldValueTooMany"
DUPLICATE = "FieldValueDuplicate"

_SHOWN_LENGTH = 60


@dataclass(frozen=True)
class Finding:
    """One problem: the field's path, a PascalCase reason (Kubernetes' CauseType) and a sentence."""

    field: str
    reason: str
    message: str


@dataclass
class Findings:
    """Every problem found so far in one manifest."""

    found: list[Finding] = field(default_factory=list)

    def add(self, field: str, reason: str, message: str) -> None:
        """Note one problem."""
        self.found.append(Finding(field, reason, message))


Shape = Callable[[object, str, Findings], None]


def show(value: object) -> str:
    """Write a value for an error message, shortened."""
    text = repr(value)
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"


def join(path: str, key: str) -> str:
    """Give the path of a member."""
    return f"{path}.{key}" if path else key


def of_type(value: object, path: str, out: Findings, expected: tuple[type, str]) -> bool:
    """Report a value of the wrong type; say whether it was right. A bool is no integer here."""
    kind, name = expected
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return True
    if value is None:
        out.add(path, WRONG_TYPE, f"is null; give it a value ({name}) or remove the field")
    else:
        out.add(path, WRONG_TYPE, f"{show(value)} is not {name}{_hint(value, kind)}")
    return False


def _hint(value: object, kind: type) -> str:
    if kind is str and isinstance(value, bool | int | float):
        return "; put it in quotes"
    if kind is list and isinstance(value, Mapping | str):
        return "; start each item with '- '"
    return ""


def anything(_value: object, _path: str, _out: Findings) -> None:
    """Accept every value."""


def boolean(value: object, path: str, out: Findings) -> None:
    """Accept true and false."""
    of_type(value, path, out, (bool, "true or false"))


def integer(low: int, high: int) -> Shape:
    """Accept a whole number from low to high."""

    def check(value: object, path: str, out: Findings) -> None:
        if of_type(value, path, out, (int, "a whole number")) and not low <= int(str(value)) <= high:
            out.add(path, INVALID, f"{value} is not between {low} and {high}")

    return check


def text(*, pattern: str = "", says: str = "", longest: int = 0, shortest: int = 0) -> Shape:
    """Accept a string; `says` words the pattern for people."""
    compiled = re.compile(pattern) if pattern else None

    def check(value: object, path: str, out: Findings) -> None:
        if not of_type(value, path, out, (str, "a text")):
            return
        written = str(value)
        if len(written) < shortest:
            out.add(path, REQUIRED, "must not be empty")
        elif longest and len(written) > longest:
            out.add(path, TOO_LONG, f"{show(written)} has {len(written)} characters, at most {longest} are allowed")
        elif compiled and not compiled.fullmatch(written):
            out.add(path, INVALID, f"{show(written)} {says}")

    return check


def one_of(*values: str) -> Shape:
    """Accept one of some words."""

    def check(value: object, path: str, out: Findings) -> None:
        if of_type(value, path, out, (str, "a text")) and value not in values:
            out.add(path, NOT_SUPPORTED, f"{show(value)} is not one of {', '.join(values)}")

    return check


def array(item: Shape, *, least: int = 0, most: int = 0) -> Shape:
    """Accept a list whose items have a shape."""

    def check(value: object, path: str, out: Findings) -> None:
        if not isinstance(value, list):
            of_type(value, path, out, (list, "a list"))
            return
        if len(value) < least:
            out.add(path, REQUIRED, f"needs at least {least} item{'s' if least > 1 else ''}")
        if most and len(value) > most:
            out.add(path, TOO_MANY, f"has {len(value)} items, at most {most} are allowed")
        for index, member in enumerate(value):
            item(member, f"{path}[{index}]", out)

    return check


def mapping(key: Shape, value: Shape) -> Shape:
    """Accept an object with free keys."""

    def check(given: object, path: str, out: Findings) -> None:
        if isinstance(given, Mapping):
            for name, member in given.items():
                key(name, join(path, str(name)), out)
                value(member, join(path, str(name)), out)
        else:
            of_type(given, path, out, (dict, "an object"))

    return check


def struct(fields: Mapping[str, Shape], *, required: Sequence[str] = (), exactly_one: Sequence[str] = ()) -> Shape:
    """Accept an object with known fields; unknown ones are reported, because an API server would drop them silently."""

    def check(value: object, path: str, out: Findings) -> None:
        if not isinstance(value, Mapping):
            of_type(value, path, out, (dict, "an object"))
            return
        for name, member in value.items():
            if name in fields:
                fields[name](member, join(path, str(name)), out)
            else:
                out.add(join(path, str(name)), UNKNOWN, f"unknown field; {suggest(str(name), fields)}")
        for name in required:
            if name not in value:
                out.add(join(path, name), REQUIRED, "is required")
        _exactly_one(value, path, out, exactly_one)

    return check


def suggest(name: str, fields: Iterable[str]) -> str:
    """Say which known field a name may be meant for, or which there are."""
    folded = {known.lower(): known for known in fields}
    close = difflib.get_close_matches(name[:_SHOWN_LENGTH].lower(), folded, n=1)
    return f"did you mean {folded[close[0]]}?" if close else f"known are {', '.join(fields)}"


def _exactly_one(value: Mapping[str, object], path: str, out: Findings, names: Sequence[str]) -> None:
    given = [name for name in names if name in value]
    if names and not given:
        out.add(path, REQUIRED, f"needs one of {', '.join(names)}")
    if len(given) > 1:
        out.add(path, FORBIDDEN, f"{' and '.join(given)} exclude each other; keep one")


def both(*shapes: Shape) -> Shape:
    """Apply several shapes to the same value."""

    def check(value: object, path: str, out: Findings) -> None:
        for shape in shapes:
            shape(value, path, out)

    return check
