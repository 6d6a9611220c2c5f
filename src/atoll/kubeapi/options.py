"""The options of a request, and what makes them invalid.

Owns the rules of meta/v1's ListOptions, CreateOptions, UpdateOptions, PatchOptions and DeleteOptions; pure.
Source: Kubernetes documentation "API Concepts"; k8s.io/apimachinery meta/internalversion/validation and
meta/v1/validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from atoll.kubeapi.errors import Cause, Invalid, Subject

OptionsKind = Literal["ListOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "DeleteOptions"]
DRY_RUN = ("All",)
FIELD_VALIDATION = ("Ignore", "Strict", "Warn")
PROPAGATION = ("Background", "Foreground", "Orphan")
_GROUP = "meta.k8s.io"
_MATCH = "resourceVersionMatch"
_MATCHES = ("Exact", "NotOlderThan")
_MAX_MANAGER = 128


def refuse(kind: OptionsKind, causes: Iterable[Cause]) -> None:
    """Raise Invalid with all causes, if there is any."""
    listed = tuple(causes)
    if listed:
        raise Invalid.of(Subject(_GROUP, kind), listed)


def list_causes(*, version: str, match: str, continue_token: str, send_initial: bool | None = None) -> Iterator[Cause]:
    """Yield what makes no sense in a list."""
    if match and not version:
        yield _forbidden(_MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided")
    if match and continue_token:
        yield _forbidden(_MATCH, "resourceVersionMatch is forbidden when continue is provided")
    yield from one_of(_MATCH, match, _MATCHES)
    if match == "Exact" and version == "0":
        yield _forbidden(_MATCH, 'resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')
    if send_initial is not None:
        yield _forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")


def watch_causes(*, match: str, continue_token: str, send_initial: bool | None) -> Iterator[Cause]:
    """Yield what makes no sense in a watch."""
    if send_initial is not None and match != "NotOlderThan":
        yield _forbidden(_MATCH, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    if match and send_initial is None:
        yield _forbidden(_MATCH, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
    yield from one_of(_MATCH, match, ("NotOlderThan",))
    if match and continue_token:
        yield _forbidden(_MATCH, "resourceVersionMatch is forbidden when continue is provided")


def write_causes(*, dry_run: str, field_validation: str, manager: str) -> Iterator[Cause]:
    """Yield what makes no sense in a create, an update or a patch."""
    yield from one_of("dryRun", dry_run, DRY_RUN)
    yield from one_of("fieldValidation", field_validation, FIELD_VALIDATION)
    if len(manager) > _MAX_MANAGER:
        message = f"Too long: may not be more than {_MAX_MANAGER} bytes"
        yield Cause("fieldManager", message, "FieldValueTooLong")
    if not manager.isprintable():
        yield Cause("fieldManager", f"Invalid value: {_quoted(manager)}: must be printable")


def patch_causes(*, is_apply: bool, manager: str, force: bool | None) -> Iterator[Cause]:
    """Yield what makes no sense in a patch beyond write_causes()."""
    if is_apply and not manager:
        yield Cause("fieldManager", "Required value: is required for apply patch", "FieldValueRequired")
    if not is_apply and force is not None:
        yield _forbidden("force", "may not be specified for non-apply patch")


def delete_causes(*, propagation: str, orphan_dependents: Any, dry_run: Iterable[Any]) -> Iterator[Cause]:
    """Yield what makes no sense in a deletion."""
    if propagation and orphan_dependents is not None:
        message = f"Invalid value: {_quoted(propagation)}: orphanDependents and propagationPolicy cannot be both set"
        yield Cause("propagationPolicy", message)
    yield from one_of("propagationPolicy", propagation, PROPAGATION)
    for value in dry_run:
        yield from one_of("dryRun", value, DRY_RUN)


def one_of(field: str, value: Any, supported: tuple[str, ...]) -> Iterator[Cause]:
    """Yield a cause if a value is given that is none of those supported."""
    if value and value not in supported:
        known = ", ".join(map(_quoted, supported))
        yield Cause(field, f"Unsupported value: {_quoted(value)}: supported values: {known}", "FieldValueNotSupported")


def _forbidden(field: str, why: str) -> Cause:
    return Cause(field, f"Forbidden: {why}", "FieldValueForbidden")


def _quoted(value: Any) -> str:
    return f'"{value}"'
