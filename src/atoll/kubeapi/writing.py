"""What a write makes of an object: the draft, the patch, admission, and who owns the fields afterwards.

Owns the pure middle of a write of one resource; the store reads before it and writes after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from atoll.kubeapi import managed_fields, metadata, options
from atoll.kubeapi.apply import Application, apply, without_nulls
from atoll.kubeapi.errors import BadRequest, Cause, Conflict, Invalid
from atoll.kubeapi.managed_fields import APPLY, UPDATE, Manager, Managers
from atoll.kubeapi.patch import Patch, json_patch, merge_patch
from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.strategic import strategic_patch

FieldValidation = Literal["Strict", "Warn", "Ignore"]

STALE = "the object has been modified; please apply your changes to the latest version and try again"
_NAMELESS_MANAGER = "unknown"
_LEVELS_AROUND = 16

Admit = Callable[[Object, Object | None], None]
"""Looks at an object as it would be stored, and at what it replaces (None on create). Raises ApiError to refuse."""


def _unheard(_warning: str) -> None:
    """Drop a warning that nobody listens to."""


def _admitted(_new: Object, _old: Object | None) -> None:
    """Take what the kind's own rules take."""


@dataclass(frozen=True)
class WriteOptions:
    """The options of one write.

    `warn` hears what was taken but should be changed; `admit` sees what is right by the kind's rules, and may refuse.
    `takes_status` lets a create store the status, too: for who makes and owns it in this process. No client may.
    """

    subresource: str = ""
    dry_run: bool = False
    field_manager: str = ""
    field_validation: FieldValidation = "Strict"
    force: bool = False
    warn: Callable[[str], None] = _unheard
    admit: Admit = _admitted
    takes_status: bool = False


def strict_decoding(rt: ResourceType, faults: Sequence[str]) -> str:
    """Say, as Kubernetes does, that strict validation found fields that are unknown or stand twice."""
    found = f"strict decoding error: {', '.join(faults)}"
    return f'{rt.kind} in version "{rt.version}" cannot be handled as a {rt.kind}: {found}'


class Writer:
    """One write to one resource at one instant."""

    def __init__(self, rt: ResourceType, options: WriteOptions, *, now: str, new_uid: Callable[[], str]) -> None:
        """Args: `new_uid` is for the object, should this write create one."""
        self.rt = rt
        self.options = options
        self._now = now
        self._new_uid = new_uid

    # what was sent

    def draft(self, obj: Any, namespace: str | None) -> Object:
        """Check what was sent against the request and return a shallow copy. Raises BadRequest."""
        draft = metadata.check_type(self.rt, obj)
        metadata.check_place(self.rt, draft, namespace)
        return draft

    def configuration(self, body: Any, namespace: str | None, name: str) -> Object:
        """Check what is applied against the request and return it without nulls. Raises Invalid or BadRequest."""
        causes = options.patch_causes(is_apply=True, manager=self.options.field_manager, force=None)
        options.refuse("PatchOptions", causes)
        config: Object = without_nulls(self.draft(body, namespace))
        if "managedFields" in config["metadata"]:
            raise BadRequest("metadata.managedFields must be nil")
        config["metadata"].setdefault("name", name)
        self._check_name(config, name)
        return self._own_part(config)

    def patched(self, live: Object, patch: Patch) -> Object:
        """Return `live` with a patch of another kind than apply laid over it. Raises BadRequest or Invalid."""
        if patch.kind == "json":
            patched = json_patch(live, patch.body)
        elif not isinstance(patch.body, dict):
            raise BadRequest("the patch must be an object")
        elif patch.kind == "merge":
            patched = merge_patch(live, patch.body)
        else:
            patched = strategic_patch(live, patch.body, self.rt.structure)
        return self.draft(patched, live["metadata"].get("namespace"))

    # what is stored

    def created(self, draft: Object) -> Object:
        """Return the object that a create stores. Raises Invalid or BadRequest."""
        obj = self._new(draft)
        prepared = self._admit(obj, None)
        return self._owned(prepared, self._after({"metadata": {}}, prepared, {}))

    def created_by_apply(self, config: Object) -> Object:
        """Return the object that the first apply of a configuration stores. Raises Invalid or BadRequest."""
        obj = self._new(config)
        result = apply({}, {}, self._application(config), schema=self.rt.structure, subject=self._subject(config))
        return self._owned(self._admit(obj, None), result.managers)

    def replaced(self, live: Object, draft: Object) -> Object:
        """Return what an update of `live` to `draft` stores. Raises Conflict, Invalid or BadRequest."""
        self._check_version(live, draft)
        self._check_is_from_a_version(live, draft)
        new = self._with_the_other_part(live, _copy(draft))
        self._check_name(new, live["metadata"]["name"])
        managers = self._stated_managers(live, new)
        metadata.carry_over(self.rt, live, new)
        prepared = self._admit(new, live)
        metadata.count_generation(self.rt, live, prepared)
        return self._owned(prepared, self._after(live, prepared, managers))

    def applied(self, live: Object, config: Object) -> Object:
        """Return what applying a configuration to `live` stores. Raises Conflict, Invalid or BadRequest."""
        self._check_version(live, config)
        managers = managed_fields.decode(live["metadata"].get("managedFields"))
        application = self._application(config)
        result = apply(live, managers, application, schema=self.rt.structure, subject=self._subject(live))
        new = _copy(result.obj)
        metadata.carry_over(self.rt, live, new)
        prepared = self._admit(new, live)
        metadata.count_generation(self.rt, live, prepared)
        return self._owned(prepared, result.managers)

    # the parts of both

    def _new(self, draft: Object) -> Object:
        obj = _copy(draft)
        if self.rt.has_status and not self.options.takes_status:
            obj.pop("status", None)
        metadata.stamp_new(self.rt, obj, uid=self._new_uid(), now=self._now)
        obj["metadata"].pop("managedFields", None)
        return obj

    def _admit(self, obj: Object, old: Object | None) -> Object:
        causes = list(metadata.check_metadata(self.rt, obj, old))
        prepared = self.rt.strategy.prepare(obj, old)
        self._report_unknown(prepared.unknown)
        causes += prepared.causes
        if causes:
            raise Invalid.of(self.rt.object_subject(str(obj["metadata"].get("name", ""))), causes)
        self.options.admit(prepared.obj, old)
        for warning in prepared.warnings:
            self.options.warn(warning)
        return prepared.obj

    def _report_unknown(self, unknown: tuple[str, ...]) -> None:
        messages = [f'unknown field "{path}"' for path in unknown]
        if not messages or self.options.field_validation == "Ignore":
            return
        if self.options.field_validation == "Warn":
            for message in messages:
                self.options.warn(message)
            return
        causes = [Cause(path, message) for path, message in zip(unknown, messages, strict=True)]
        raise BadRequest(strict_decoding(self.rt, messages), causes=causes)

    def _own_part(self, config: Object) -> Object:
        """Leave out of a configuration what belongs to the other endpoint: the status, or all but the status."""
        if not self.rt.has_status:
            return config
        if self.options.subresource == "status":
            identity = {name: config["metadata"][name] for name in ("name", "namespace") if name in config["metadata"]}
            part = {"status": config["status"]} if "status" in config else {}
            return {"apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": identity, **part}
        return {name: value for name, value in config.items() if name != "status"}

    def _with_the_other_part(self, live: Object, new: Object) -> Object:
        """Keep of `live` what this endpoint does not write."""
        if self.options.subresource == "status":
            name = new["metadata"].get("name")
            kept = {key: value for key, value in live.items() if key != "status"}
            kept["metadata"] = {**live["metadata"], "name": name}
            return {**kept, "status": new["status"]} if "status" in new else kept
        if self.rt.has_status:
            new.pop("status", None)
            if "status" in live:
                new["status"] = live["status"]
        return new

    def _stated_managers(self, live: Object, new: Object) -> Managers:
        """Return the managers that an update starts from: those it states itself, else those of the live object."""
        stated = new["metadata"].get("managedFields")
        if stated is None or self.options.subresource:
            return managed_fields.decode(live["metadata"].get("managedFields"))
        return managed_fields.decode(stated)

    def _after(self, old: Object, new: Object, managers: Managers) -> Managers:
        name = self.options.field_manager or _NAMELESS_MANAGER
        writer = Manager(UPDATE, name, self.rt.api_version, self.options.subresource)
        schema = self.rt.structure
        return managed_fields.after_write(old, new, managers, writer=writer, schema=schema, now=self._now)

    def _application(self, config: Object) -> Application:
        manager = Manager(APPLY, self.options.field_manager, self.rt.api_version, self.options.subresource)
        return Application(manager, config, self.options.force, self._now)

    def _owned(self, obj: Object, managers: Managers) -> Object:
        managed_fields.set_on(obj, managers)
        return obj

    def _subject(self, obj: Object) -> Any:
        return self.rt.subject(str(obj["metadata"].get("name", "")))

    def _check_version(self, live: Object, new: Object) -> None:
        version = new["metadata"].get("resourceVersion")
        if version and version != live["metadata"]["resourceVersion"]:
            raise Conflict.of(self._subject(live), STALE)

    def _check_is_from_a_version(self, live: Object, new: Object) -> None:
        if self.rt.is_custom and not new["metadata"].get("resourceVersion"):
            cause = Cause("metadata.resourceVersion", "Invalid value: 0x0: must be specified for an update")
            raise Invalid.of(self._subject(live), [cause])

    def _check_name(self, obj: Object, name: str) -> None:
        found = obj["metadata"].get("name")
        if found != name:
            raise BadRequest(f"the name of the object ({found}) does not match the name on the URL ({name})")


def _copy(obj: Object) -> Object:
    """Return a deep copy of JSON types; twice as fast as copy.deepcopy and it refuses what is no JSON.

    What is stored and answered is a few levels deeper than what was sent: by managedFields, a list, a watch's event. So
    it is written here with as many around it.
    """
    inside: Any = obj
    for _ in range(_LEVELS_AROUND):
        inside = [inside]
    try:
        copied: Object = orjson.loads(orjson.dumps(inside)[_LEVELS_AROUND:-_LEVELS_AROUND])
    except (TypeError, orjson.JSONEncodeError) as error:
        raise BadRequest(f"the object cannot be written as JSON: {error}") from None
    return copied
