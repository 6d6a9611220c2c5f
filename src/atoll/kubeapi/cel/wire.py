"""Reading the library's serialized expressions into trees.

Owns the numbers of cel.expr.CheckedExpr (cel-spec: proto/cel/expr/checked.proto and syntax.proto); must not judge.
The library ships no Python classes for them, so they are declared here, without what an evaluator has no use for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

from atoll.kubeapi.cel.tree import Call, Comprehension, Entry, Item, ListOf, Literal, MapOf, Name, Node, Select
from atoll.kubeapi.cel.values import Uint

_Descriptor = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Descriptor.TYPE_BOOL,
    "int32": _Descriptor.TYPE_INT32,
    "int64": _Descriptor.TYPE_INT64,
    "uint64": _Descriptor.TYPE_UINT64,
    "double": _Descriptor.TYPE_DOUBLE,
    "string": _Descriptor.TYPE_STRING,
    "bytes": _Descriptor.TYPE_BYTES,
}
_MESSAGES = {
    "Checked": "4 expr Expr",
    "Parsed": "2 expr Expr",
    "Expr": "3 constant Constant, 4 name Name, 5 select Select, 6 call Call, 7 list List, 8 map Map, 9 loop Loop",
    "Name": "1 name string",
    "Select": "1 operand Expr, 2 field string, 3 test_only bool",
    "Call": "1 target Expr, 2 function string, 3 args Expr*",
    "List": "1 elements Expr*, 2 optional_indices int32*",
    "Map": "2 entries Entry*",
    "Entry": "2 field string, 3 key Expr, 4 value Expr, 5 optional bool",
    "Loop": "1 variable string, 8 second string, 2 over Expr, 3 accumulator string, 4 start Expr, 5 condition Expr, "
    "6 step Expr, 7 result Expr",
    "Constant": "1 null int64, 2 bool bool, 3 int int64, 4 uint uint64, 5 double double, 6 string string, "
    "7 bytes bytes",
}


def read_checked(serialized: bytes) -> Node:
    """Return the tree of a checked expression."""
    return _read(serialized, "Checked")


def read_parsed(serialized: bytes) -> Node:
    """Return the tree of an expression that was parsed and not checked."""
    return _read(serialized, "Parsed")


def _read(serialized: bytes, message: str) -> Node:
    envelope = any_pb2.Any.FromString(serialized)
    return _node(_classes()[message].FromString(envelope.value).expr)


@lru_cache(maxsize=1)
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="expressions.proto", package="expressions", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split(", "):
            number, field, kind = text.split(" ")
            _add_field(message, field, int(number), kind)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"expressions.{name}")) for name in _MESSAGES
    }


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    label = _Descriptor.LABEL_REPEATED if kind.endswith("*") else _Descriptor.LABEL_OPTIONAL
    kind = kind.rstrip("*")
    field = message.field.add(name=name, number=number, label=label, type=_SCALARS.get(kind, _Descriptor.TYPE_MESSAGE))
    if kind not in _SCALARS:
        field.type_name = f".expressions.{kind}"
    if message.name == "Constant":
        if not message.oneof_decl:
            message.oneof_decl.add(name="kind")
        field.oneof_index = 0


def _node(expr: Any) -> Node:
    if expr.HasField("constant"):
        return Literal(_constant(expr.constant))
    if expr.HasField("name"):
        return Name(expr.name.name)
    if expr.HasField("select"):
        return Select(_node(expr.select.operand), expr.select.field, expr.select.test_only)
    if expr.HasField("call"):
        target = (_node(expr.call.target),) if expr.call.HasField("target") else ()
        return Call(expr.call.function, (*target, *map(_node, expr.call.args)))
    if expr.HasField("list"):
        optional = set(expr.list.optional_indices)
        return ListOf(tuple(Item(_node(each), index in optional) for index, each in enumerate(expr.list.elements)))
    if expr.HasField("map"):
        return MapOf(tuple(_entry(entry) for entry in expr.map.entries))
    loop = expr.loop
    parts = (_node(part) for part in (loop.start, loop.condition, loop.step, loop.result))
    return Comprehension(loop.variable, loop.second, _node(loop.over), loop.accumulator, *parts)


def _entry(entry: Any) -> Entry:
    key = _node(entry.key) if entry.HasField("key") else Literal(entry.field)
    return Entry(key, _node(entry.value), entry.optional)


def _constant(constant: Any) -> Any:
    kind = constant.WhichOneof("kind")
    if kind in ("null", None):
        return None
    value = getattr(constant, kind)
    return Uint(value) if kind == "uint" else value
