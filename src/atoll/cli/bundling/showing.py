"""What of an object is shown: the fields that its kind has, their numbers and states, and texts by known words. Pure.

What is free of form (manifests of work, annotations) is told by its size only.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from atoll.cli.bundling.vocabulary import Vocabulary
from atoll.federation.resources import BY_NAME

Json = dict[str, Any]
_METADATA = ("name", "namespace", "uid", "generation", "resourceVersion", "creationTimestamp", "deletionTimestamp")
_EVENT = ("type", "reason", "count", "firstTimestamp", "lastTimestamp")
_INVOLVED = ("kind", "namespace", "name")


def shown_object(kind: str, obj: Mapping[str, Any], words: Vocabulary) -> Json:
    """Show one of Atoll's own objects; one that this program cannot read by its name only."""
    metadata = obj.get("metadata") or {}
    found: Json = {"metadata": {key: metadata[key] for key in _METADATA if key in metadata}}
    try:
        resource = BY_NAME[kind].model.model_validate(obj)
    except ValueError:
        return {**found, "note": "not readable by this version"}
    for part in ("spec", "status"):
        value = getattr(resource, part, None)
        if isinstance(value, BaseModel):
            found[part] = _model(value, words)
    return found


def shown_event(event: Mapping[str, Any], words: Vocabulary) -> Json:
    """Show an event."""
    involved = event.get("involvedObject") or {}
    found = {key: event[key] for key in _EVENT if key in event}
    about = {key: involved[key] for key in _INVOLVED if key in involved}
    return {**found, "involvedObject": about, "message": words.filter(str(event.get("message", "")))}


def _model(model: BaseModel, words: Vocabulary) -> Json:
    fields = type(model).model_fields
    values = ((name, getattr(model, name)) for name in fields if name in model.model_fields_set)
    return {fields[name].alias or name: _value(value, words, fields[name]) for name, value in values}


def _value(value: object, words: Vocabulary, field: FieldInfo | None = None) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case datetime():
            return value.isoformat()
        case str():
            is_closed = field is not None and get_origin(field.annotation) is Literal
            return value if is_closed else words.filter(value)
        case BaseModel():
            return _model(value, words)
        case Mapping():
            return _mapping(value, words)
        case tuple() | list():
            return [_value(each, words, field) for each in value]
    return f"({type(value).__name__})"


def _mapping(value: Mapping[Any, Any], words: Vocabulary) -> object:
    """Show a map of models or numbers; of one that is free of form only how large it is."""
    if all(isinstance(each, BaseModel | bool | int | float) for each in value.values()):
        return {words.filter(str(key)): _value(each, words) for key, each in value.items()}
    return f"({len(value)} entries, left out)"
