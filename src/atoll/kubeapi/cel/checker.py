"""Checking expressions: the only door to cel-expr-python, the CEL team's own parser and type checker.

Owns translating types and functions into the library's, and its errors into ours; evaluation is program.py's.
Types with fields are told to the library as protobuf descriptors, the one form in which it knows fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, struct_pb2, timestamp_pb2
from google.protobuf.message import DecodeError

from atoll.kubeapi.cel.functions import DECLARED
from atoll.kubeapi.cel.overloads import Overload
from atoll.kubeapi.cel.tree import Call, Name, Node, walk
from atoll.kubeapi.cel.types import ListType, MapType, ObjectType, Scalar, Type
from atoll.kubeapi.cel.wire import read_checked, read_parsed

_PACKAGE = "object"
_OPAQUE = ("Quantity", "Semver", "URL", "IP", "CIDR", "Format")
_WELL_KNOWN = (timestamp_pb2, duration_pb2, struct_pb2)
_TIMES = {"timestamp": "google.protobuf.Timestamp", "duration": "google.protobuf.Duration"}
_EXTENSIONS = ("optional", "strings", "sets", "two-var-comprehensions")
_UNDECLARED = re.compile(r"undeclared reference to '([\w.]+)'")
_LIMITS = re.compile(r"recursion (?:limit|depth)|codepoint limit|node count exceeded")
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "int": _Field.TYPE_INT64,
    "double": _Field.TYPE_DOUBLE,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}


class CompileError(ValueError):
    """An expression that Kubernetes would not take either; the message shows the place."""


class Unsupported(ValueError):
    """An expression that this server cannot judge, though Kubernetes may; the message says why."""


class Checker:
    """Checks the expressions of one place in a schema."""

    def __init__(self, self_type: Type, *, old_is_optional: bool = False) -> None:
        """Declare `self` and `oldSelf`; with `old_is_optional`, `oldSelf` is an optional value."""
        shapes = _Shapes()
        known = shapes.named(self_type)
        old = {"type_name": "optional_type", "params": [known]} if old_is_optional else known
        config = {
            "extensions": [{"name": name} for name in _EXTENSIONS],
            "variables": [{"name": "self", **known}, {"name": "oldSelf", **old}],
        }
        self._environment = cel.NewEnv(
            shapes.pool(),
            config=cel.NewEnvConfigFromYaml(json.dumps(config)),  # JSON is YAML
            extensions=[_extension()],
        )

    def check(self, text: str, *, gives: str) -> Node:
        """Return a checked expression that gives a bool or a string. Raises CompileError or Unsupported."""
        try:
            expression = self._environment.compile(text)
        except RuntimeError as error:
            raise self._judged(text, str(error)) from None
        found = expression.return_type().name().lower()
        if found not in (gives, "dyn"):
            raise CompileError(f"cel expression must evaluate to a {gives}, not {found}")
        try:
            return read_checked(expression.serialize())
        except DecodeError:
            raise Unsupported("the expression is nested too deeply") from None

    def _judged(self, text: str, message: str) -> CompileError | Unsupported:
        """Tell what Kubernetes would refuse too from what only we cannot judge: functions and limits it may have."""
        message = re.sub(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$", "", message)
        if _LIMITS.search(message):
            return Unsupported(f"the expression is nested too deeply or too long: {message.splitlines()[0]}")
        errors = [line for line in message.splitlines() if line.startswith("ERROR:")]
        unknown = [match[1] if (match := _UNDECLARED.search(error)) else "" for error in errors]
        if errors and all(unknown) and self._are_functions(text, set(unknown)):
            return Unsupported(f"this server has no function {', '.join(dict.fromkeys(unknown))}")
        return CompileError(f"compilation failed: {message}")

    def _are_functions(self, text: str, unknown: set[str]) -> bool:
        """Say whether unknown names are those of functions only, or of what such a function is called on (`math.f`)."""
        tree = read_parsed(self._environment.compile(text, disable_check=True).serialize())
        calls = [part for part in walk(tree) if isinstance(part, Call)]
        functions = {call.function for call in calls}
        return unknown <= functions | {_space(call) for call in calls if call.function in unknown}


def _space(call: Call) -> str:
    """Return the name that a function is called on, or an empty string."""
    first = call.arguments[0] if call.arguments else None
    return first.name if isinstance(first, Name) else ""


class _Shapes:
    """Object types as messages of one descriptor file."""

    def __init__(self) -> None:
        self._file = descriptor_pb2.FileDescriptorProto(name="object.proto", package=_PACKAGE, syntax="proto2")
        self._file.dependency.extend(module.DESCRIPTOR.name for module in _WELL_KNOWN)
        self._names: dict[int, str] = {}
        self._used: set[str] = set()
        for name in _OPAQUE:
            self._file.message_type.add(name=name)
            self._used.add(name)

    def pool(self) -> descriptor_pool.DescriptorPool:
        """Return a pool with all that was named."""
        pool = descriptor_pool.DescriptorPool()
        for module in _WELL_KNOWN:
            pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        pool.AddSerializedFile(self._file.SerializeToString())
        return pool

    def named(self, type_: Type) -> dict[str, Any]:
        """Return a type as the library's configuration names it."""
        match type_:
            case Scalar(name):
                return {"type_name": _TIMES.get(name, name)}
            case ListType(of):
                return {"type_name": "list", "params": [self.named(of)]}
            case MapType(of):
                return {"type_name": "map", "params": [{"type_name": "string"}, self.named(of)]}
            case ObjectType():
                return {"type_name": f"{_PACKAGE}.{self._message(type_)}"}

    def _message(self, type_: ObjectType) -> str:
        """Return the name of the message of an object, adding it at first sight."""
        if id(type_) in self._names:
            return self._names[id(type_)]
        name = re.sub(r"\W", "_", "_".join(type_.path) or "self")
        while name in self._used or not re.match(r"[A-Za-z_]", name):
            name = f"_{name}"
        self._used.add(name)
        self._names[id(type_)] = name
        message = descriptor_pb2.DescriptorProto(name=name)
        message.options.deprecated_legacy_json_field_conflicts = True  # foo_bar beside fooBar is fine here
        for number, (field, inner) in enumerate(type_.fields.items(), start=1):
            self._add_field(message, field, number, inner)
        self._file.message_type.append(message)
        return name

    def _add_field(self, message: Any, name: str, number: int, type_: Type) -> None:
        field = message.field.add(name=name, number=number, json_name=f"f{number}", label=_Field.LABEL_OPTIONAL)
        if isinstance(type_, ListType) and not isinstance(type_.of, ListType | MapType):
            field.label = _Field.LABEL_REPEATED
            self._set_type(field, type_.of)
        elif isinstance(type_, MapType) and not isinstance(type_.of, ListType | MapType):
            self._add_map(message, field, type_)
        else:
            self._set_type(field, type_)

    def _add_map(self, message: Any, field: Any, type_: MapType) -> None:
        """Make a field a map, through the message of one entry, whose name protobuf prescribes."""
        name = "".join(part[:1].upper() + part[1:] for part in field.name.split("_")) + "Entry"
        if name in (known.name for known in message.nested_type):
            self._set_type(field, type_)
            return
        entry = message.nested_type.add(name=name)
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
        self._set_type(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), type_.of)
        field.label, field.type = _Field.LABEL_REPEATED, _Field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{message.name}.{name}"

    def _set_type(self, field: Any, type_: Type) -> None:
        """Set the type of one value. Protobuf has no lists of lists and the like: their inner types are not checked."""
        if isinstance(type_, Scalar) and type_.name in _SCALARS:
            field.type = _SCALARS[type_.name]
            return
        field.type = _Field.TYPE_MESSAGE
        match type_:
            case Scalar(name):
                field.type_name = f".{_TIMES.get(name, 'google.protobuf.Value')}"
            case ListType():
                field.type_name = ".google.protobuf.ListValue"
            case MapType():
                field.type_name = ".google.protobuf.Struct"
            case ObjectType():
                field.type_name = f".{_PACKAGE}.{self._message(type_)}"


@lru_cache(maxsize=1)
def _extension() -> Any:
    """Return the functions that are declared to every checker; declaring them anew takes as long as a rule."""
    return cel.CelExtension("kubernetes", list(_declarations()))


def _declarations() -> Iterator[Any]:
    """Yield Kubernetes' functions for the checker; the library never calls them."""
    by_name: dict[str, list[Overload]] = {}
    for overload in DECLARED:
        by_name.setdefault(overload.name, []).append(overload)
    for name, overloads in by_name.items():
        yield cel.FunctionDecl(name, [_declaration(overload) for overload in overloads])


def _declaration(overload: Overload) -> Any:
    return cel.Overload(
        f"kubernetes_{overload.name}_{'_'.join(overload.parameters)}_{overload.is_method}",
        return_type=_type(overload.result),
        parameters=[_type(parameter) for parameter in overload.parameters],
        is_member=overload.is_method,
    )


def _type(text: str) -> Any:
    """Return the library's type for a type as text."""
    outer, _, inner = text.partition("(")
    inner = inner[:-1]
    if outer == "list":
        return cel.Type.List(_type(inner))
    if outer == "map":
        key, _, value = inner.partition(", ")
        return cel.Type.Map(_type(key), _type(value))
    if outer == "optional":
        return cel.Type.AbstractType("optional_type", [_type(inner)])
    known: Mapping[str, Any] = {
        "bool": cel.Type.BOOL,
        "int": cel.Type.INT,
        "uint": cel.Type.UINT,
        "double": cel.Type.DOUBLE,
        "string": cel.Type.STRING,
        "bytes": cel.Type.BYTES,
        "timestamp": cel.Type.TIMESTAMP,
        "duration": cel.Type.DURATION,
        "dyn": cel.Type.DYN,
    }
    return known[outer] if outer in known else cel.Type(f"{_PACKAGE}.{outer}")
