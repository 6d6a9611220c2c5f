"""What can be done to a dataset. Pure."""

from collections.abc import Mapping

from atoll.federation.resources import API_GROUP, API_VERSION, Dataset, transfer_name
from atoll.hub.dashboard.actions import Call, Deed, first, named, path_of, setting, unless
from atoll.hub.dashboard.data.dataset import newest_whole
from atoll.kubeapi.resource import Object

_ENDED = frozenset({"Succeeded", "Failed"})


def _has_no_whole_version(dataset: Object) -> str:
    return "" if newest_whole(Dataset.model_validate(dataset)) else "no version of it is complete"


def _is_going(dataset: Object) -> str:
    return "it is being deleted" if dataset["metadata"].get("deletionTimestamp") else ""


def _is_under_way(transfer: Object) -> str:
    phase = (transfer.get("status") or {}).get("phase", "Pending")
    return "" if phase in _ENDED else "this copy is under way already"


def _replicated(obj: Object, destination: str) -> Call:
    """Ask for a copy of the newest whole version, as `atoll dataset replicate` does: one that ended is made again.

    The API says what is wrong with a destination, so it is no Transfer yet that is made here.
    """
    dataset = Dataset.model_validate(obj)
    version, name = newest_whole(dataset), dataset.metadata.name
    assert version is not None, "it is moot without one"
    source = dataset.spec.home if dataset.spec.home in version.clusters else version.clusters[0]
    about = {"name": transfer_name(name, version.version, destination)}
    spec = {"dataset": name, "version": version.version, "source": source, "destination": destination}
    body = {"apiVersion": f"{API_GROUP}/{API_VERSION}", "kind": "Transfer", "metadata": about, "spec": spec}
    return Call("POST", path_of("transfers", named(obj)[0]), body, keeps=_is_under_way)


def _deleted(obj: Object, _choice: str) -> Call:
    """Delete what was looked at, and nothing that was made under its name since."""
    body = {"preconditions": {"uid": obj["metadata"]["uid"]}}
    return Call("DELETE", path_of("datasets", *named(obj)), body)


DEEDS: Mapping[str, Deed] = {
    "pin": Deed(
        "datasets",
        "Pin",
        "atoll dataset pin {name} -n {namespace}",
        setting("datasets", pinned=True),
        first(_is_going, unless("pinned", False, "it is pinned already")),
    ),
    "unpin": Deed(
        "datasets",
        "Unpin",
        "atoll dataset unpin {name} -n {namespace}",
        setting("datasets", pinned=False),
        unless("pinned", True, "it is not pinned"),
        confirm="Unpin {name}? Retention may delete of it again.",
    ),
    "replicate": Deed(
        "datasets",
        "Replicate",
        "atoll dataset replicate {name} -n {namespace} --to {choice}",
        _replicated,
        first(_is_going, _has_no_whole_version),
        needs=("create", "transfers"),
    ),
    "delete": Deed(
        "datasets",
        "Delete",
        "atoll dataset delete {name} -n {namespace}",
        _deleted,
        first(_is_going, unless("pinned", False, "it is pinned: unpin it first")),
        needs=("delete", "datasets"),
        confirm="Delete {name}, with its files in every cluster?",
        is_final=True,
        tone="danger",
    ),
}
