"""What `dataset pin|unpin|delete|register` do: what stays of a dataset, what goes, what comes in by itself."""

import time
from dataclasses import dataclass
from typing import Any

import typer

from atoll.cli import kinds
from atoll.cli.api import Api, Json
from atoll.cli.output import hint, plural, say
from atoll.federation.errors import Conflict, NotFound
from atoll.federation.resources import Condition, Dataset, DatasetSpec, ObjectMeta
from atoll.federation.resources.dataset import ABANDON, KEEP_FILES, DatasetOrigin

_POLL_SECONDS = 0.3


@dataclass(frozen=True)
class Deletion:
    """A deletion as a person asks for it."""

    namespace: str
    name: str
    keep_files: bool = False
    abandon: bool = False
    is_sure: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Registration:
    """Files that a person wants registered."""

    namespace: str
    name: str
    cluster: str
    path: str
    dry_run: bool = False


def set_pinned(api: Api, namespace: str, name: str, *, is_pinned: bool, dry_run: bool) -> None:
    """Pin or unpin a dataset."""
    api.merge(_path(namespace, name), {"spec": {"pinned": is_pinned}}, dry_run=dry_run)
    say(f"dataset.atoll.dev/{name} {'pinned' if is_pinned else 'unpinned'}{' (dry run)' if dry_run else ''}")


def delete(api: Api, wanted: Deletion, *, wait: bool) -> None:
    """Say where the dataset is, ask, and delete it; with `wait`, stay until its files are gone.

    Raises:
        NotFound: there is no such dataset. Conflict: it is pinned, or the person did not confirm.
    """
    path = _path(wanted.namespace, wanted.name)
    dataset = Dataset.model_validate(api.get(path))
    if dataset.spec.pinned:
        raise Conflict(f"dataset {wanted.name!r} is pinned: atoll dataset unpin {wanted.name} -n {wanted.namespace}")
    _confirm(dataset, wanted)
    notes = {KEEP_FILES: wanted.keep_files, ABANDON: wanted.abandon}
    annotations = {key: "true" for key, is_set in notes.items() if is_set}
    if annotations:
        api.merge(path, {"metadata": {"annotations": annotations}}, dry_run=wanted.dry_run)
    api.delete(path, dry_run=wanted.dry_run)
    if wanted.dry_run or not wait:
        say(f"dataset.atoll.dev/{wanted.name} {'deleted (dry run)' if wanted.dry_run else 'is being deleted'}")
        return
    _await_end(api, path, str(dataset.metadata.uid))
    say(f"dataset.atoll.dev/{wanted.name} deleted{', its files kept' if wanted.keep_files else ''}")


def register(api: Api, wanted: Registration, *, wait: bool) -> bool:
    """Ask for files to be registered; with `wait`, stay until they are. Tell whether it was not refused.

    Raises:
        Conflict: the dataset has other files to register, or has registered some. InvalidInput: the path is none.
    """
    path, origin = _path(wanted.namespace, wanted.name), {"cluster": wanted.cluster, "path": wanted.path}
    known = api.find(path)
    if known is None:
        spec = DatasetSpec(home=wanted.cluster)
        dataset = Dataset(metadata=ObjectMeta(name=wanted.name, namespace=wanted.namespace), spec=spec).wire()
        dataset["spec"]["origin"] = origin  # checked by the hub, which names the field
        api.create(kinds.atoll("Dataset").collection(wanted.namespace), dataset, dry_run=wanted.dry_run)
    else:
        _refuse_other(known, origin)
        api.merge(path, {"spec": {"origin": origin}}, dry_run=wanted.dry_run)
    if wanted.dry_run or not wait:
        say(f"dataset.atoll.dev/{wanted.name} {'registered (dry run)' if wanted.dry_run else 'is being registered'}")
        return True
    return _await_registered(api, path, wanted)


def _path(namespace: str, name: str) -> str:
    return kinds.atoll("Dataset").path(namespace, name)


def _confirm(dataset: Dataset, wanted: Deletion) -> None:
    """Say what goes and where it is, and ask; a program that cannot be asked says --yes."""
    versions = dataset.status.versions
    for each in versions:
        hint(
            f"version {each.version}: {plural(each.files, 'file')}, {each.bytes:,} bytes at {', '.join(each.clusters)}"
        )
    if wanted.is_sure or wanted.dry_run or not any(each.clusters for each in versions):
        return
    what = "give up all of it, with the files kept where they are" if wanted.keep_files else "delete all of it"
    if not typer.confirm(f"{what}?", default=False, err=True):
        raise Conflict(f"dataset {wanted.name!r} stays: nothing was deleted")


def _refuse_other(known: Json, origin: dict[str, str]) -> None:
    standing = Dataset.model_validate(known).spec.origin
    if standing is not None and standing != DatasetOrigin.model_validate(origin):
        where = f"{standing.path} at {standing.cluster}"
        raise Conflict(f"the dataset registers {where} already: register other files under another name")


def _await_end(api: Api, path: str, uid: str) -> None:
    """Follow a deletion; what it waits for is told when it changes."""
    told = ""
    while True:
        try:
            found = api.get(path)
        except NotFound:
            return
        if found["metadata"].get("uid") != uid:
            return  # somebody has made another one meanwhile
        told = _tell_condition(found, "Deleting", told)
        time.sleep(_POLL_SECONDS)


def _await_registered(api: Api, path: str, wanted: Registration) -> bool:
    told = ""
    while True:
        found = api.get(path)
        condition = _condition(found, "Registered")
        if condition is not None and condition.status == "True":
            status: dict[str, Any] = found["status"]
            made = next((each for each in status["versions"] if each["producedBy"] == f"path:{wanted.path}"), None)
            if made is not None:
                about = f"{plural(made['files'], 'file')}, {made['bytes']:,} bytes"
                say(f"dataset.atoll.dev/{wanted.name} version {made['version']} registered: {about}")
                return True
        if condition is not None and condition.reason == "CannotRegister":
            say(f"dataset.atoll.dev/{wanted.name} cannot be registered: {condition.message}")
            return False
        told = _tell_condition(found, "Registered", told)
        time.sleep(_POLL_SECONDS)


def _tell_condition(found: Json, kind: str, told: str) -> str:
    """Print the message of a condition if it is news; give what was told."""
    condition = _condition(found, kind)
    if condition is not None and condition.message and condition.message != told:
        hint(condition.message)
        return condition.message
    return told


def _condition(found: Json, kind: str) -> Condition | None:
    conditions = found.get("status", {}).get("conditions", [])
    return next((Condition.model_validate(each) for each in conditions if each["type"] == kind), None)
