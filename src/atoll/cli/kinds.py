"""What a person may name on the command line: Atoll's kinds and those of Kubernetes that the hub serves. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.federation.errors import InvalidInput
from atoll.federation.resources import GROUP_VERSION, KINDS, Kind


@dataclass(frozen=True)
class KindRef:
    """Where objects of a kind are served; `kind` is set for Atoll's own, which are validated before they are sent."""

    group_version: str
    name: str
    plural: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    kind: Kind | None = None

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
    *(KindRef(GROUP_VERSION, kind.name, kind.plural, kind.namespaced, kind.short_names, kind) for kind in KINDS),
    NAMESPACES,
    EVENTS,
)


def find(word: str) -> KindRef:
    """Find a kind by what a person types.

    Raises:
        InvalidInput: there is no such kind; the message lists those there are.
    """
    wanted = word.lower().removesuffix(".atoll.dev")
    for ref in ALL:
        if wanted in (ref.name.lower(), ref.plural, *ref.short_names):
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
    return next(ref for ref in ALL if ref.name == name and ref.kind is not None)
