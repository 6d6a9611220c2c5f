"""Which grants a user has: those of RoleBindings, the one that their token carries, and the admins' group.

Owns the collection of grants; what they allow is in `roles`. No I/O: bindings are those in the store's watch cache, so
a change counts as soon as this hub has heard of it. A token's grant is added to what the user is bound to.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import structlog
from pydantic import ValidationError

from atoll.federation.errors import InvalidInput
from atoll.federation.resources import API_GROUP, RoleBinding
from atoll.hub.access.grant import GRANT_EXTRA, Grant
from atoll.hub.access.identity import ADMINS_GROUP
from atoll.hub.access.roles import ADMIN
from atoll.kubeapi.bucket import Entry
from atoll.kubeapi.http.access import User
from atoll.kubeapi.store import Store

log = structlog.get_logger(__name__)

_Subject = tuple[Literal["User", "Group"], str]


class Grants:
    """The grants of every user, as the store's cache has them now."""

    def __init__(self, store: Store) -> None:
        found = store.registry.by_kind(API_GROUP, "RoleBinding")
        assert found is not None, "the registry of the hub serves rolebindings"
        self._store, self._prefix = store, found.prefix
        self._read_at: asyncio.Event | None = None
        self._bound: Mapping[_Subject, tuple[Grant, ...]] = {}

    def of(self, user: User) -> tuple[Grant, ...]:
        """Give the grants of a user."""
        bound = self._current()
        grants = list(bound.get(("User", user.name), ()))
        for group in user.groups:
            grants += bound.get(("Group", group), ())
        if ADMINS_GROUP in user.groups:
            grants.append(ADMIN)
        return (*grants, *_carried(user))

    def _current(self) -> Mapping[_Subject, tuple[Grant, ...]]:
        """Read the bindings again only after one changed: the bucket's event is another object then."""
        bucket = self._store.cache.bucket(self._prefix)
        if bucket.changed is not self._read_at:
            self._read_at = bucket.changed
            self._bound = _by_subject(bucket.entries[key] for key in bucket.keys(self._prefix))
        return self._bound


def _by_subject(entries: Iterable[Entry]) -> Mapping[_Subject, tuple[Grant, ...]]:
    bound: defaultdict[_Subject, tuple[Grant, ...]] = defaultdict(tuple)
    for entry in entries:
        try:
            binding = RoleBinding.model_validate(entry.decode())
        except ValidationError as error:
            log.error("a binding that cannot be read grants nothing", key=entry.key, error=str(error))
            continue
        if binding.metadata.deletion_timestamp is not None:
            continue  # held by a finalizer, and revoked all the same
        grant = Grant(binding.spec.role, binding.spec.namespaces, binding.spec.queues)
        for subject in binding.spec.subjects:
            bound[subject.kind, subject.name] += (grant,)
    return dict(bound)


def _carried(user: User) -> Iterator[Grant]:
    """Give the grant in a user's token. What cannot be read grants nothing."""
    for text in user.extra.get(GRANT_EXTRA, ()):
        try:
            yield Grant.parse(text)
        except InvalidInput as error:
            log.error("a token's grant cannot be read and grants nothing", user=user.name, error=str(error))
