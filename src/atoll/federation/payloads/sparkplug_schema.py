"""The messages of Sparkplug B, declared by field numbers, so that no generated code has to be kept.

Source: Eclipse Sparkplug 3.0, section 6.4 (the Payload of the Tahu project's sparkplug_b.proto, proto2). The door to
protobuf for payloads; `Payload` is its message class.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "atoll.sparkplug"
_FieldProto = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _FieldProto.TYPE_BOOL,
    "bytes": _FieldProto.TYPE_BYTES,
    "double": _FieldProto.TYPE_DOUBLE,
    "float": _FieldProto.TYPE_FLOAT,
    "string": _FieldProto.TYPE_STRING,
    "uint32": _FieldProto.TYPE_UINT32,
    "uint64": _FieldProto.TYPE_UINT64,
}

# A message is its fields in the order of their numbers from 1. `*` repeats a field, `|` makes it one of the values.
_NUMBERS = "|int_value uint32, |long_value uint64, |float_value float, |double_value double, |boolean_value bool"
_MESSAGES = {
    "Payload": "timestamp uint64, *metrics Metric, seq uint64, uuid string, body bytes",
    "Metric": "name string, alias uint64, timestamp uint64, datatype uint32, is_historical bool, is_transient bool, "
    f"is_null bool, metadata MetaData, properties PropertySet, {_NUMBERS}, |string_value string, |bytes_value bytes, "
    "|dataset_value DataSet, |template_value Template",
    "MetaData": "is_multi_part bool, content_type string, size uint64, seq uint64, file_name string, file_type string, "
    "md5 string, description string",
    "PropertySet": "*keys string, *values PropertyValue",
    "PropertyValue": f"type uint32, is_null bool, {_NUMBERS}, |string_value string, |propertyset_value PropertySet, "
    "|propertysets_value PropertySetList",
    "PropertySetList": "*propertyset PropertySet",
    "DataSet": "num_of_columns uint64, *columns string, *types uint32, *rows Row",
    "Row": "*elements Cell",
    "Cell": f"{_NUMBERS}, |string_value string",
    "Template": "version string, *metrics Metric, *parameters Parameter, template_ref string, is_definition bool",
    "Parameter": f"name string, type uint32, {_NUMBERS}, |string_value string",
}


def _declare() -> Any:
    # proto2 on the wire; as an edition, so that texts that are no UTF-8 are refused and not handed out as bytes.
    file = descriptor_pb2.FileDescriptorProto(
        name="atoll/sparkplug_b.proto",
        package=_PACKAGE,
        syntax="editions",
        edition=descriptor_pb2.Edition.EDITION_2023,
    )
    file.options.features.repeated_field_encoding = descriptor_pb2.FeatureSet.EXPANDED
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if "|" in fields:
            message.oneof_decl.add(name="value")
        for number, text in enumerate(fields.split(", "), 1):
            _add_field(message, number, text)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))


def _add_field(message: Any, number: int, text: str) -> None:
    name, kind = text.lstrip("*|").split()
    label = _FieldProto.LABEL_REPEATED if text.startswith("*") else _FieldProto.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _FieldProto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    if text.startswith("|"):
        field.oneof_index = 0


Payload = _declare()
