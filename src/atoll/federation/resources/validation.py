"""Check a manifest against its kind: every problem at once, each with the field's path as a person would write it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from atoll.federation.resources.base import (
    ABSOLUTE_PATH_PATTERN,
    DURATION_PATTERN,
    LABEL_PATTERN,
    QUANTITY_PATTERN,
    REFERENCE_PATTERN,
    SUBDOMAIN_PATTERN,
    Resource,
)
from atoll.federation.resources.catalog import Kind
from atoll.federation.resources.job import JobSpec
from atoll.federation.resources.schedule import END_PATTERN, TIME_PATTERN
from atoll.federation.resources.trigger import SAMPLE, Trigger, job_spec


@dataclass(frozen=True)
class FieldProblem:
    """One thing wrong: `field` is a path such as spec.inputs[0].dataset; `reason` is Kubernetes' CauseType."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"


def parse(kind: Kind, manifest: Mapping[str, Any]) -> tuple[Resource | None, tuple[FieldProblem, ...]]:
    """Parse a manifest into its kind; on failure give None and every problem found. Pure."""
    try:
        resource = kind.model.model_validate(manifest)
    except ValidationError as error:
        return None, problems(error, kind.model)
    extra = _trigger_problems(resource) if isinstance(resource, Trigger) else ()
    return (None, extra) if extra else (resource, ())


def status_problems(kind: Kind, status: Any) -> tuple[FieldProblem, ...]:
    """Name every problem of a status by itself; the kind must have one. Pure."""
    model = kind.model.model_fields["status"].annotation
    assert isinstance(model, type) and issubclass(model, BaseModel), f"the status of {kind.name} is a model"
    try:
        model.model_validate(status)
    except ValidationError as error:
        return problems(error, model, prefix="status")
    return ()


def problems(error: ValidationError, model: type[BaseModel], *, prefix: str = "") -> tuple[FieldProblem, ...]:
    """Turn pydantic's report into field problems; the model is what was validated."""
    items = error.errors(include_url=False)
    shown = items[:_MOST_PROBLEMS]
    found = tuple(
        _unknown(item, model, prefix) if item["type"] == "extra_forbidden" else _problem(item, prefix)
        for item in shown
        if not _is_consequence(item, shown)
    )
    return found if len(items) == len(shown) else (*found, _further(items[len(shown) :], prefix))


def _further(items: Sequence[Any], prefix: str) -> FieldProblem:
    """Say how much more is wrong, and where it begins."""
    field = ".".join(part for part in (prefix, field_path(items[0]["loc"])) if part)
    return FieldProblem(field, f"and {len(items)} more are wrong from here on: mend the others first")


def changed_immutable(kind: Kind, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[FieldProblem, ...]:
    """Name every immutable spec field in which two manifests differ."""
    return tuple(
        FieldProblem(f"spec.{path}", "field is immutable", "FieldValueForbidden")
        for path in kind.immutable
        if _at(old.get("spec"), path) not in (None, _at(new.get("spec"), path))
    )


def field_path(location: tuple[int | str, ...]) -> str:
    """Write a location the way kubectl does: names joined by dots, indices in brackets."""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else (f".{step}" if path else str(step))
    return path


def _is_consequence(item: Any, items: Sequence[Any]) -> bool:
    """A list counts as too short when its bad entries are left out: those are named already."""
    path = item["loc"]
    inner = (other["loc"] for other in items if len(other["loc"]) > len(path))
    return item["type"] == "too_short" and any(loc[: len(path)] == path for loc in inner)


# Nobody reads more at once. Each takes a tenth of a millisecond, and 3 MB have room for a quarter of a million.
_MOST_PROBLEMS = 100
_REASONS = {
    "missing": "FieldValueRequired",
    "extra_forbidden": "FieldValueUnknown",
    "literal_error": "FieldValueNotSupported",
}
# What pydantic puts before the words of a ValueError.
_RAISED = "Value error, "
# How alike a field must be to be named: below, unlike words are taken for slips; above, two slips are one too many.
_NEAR = 0.6
# Pydantic speaks of Python's types, a manifest has YAML's.
_TYPES = {
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a map",
    "model_type": "must be a map",
    "model_attributes_type": "must be a map",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a string",
}
# What a pattern asks for, in words: nobody should have to read a regular expression to mend a manifest.
_WORDS = {
    LABEL_PATTERN: "a DNS-1123 label: a-z, 0-9 and '-', beginning and ending with a letter or digit",
    SUBDOMAIN_PATTERN: "a DNS-1123 subdomain: labels of a-z, 0-9 and '-', joined by dots",
    REFERENCE_PATTERN: "a name, or namespace/name, of a-z, 0-9, '-' and '.'",
    QUANTITY_PATTERN: "a quantity: a number with an optional suffix, such as 500m or 40Gi",
    DURATION_PATTERN: "a duration: numbers with units, such as 20m or 1h30m",
    ABSOLUTE_PATH_PATTERN: "an absolute path",
    TIME_PATTERN: 'a time of day as HH:MM in quotes, such as "07:00"',
    END_PATTERN: 'a time of day as HH:MM in quotes, such as "19:00" or "24:00"',
}


def _problem(item: Any, prefix: str) -> FieldProblem:
    kind, value = item["type"], item.get("input")
    context = item.get("ctx", {})
    field = ".".join(part for part in (prefix, field_path(item["loc"]), context.get("field")) if part)
    reason = _REASONS.get(kind, "FieldValueInvalid")
    if kind == "missing":
        return FieldProblem(field, "is required", reason)
    words = _WORDS.get(context.get("pattern", ""))
    message = f"must be {words}" if words else _TYPES.get(kind) or str(item["msg"]).removeprefix(_RAISED)
    if kind in ("too_short", "too_long"):
        message = _length(context)
    if kind == "string_type" and isinstance(value, int | float):  # YAML reads 1, 0.5 and yes as something else
        message += ": quote it"
    shown = f"{value!r}: " if isinstance(value, str | int | float | bool) and len(str(value)) <= 80 else ""
    return FieldProblem(field, shown + message[:1].lower() + message[1:], reason)


def value_problem(error: ValidationError) -> str:
    """Say of a value that stands alone, as on a command line, what is wrong with it: the first problem."""
    item = error.errors(include_url=False)[0]
    return str(item["msg"]).removeprefix(_RAISED) if item["type"] == "value_error" else _problem(item, "").message


def _unknown(item: Any, model: type[BaseModel], prefix: str) -> FieldProblem:
    """Say that there is no such field, and which one was probably meant."""
    *above, name = item["loc"]
    field = ".".join(part for part in (prefix, field_path(item["loc"])) if part)
    lowered = {each.lower(): each for each in _fields_at(model, above)}
    typed = str(name).lower()
    near = [each for each in lowered if each.startswith(typed)] or get_close_matches(typed, lowered, n=1, cutoff=_NEAR)
    hint = f": did you mean {lowered[near[0]]}?" if near else ""
    return FieldProblem(field, f"unknown field{hint}", _REASONS["extra_forbidden"])


def _fields_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Name the fields of what stands at a location; none where that is no model, or one of several."""
    models = [model]
    for step in location:
        if isinstance(step, int):
            continue
        found = [field for each in models for own, field in each.model_fields.items() if step in (own, field.alias)]
        models = [inner for field in found for inner in _models_in(field.annotation)]
    return [field.alias or own for each in models for own, field in each.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Find the models of an annotation such as tuple[Annotated[Model, ...], ...] | None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _length(context: Mapping[str, Any]) -> str:
    """Say how many entries a list or a map may have."""
    least, most = context.get("min_length"), context.get("max_length")
    count, bound = (least, "at least") if least is not None else (most, "at most")
    return f"must have {bound} {count} {'entry' if count == 1 else 'entries'}"


def _trigger_problems(trigger: Trigger) -> tuple[FieldProblem, ...]:
    """Check a trigger's job template with a sample name in its placeholders."""
    try:
        job_spec(trigger.spec.job, SAMPLE)
    except ValidationError as error:
        return problems(error, JobSpec, prefix="spec.job.spec")
    return ()


def _at(value: Any, path: str) -> Any:
    for step in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value
