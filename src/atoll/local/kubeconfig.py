"""The contexts of kubeconfig files: read, and one of Atoll's put among them without touching anybody else's.

Owns what an entry means and the extension by which Atoll's are known again. Of two entries with one name the first
one's counts, as in kubectl's own client library (client-go: tools/clientcmd).
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from atoll.federation.errors import InvalidInput, NotFound
from atoll.local.credentials import Credentials
from atoll.local.home import write_atomically
from atoll.local.kubeconfig_file import file_to_write, parse, rewrite
from atoll.local.kubeconfig_text import LISTS, KubeconfigText

EXTENSION = "atoll.dev"
_UNUSABLE = ("exec", "auth-provider", "username", "tokenFile")


@dataclass(frozen=True)
class Context:
    """A hub and who asks it. `home` is the folder of a hub on this machine, `start` the command that starts it."""

    name: str
    server: str
    credentials: Credentials = field(default_factory=Credentials)
    home: str = ""
    start: str = ""
    namespace: str = ""


@dataclass(frozen=True)
class Kubeconfig:
    """What some files say together: of two entries with one name, the first one's counts."""

    current: str = ""
    _entries: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    _folders: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)

    @classmethod
    def read(cls, files: Sequence[Path]) -> Self:
        """Read files; those that are not there count as empty.

        Raises:
            InvalidInput: one of them is malformed; the message names it and the line.
        """
        current = ""
        entries: dict[str, dict[str, Mapping[str, Any]]] = {kind: {} for kind in LISTS}
        folders: dict[str, dict[str, Path]] = {kind: {} for kind in LISTS}
        for path in files:
            values = parse(path).values()
            current = current or str(values.get("current-context", ""))
            for kind in LISTS:
                for entry in values[kind]:
                    entries[kind].setdefault(entry["name"], entry)
                    folders[kind].setdefault(entry["name"], path.parent)
        return cls(current, entries, folders)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of Atoll's contexts."""
        return tuple(name for name in self._of("contexts") if self.is_atoll(name))

    def is_atoll(self, name: str) -> bool:
        """Tell whether a context is one of Atoll's."""
        return _mark(self._of("contexts").get(name, {}).get("context")) is not None

    def has(self, name: str) -> bool:
        """Tell whether there is a context of this name, whoever it belongs to."""
        return name in self._of("contexts")

    def home_of(self, name: str) -> str:
        """Give the folder of the hub on this machine that a context is for; empty if it is not for one."""
        mark = _mark(self._of("contexts").get(name, {}).get("context")) or {}
        return str(mark.get("home", ""))

    def is_taken(self, name: str, *, home: str) -> bool:
        """Tell whether a name belongs to somebody else: another program, or another home of ours."""
        if any(name in self._of(kind) for kind in LISTS) and not self.is_atoll(name):
            return True
        mark = _mark(self._of("contexts").get(name, {}).get("context"))
        return mark is not None and mark.get("home", "") != home

    def check(self, name: str) -> None:
        """Check that a context is there, whoever it belongs to.

        Raises:
            NotFound: there is no such context; the message lists Atoll's.
        """
        self._inner("contexts", "context", name)

    def server_of(self, name: str) -> str:
        """Give the URL of a context's server, whoever it belongs to.

        Raises:
            NotFound: there is no such context, or no such cluster.
        """
        cluster = str(self._inner("contexts", "context", name).get("cluster", ""))
        return str(self._inner("clusters", "cluster", cluster).get("server", ""))

    def context(self, name: str) -> Context:
        """Give a context with all that a client needs of it.

        Raises:
            NotFound: there is no such context, or what it names is missing.
            InvalidInput: it asks for what this client does not do, or its data are malformed.
        """
        found = self._inner("contexts", "context", name)
        cluster, user = str(found.get("cluster", "")), str(found.get("user", ""))
        where = self._inner("clusters", "cluster", cluster)
        who = self._inner("users", "user", user) if user else {}
        mark = _mark(found) or {}
        return Context(
            name=name,
            server=_server(name, where),
            credentials=self._credentials(name, (cluster, where), (user, who)),
            home=str(mark.get("home", "")),
            start=str(mark.get("start", "")),
            namespace=str(found.get("namespace", "")),
        )

    def _credentials(
        self, name: str, cluster: tuple[str, Mapping[str, Any]], user: tuple[str, Mapping[str, Any]]
    ) -> Credentials:
        unusable = [key for key in _UNUSABLE if user[1].get(key)]
        if unusable:
            raise InvalidInput(f"context {name}: its user has '{unusable[0]}', which atoll does not do: use kubectl")
        cluster_folder = self._folders["clusters"][cluster[0]]
        user_folder = self._folders["users"].get(user[0], Path())
        return Credentials(
            ca=_data(name, cluster[1], "certificate-authority", cluster_folder),
            certificate=_data(name, user[1], "client-certificate", user_folder),
            key=_data(name, user[1], "client-key", user_folder),
            token=str(user[1].get("token", "")),
        )

    def _of(self, kind: str) -> Mapping[str, Mapping[str, Any]]:
        return self._entries.get(kind, {})

    def _inner(self, kind: str, key: str, name: str) -> Mapping[str, Any]:
        entry = self._of(kind).get(name)
        if entry is None:
            known = f"; there are {', '.join(self.names)}" if kind == "contexts" and self.names else ""
            raise NotFound(f"there is no {key} '{name}' in the kubeconfig{known}")
        inner = entry.get(key)
        return inner if isinstance(inner, Mapping) else {}


def write(path: Path, context: Context) -> None:
    """Write a file of ours that holds this one context.

    Raises:
        Unavailable: it cannot be written.
    """
    text = KubeconfigText("")
    for kind, entry in _entries_of(context).items():
        text.put(kind, entry)
    text.use(context.name)
    write_atomically(path, text.text().encode(), mode=0o600, durable=True)


def put(path: Path, context: Context, *, use: bool) -> None:
    """Write a context with its cluster and user, in the place of what has its name; `use` makes it the current one.

    Raises:
        InvalidInput: the file is malformed; it is untouched.
        Conflict: another program holds its lock. Unavailable: it cannot be written.
    """

    def change(text: KubeconfigText) -> None:
        for kind, entry in _entries_of(context).items():
            text.put(kind, entry)
        if use:
            text.use(context.name)

    rewrite(path, change)


def use(files: Sequence[Path], name: str) -> None:
    """Make a context the current one; raises as `put` does."""
    rewrite(file_to_write(files), lambda text: text.use(name))


def remove(files: Sequence[Path], name: str) -> None:
    """Take a context of Atoll's with its cluster and user out of every file; raises as `put` does."""

    def change(text: KubeconfigText) -> None:
        for kind in _owned(text.values(), name):
            text.drop(kind, name)
        if text.values().get("current-context") == name:
            text.use("")

    for path in files:
        if path.exists():
            rewrite(path, change)


def _entries_of(context: Context) -> dict[str, dict[str, Any]]:
    local = {"home": context.home, "start": context.start} if context.home else {}
    mark = {"provider": EXTENSION, **local}
    marked = {"extensions": [{"name": EXTENSION, "extension": mark}]}
    given, name = context.credentials, context.name
    namespace = {"namespace": context.namespace} if context.namespace else {}
    cluster = {"server": context.server, **_encoded({"certificate-authority-data": given.ca}), **marked}
    user = {
        **_encoded({"client-certificate-data": given.certificate, "client-key-data": given.key}),
        **({"token": given.token} if given.token else {}),
        **marked,
    }
    return {
        "clusters": {"name": name, "cluster": cluster},
        "users": {"name": name, "user": user},
        "contexts": {"name": name, "context": {"cluster": name, "user": name, **namespace, **marked}},
    }


def _owned(values: Mapping[str, Any], name: str) -> list[str]:
    """Tell in which lists the entry of a name is Atoll's."""
    entries = ((kind, entry) for kind in LISTS for entry in values[kind] if entry["name"] == name)
    return [kind for kind, entry in entries if _mark(entry.get(kind.removesuffix("s"))) is not None]


def _encoded(data: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in data.items() if value}


def _mark(inner: object) -> Mapping[str, Any] | None:
    """Find what Atoll wrote beside an entry; None if it is not Atoll's."""
    extensions = inner.get("extensions") if isinstance(inner, Mapping) else None
    for entry in extensions if isinstance(extensions, list) else ():
        if isinstance(entry, Mapping) and entry.get("name") == EXTENSION:
            mark = entry.get("extension")
            return mark if isinstance(mark, Mapping) else {}
    return None


def _server(name: str, cluster: Mapping[str, Any]) -> str:
    if cluster.get("insecure-skip-tls-verify", "").lower() == "true":
        raise InvalidInput(f"context {name}: has insecure-skip-tls-verify, and atoll always verifies: give it a CA")
    server = str(cluster.get("server", ""))
    if not server:
        raise InvalidInput(f"context {name}: its cluster has no server")
    return server


def _data(name: str, inner: Mapping[str, Any], key: str, folder: Path) -> bytes:
    """Take a file's content from an entry: inline, else from the file that it names, relative to the kubeconfig."""
    inline, path = inner.get(f"{key}-data"), inner.get(key)
    try:
        if inline:
            return base64.b64decode(str(inline), validate=True)
        return (folder / str(path)).read_bytes() if path else b""
    except binascii.Error as error:
        raise InvalidInput(f"context {name}: {key}-data is no base64") from error
    except OSError as error:
        raise NotFound(f"context {name}: cannot read {key} {path}: {error.strerror}") from error
