"""Reads from the watch cache: one object, or a page of a list at one revision.

Owns consistency (which revision a read must have reached), ordering, limit and continue; must not write.
Source: Kubernetes documentation "API Concepts", resource versions and "Retrieving large results sets in chunks".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from atoll.kubeapi import options
from atoll.kubeapi.bucket import Bucket, Entry
from atoll.kubeapi.cache import WatchCache
from atoll.kubeapi.errors import BadRequest, Gone
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.selectors import Selector
from atoll.kubeapi.storage import Storage
from atoll.kubeapi.watching import parse_revision

_SLASHES_OF_RESOURCE = 2  # `group/plural/`; one more is the prefix of a namespace
_NO_LONGER_CONSISTENT = -1  # the revision in a continue token that goes on after the list's revision was forgotten


@dataclass(frozen=True)
class Query:
    """What a list asks for, as the query parameters of Kubernetes say it."""

    namespace: str | None = None
    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    send_initial: bool | None = None  # for watches only: said here, it is refused

    def check(self) -> None:
        """Raise Invalid or BadRequest if parameters contradict each other."""
        causes = options.list_causes(
            version=self.resource_version,
            match=self.resource_version_match,
            continue_token=self.continue_token,
            send_initial=self.send_initial,
        )
        options.refuse("ListOptions", causes)
        if self.limit < 0:
            raise BadRequest(f"limit: Invalid value: {self.limit}: must not be negative")
        if self.continue_token and self.resource_version not in ("", "0"):
            raise BadRequest("specifying resource version is not allowed when using continue")

    @property
    def is_exact(self) -> bool:
        """True if the list must be as of `resource_version`, not as of anything newer."""
        if self.resource_version in ("", "0"):
            return False
        return self.resource_version_match == "Exact" or (self.limit > 0 and not self.resource_version_match)


@dataclass(frozen=True)
class Page:
    """Entries of a list at one revision; `remaining` is None if it is not known."""

    entries: list[Entry]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


class Reader:
    """Reads objects of any resource."""

    def __init__(self, cache: WatchCache, storage: Storage) -> None:
        """Read from `cache`, which follows `storage`."""
        self._cache = cache
        self._storage = storage

    async def reach(self, resource_version: str = "") -> None:
        """Wait until reads are at least as new as asked: empty is the newest write, "0" is whatever is here."""
        if resource_version == "0":
            return
        wanted = parse_revision(resource_version) or await self._storage.revision()
        await self._cache.reach(wanted)

    async def entry(
        self, rt: ResourceType, namespace: str | None, name: str, resource_version: str = ""
    ) -> Entry | None:
        """Return one object, or None, at least as new as asked: see reach()."""
        await self.reach(resource_version)
        return self._cache.get(rt.prefix, rt.key(namespace, name))

    async def page(self, rt: ResourceType, query: Query) -> Page:
        """Return a page of a list. Raises BadRequest, Invalid, Gone or Timeout."""
        query.check()
        selector = Selector.parse(query.label_selector, query.field_selector)
        prefix = key_prefix(rt, query.namespace)
        if query.continue_token:
            return self._continued(rt, query, selector)
        await self.reach(query.resource_version)
        if query.is_exact:
            revision = parse_revision(query.resource_version)
            keys, state = self._cache.bucket(rt.prefix).at(revision, prefix)
            return _cut(state, keys, selector, revision=revision, limit=query.limit)
        bucket = self._cache.bucket(rt.prefix)
        keys = _candidates(bucket, prefix, selector.name)
        return _cut(bucket.entries, keys, selector, revision=self._cache.revision, limit=query.limit)

    def _continued(self, rt: ResourceType, query: Query, selector: Selector) -> Page:
        revision, after = _parse_token(query.continue_token)
        prefix = key_prefix(rt, query.namespace)
        if revision == _NO_LONGER_CONSISTENT:
            revision = self._cache.revision
        try:
            keys, state = self._cache.bucket(rt.prefix).at(revision, prefix, after)
        except Gone:
            message = (
                "The provided continue parameter is too old to give a consistent list. Start a new list without it, or"
                " use the continue token of this answer to get the rest as it is now, inconsistent with the first part."
            )
            raise Gone(message, continue_token=_token(_NO_LONGER_CONSISTENT, after)) from None
        return _cut(state, keys, selector, revision=revision, limit=query.limit)


def key_prefix(rt: ResourceType, namespace: str | None) -> str:
    """Return the prefix of the keys in a namespace, or in all of them."""
    return f"{rt.prefix}{namespace}/" if namespace and rt.namespaced else rt.prefix


def _candidates(bucket: Bucket, prefix: str, name: str | None) -> list[str]:
    """Return the keys under `prefix`, without those that a selector on the name rules out: they need no decoding."""
    if name is None:
        return bucket.keys(prefix)
    if prefix.count("/") > _SLASHES_OF_RESOURCE:
        key = prefix + name
        return [key] if key in bucket.entries else []
    return [key for key in bucket.keys(prefix) if key.endswith(f"/{name}")]


def _cut(state: Mapping[str, Entry], keys: list[str], selector: Selector, *, revision: int, limit: int) -> Page:
    if selector.is_empty:
        chosen = keys[:limit] if limit else keys
        entries = [state[key] for key in chosen]
        remaining = len(keys) - len(chosen)
        token = _token(revision, chosen[-1]) if remaining else ""
        return Page(entries, revision, token, remaining if remaining else None)
    found: list[Entry] = []
    for key in keys:
        if selector.matches(state[key].decode()):
            if limit and len(found) == limit:
                return Page(found, revision, _token(revision, found[-1].key))
            found.append(state[key])
    return Page(found, revision)


def _token(revision: int, after: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps({"v": "atoll/v1", "rv": revision, "after": after})).decode()


def _parse_token(text: str) -> tuple[int, str]:
    try:
        token = orjson.loads(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
        return int(token["rv"]), str(token["after"])
    except (ValueError, KeyError, TypeError, OverflowError, binascii.Error):
        raise BadRequest("continue key is not valid: use the one of the last answer as it is") from None
