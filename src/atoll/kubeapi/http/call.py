"""One request to one resource: its query, its body, and the options of the store's methods that they come to.

Owns the reading of these; must not read or write objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from starlette.requests import Request

from atoll.kubeapi import options
from atoll.kubeapi.arguments import DeleteArguments, WriteArguments
from atoll.kubeapi.deletion import Propagation
from atoll.kubeapi.errors import BadRequest
from atoll.kubeapi.http import negotiation
from atoll.kubeapi.http.negotiation import Form
from atoll.kubeapi.http.target import Target, truth
from atoll.kubeapi.options import OptionsKind
from atoll.kubeapi.protobuf import DELETE_OPTIONS
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.tables import IncludeObject
from atoll.kubeapi.watching import is_whole_number
from atoll.kubeapi.writing import Admit, FieldValidation, strict_decoding


@dataclass(frozen=True)
class Call:
    """One request to one resource."""

    request: Request
    rt: ResourceType
    target: Target
    form: Form
    admit: Admit
    warnings: list[str]

    def query(self, name: str) -> str:
        """Return a query parameter, or an empty string."""
        return self.request.query_params.get(name, "")

    def flag(self, name: str) -> bool | None:
        """Return a boolean query parameter; None if it is not there."""
        return truth(self.request.query_params.get(name))

    def number(self, name: str) -> int:
        """Return a numeric query parameter; 0 if it is not there. Raises BadRequest."""
        text = self.query(name) or "0"
        if not is_whole_number(text):
            raise BadRequest(f"{name}: Invalid value: {text[:80]!r}: must be a whole number")
        return int(text)

    @property
    def include(self) -> IncludeObject:
        """What the rows of a Table carry besides their cells. Raises BadRequest."""
        text = self.query("includeObject") or "Metadata"
        if text not in get_args(IncludeObject):
            raise BadRequest(f"includeObject: Invalid value: {text!r}: must be None, Metadata or Object")
        return cast(IncludeObject, text)

    async def body(self) -> Any:
        """Decode what is to be written, None if there is nothing; fields that stand twice are refused or warned of."""
        raw, content_type = await negotiation.received(self.request), self._content_type
        if not raw:
            return None
        value = negotiation.read_body(raw, content_type, shape=self.rt.protobuf)
        if self._field_validation != "Ignore":
            self._report(negotiation.repeated_fields(raw, content_type, value))
        return value

    def write_arguments(self, kind: OptionsKind) -> WriteArguments:
        """Return the options of a write; the manager is by default the program that the client says it is.

        Raises Invalid with every option that makes no sense.
        """
        agent = self.request.headers.get("user-agent", "").partition("/")[0]
        dry_run, manager, validation = self.query("dryRun"), self.query("fieldManager"), self._field_validation
        causes = options.write_causes(dry_run=dry_run, field_validation=validation, manager=manager)
        options.refuse(kind, causes)
        return {
            "subresource": self.target.subresource,
            "dry_run": dry_run == "All",
            "field_manager": manager or "".join(filter(str.isprintable, agent))[:128],
            "field_validation": validation,
            "force": bool(self.flag("force")),
            "warn": self.warnings.append,
            "admit": self.admit,
        }

    async def delete_arguments(self) -> DeleteArguments:
        """Read DeleteOptions from the body and the query; the body goes before the query.

        Raises BadRequest, or Invalid with every option that makes no sense.
        """
        stated = await self._delete_options()
        preconditions, orphan = stated.get("preconditions") or {}, stated.get("orphanDependents")
        propagation = stated.get("propagationPolicy") or self.query("propagationPolicy")
        dry_run = stated.get("dryRun") or list(filter(None, [self.query("dryRun")]))
        causes = options.delete_causes(propagation=propagation, orphan_dependents=orphan, dry_run=dry_run)
        options.refuse("DeleteOptions", causes)
        if orphan is not None:
            propagation = "Orphan" if orphan else "Background"
        grace = stated.get("gracePeriodSeconds")
        if grace is None and self.query("gracePeriodSeconds"):
            grace = self.number("gracePeriodSeconds")
        return {
            "uid": preconditions.get("uid") or "",
            "resource_version": preconditions.get("resourceVersion") or "",
            "propagation": cast(Propagation, propagation),
            "grace_seconds": grace,
            "dry_run": bool(dry_run),
        }

    async def _delete_options(self) -> dict[str, Any]:
        raw = await negotiation.received(self.request)
        stated = negotiation.read_body(raw, self._content_type, shape=DELETE_OPTIONS) if raw else None
        if stated is None:
            return {}
        if not isinstance(stated, dict):
            raise BadRequest("DeleteOptions must be an object")
        preconditions, grace = stated.get("preconditions"), stated.get("gracePeriodSeconds")
        if preconditions is not None and not isinstance(preconditions, dict):
            raise BadRequest("preconditions: Invalid value: must be an object")
        if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int)):
            raise BadRequest(f"gracePeriodSeconds: Invalid value: {grace!r}: must be a whole number")
        if not isinstance(stated.get("dryRun") or [], list):
            raise BadRequest("dryRun: Invalid value: must be a list")
        return stated

    @property
    def _content_type(self) -> str:
        return self.request.headers.get("content-type", "")

    @property
    def _field_validation(self) -> FieldValidation:
        return cast(FieldValidation, self.query("fieldValidation") or "Warn")

    def _report(self, repeated: Sequence[str]) -> None:
        messages = [f'duplicate field "{path}"' for path in repeated]
        if messages and self._field_validation == "Strict":
            raise BadRequest(strict_decoding(self.rt, messages))
        self.warnings.extend(messages)
