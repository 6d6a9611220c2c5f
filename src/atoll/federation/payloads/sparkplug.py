"""Sparkplug B payloads (Eclipse Sparkplug 3.0, section 6.4) as JSON-like values, names put in the place of aliases, and
the command that asks an edge node to be born again.

A value is {timestamp, seq, uuid, metrics: [{name, alias, timestamp, type, value, isHistorical, isNull, properties}]};
what a payload does not have is left out. Timestamps are milliseconds since 1970, as they were sent.
"""

import base64
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from atoll.federation.payloads.errors import MalformedPayload
from atoll.federation.payloads.sparkplug_schema import Payload

# Section 6.4.16, in the order of their indices.
# fmt: off
_TYPES = (
    "Unknown", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float", "Double", "Boolean",
    "String", "DateTime", "Text", "UUID", "DataSet", "Bytes", "File", "Template", "PropertySet", "PropertySetList",
    "Int8Array", "Int16Array", "Int32Array", "Int64Array", "UInt8Array", "UInt16Array", "UInt32Array", "UInt64Array",
    "FloatArray", "DoubleArray", "BooleanArray", "StringArray", "DateTimeArray",
)
# fmt: on
_SIGNED_BITS = {"Int8": 8, "Int16": 16, "Int32": 32, "Int64": 64}
_ARRAY_ITEMS = {
    "Int8Array": "b", "Int16Array": "h", "Int32Array": "i", "Int64Array": "q", "UInt8Array": "B", "UInt16Array": "H",
    "UInt32Array": "I", "UInt64Array": "Q", "FloatArray": "f", "DoubleArray": "d", "DateTimeArray": "Q",
}  # fmt: skip
REBIRTH = "Node Control/Rebirth"
_BIRTH_NUMBER = "bdSeq"


class KnownMetric(NamedTuple):
    """What a birth says of an alias: DATA messages carry neither name nor type after it."""

    name: str
    datatype: int


class Outline(NamedTuple):
    """What is to be known of a message before its metrics.

    `birth` numbers the births of a node: its birth and the death that belongs to it have the same (section 6.4.7).
    """

    seq: int | None
    timestamp_ms: int | None
    is_historical: bool
    birth: int | None = None


def decode_sparkplug(payload: bytes) -> Any:
    """Give the JSON-like value.

    Raises:
        MalformedPayload: the bytes are no Sparkplug B payload.
    """
    return _plain_payload(_parse(payload))


def outline(payload: bytes) -> Outline:
    """Give sequence number, time, whether it tells of the past only, and of which life of its node.

    Raises:
        MalformedPayload: the bytes are no Sparkplug B payload.
    """
    parsed = _parse(payload)
    metrics = parsed.metrics
    return Outline(
        parsed.seq if parsed.HasField("seq") else None,
        parsed.timestamp if parsed.HasField("timestamp") else None,
        bool(metrics) and all(metric.is_historical for metric in metrics),
        next((metric.long_value for metric in metrics if metric.name == _BIRTH_NUMBER), None),
    )


def births(payload: bytes) -> dict[int, KnownMetric]:
    """Give the aliases that a birth certificate declares (section 6.4.15)."""
    return {
        metric.alias: KnownMetric(metric.name, metric.datatype)
        for metric in _parse(payload).metrics
        if metric.HasField("alias") and metric.name
    }


def with_names(payload: bytes, known: Mapping[int, KnownMetric]) -> tuple[bytes, bool]:
    """Give the payload with name and type put beside each alias, and whether all aliases are known.

    It stays a Sparkplug B payload that says the same, but can be read without the birth before it.
    """
    parsed = _parse(payload)
    is_whole, is_changed = True, False
    for metric in parsed.metrics:
        if metric.name or not metric.HasField("alias"):
            continue
        birth = known.get(metric.alias)
        if birth is None:
            is_whole = False
            continue
        metric.name, is_changed = birth.name, True
        if not metric.HasField("datatype"):
            metric.datatype = birth.datatype
    return (parsed.SerializeToString() if is_changed else payload), is_whole


def rebirth_command(timestamp_ms: int) -> bytes:
    """Give the NCMD payload that asks an edge node for its birth certificates (section 6.4.20)."""
    command = Payload(timestamp=timestamp_ms)
    command.metrics.add(name=REBIRTH, timestamp=timestamp_ms, datatype=_TYPES.index("Boolean"), boolean_value=True)
    data: bytes = command.SerializeToString()
    return data


def _parse(payload: bytes) -> Any:
    try:
        return Payload.FromString(payload)
    except DecodeError as error:
        raise MalformedPayload("SparkplugB", str(error)) from None


def _plain_payload(parsed: Any) -> dict[str, Any]:
    found = _present(parsed, {"timestamp": "timestamp", "seq": "seq", "uuid": "uuid"})
    if parsed.HasField("body"):
        found["body"] = _text(parsed.body)
    return found | {"metrics": [_plain_metric(metric) for metric in parsed.metrics]}


def _plain_metric(metric: Any) -> dict[str, Any]:
    names = {"name": "name", "alias": "alias", "timestamp": "timestamp", "is_historical": "isHistorical"}
    found = _present(metric, names | {"is_transient": "isTransient", "is_null": "isNull"})
    if metric.HasField("datatype"):
        found["type"] = _type(metric.datatype)
    found["value"] = None if metric.is_null else _value(metric, metric.datatype)
    if metric.HasField("properties"):
        found["properties"] = _property_set(metric.properties)
    return found


def _present(message: Any, names: Mapping[str, str]) -> dict[str, Any]:
    return {wire: getattr(message, own) for own, wire in names.items() if message.HasField(own)}


def _type(number: int) -> str:
    return _TYPES[number] if number < len(_TYPES) else f"Unknown{number}"


def _value(message: Any, number: int) -> Any:
    """Give the one of the values that is set, as its type reads it."""
    kind = message.WhichOneof("value")
    if kind is None:
        return None
    raw, name = getattr(message, kind), _type(number)
    match kind:
        case "int_value" | "long_value":
            return _signed(raw, _SIGNED_BITS[name]) if name in _SIGNED_BITS else raw
        case "bytes_value":
            return _array(raw, name)
        case "dataset_value":
            return [
                {
                    column: _value(cell, kind)
                    for column, kind, cell in zip(raw.columns, raw.types, row.elements, strict=False)
                }
                for row in raw.rows
            ]
        case "template_value":
            parameters = {parameter.name: _value(parameter, parameter.type) for parameter in raw.parameters}
            return {"parameters": parameters, "metrics": [_plain_metric(metric) for metric in raw.metrics]}
        case "propertyset_value":
            return _property_set(raw)
        case "propertysets_value":
            return [_property_set(item) for item in raw.propertyset]
    return raw


def _property_set(properties: Any) -> dict[str, Any]:
    pairs = zip(properties.keys, properties.values, strict=False)
    return {key: None if value.is_null else _value(value, value.type) for key, value in pairs}


def _signed(raw: int, bits: int) -> int:
    """Read two's complement: the wire has unsigned fields only, and some senders extend the sign to all their bits."""
    low = raw & ((1 << bits) - 1)
    return low - (1 << bits) if low >> (bits - 1) else low


def _array(raw: bytes, name: str) -> Any:
    """Read an array (section 6.4.17): items little-endian, booleans by bits after their count, texts end with NUL."""
    item = _ARRAY_ITEMS.get(name)
    if item is not None and len(raw) % struct.calcsize(item) == 0:
        return list(struct.unpack(f"<{len(raw) // struct.calcsize(item)}{item}", raw))
    if name == "BooleanArray" and len(raw) >= 4:
        count = min(int.from_bytes(raw[:4], "little"), (len(raw) - 4) * 8)
        return [bool(raw[4 + at // 8] >> (7 - at % 8) & 1) for at in range(count)]
    if name == "StringArray":
        return [text.decode(errors="replace") for text in raw.split(b"\0")[:-1]]
    return _text(raw)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
