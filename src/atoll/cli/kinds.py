"""What a person may name on the command line: Atoll's kinds and those of Kubernetes that the hub serves. Pure.

It must not load the models of the kinds: that takes longer than most commands do. So the table below is a copy of what
`federation.resources` knows; a test holds them together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.federation.errors import InvalidInput

_OURS = "atoll.dev/v1alpha1"


@dataclass(frozen=True)
class KindRef:
    """Where objects of a kind are served, and what a person may call it."""

    group_version: str
    name: str
    plural: str
    namespaced: bool
    short_names: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it is one of Atoll's own, which are validated before they are sent."""
        return self.group_version == _OURS

    def is_called(self, word: str) -> bool:
        """Tell whether a person who types this word means it."""
        wanted = word.lower().removesuffix(".atoll.dev")
        return wanted in (self.name.lower(), self.plural, *self.short_names)

    @property
    def qualified(self) -> str:
        """The kind as results name it: `job.atoll.dev`, or `namespace` for the core group."""
        group = self.group_version.rpartition("/")[0]
        return f"{self.name.lower()}.{group}" if group else self.name.lower()

    def collection(self, namespace: str | None = None) -> str:
        """Give the URL path of all objects, or of those in one namespace."""
        base = f"/apis/{self.group_version}" if "/" in self.group_version else f"/api/{self.group_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{base}{scope}/{self.plural}"

    def path(self, namespace: str | None, name: str) -> str:
        """Give the URL path of one object."""
        return f"{self.collection(namespace)}/{name}"


NAMESPACES = KindRef("v1", "Namespace", "namespaces", False, ("ns",))
EVENTS = KindRef("v1", "Event", "events", True, ("ev",))
ALL: tuple[KindRef, ...] = (
    KindRef(_OURS, "Cluster", "clusters", False, ("cl",)),
    KindRef(_OURS, "Queue", "queues", False, ("q",)),
    KindRef(_OURS, "Reservation", "reservations", False, ("rsv",)),
    KindRef(_OURS, "Job", "jobs", True, ("aj",)),
    KindRef(_OURS, "Run", "runs", True),
    KindRef(_OURS, "Dataset", "datasets", True, ("ds",)),
    KindRef(_OURS, "Transfer", "transfers", True, ("xfer",)),
    KindRef(_OURS, "Gateway", "gateways", False, ("gw",)),
    KindRef(_OURS, "Stream", "streams", True),
    KindRef(_OURS, "Trigger", "triggers", True),
    KindRef(_OURS, "PolicySet", "policysets", False, ("ps",)),
    KindRef(_OURS, "RoleBinding", "rolebindings", False, ("rb",)),
    NAMESPACES,
    EVENTS,
)


def find(word: str) -> KindRef:
    """Find a kind by what a person types.

    Raises:
        InvalidInput: there is no such kind; the message lists those there are.
    """
    for ref in ALL:
        if ref.is_called(word):
            return ref
    known = ", ".join(ref.plural for ref in ALL)
    raise InvalidInput(f"unknown kind '{word}'; the kinds are {known}")


def of_manifest(manifest: Mapping[str, Any]) -> KindRef | None:
    """Find the kind of a manifest; None if the hub serves no such kind."""
    for ref in ALL:
        if (manifest.get("apiVersion"), manifest.get("kind")) == (ref.group_version, ref.name):
            return ref
    return None


def atoll(name: str) -> KindRef:
    """Give one of Atoll's own kinds by its name, such as Job."""
    return next(ref for ref in ALL if ref.name == name and ref.is_ours)
