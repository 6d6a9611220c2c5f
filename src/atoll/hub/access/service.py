"""The hub's access as one part: who may come in, what they may do, and who remembers it.

Owns the composition of this room and its tasks. Nothing here decides anything.
"""

import asyncio
from dataclasses import dataclass

from atoll.federation.bus.connection import Bus
from atoll.hub.access.audit import AuditLog, Retention
from atoll.hub.access.authenticator import HubAuthenticator
from atoll.hub.access.authorizer import RoleAuthorizer
from atoll.hub.access.grants import Grants
from atoll.hub.access.oidc import Oidc
from atoll.hub.access.oidc_code import CodeFlow
from atoll.hub.access.submitters import QueueSubmitters, SubmitterStamp
from atoll.hub.access.token_table import Tokens
from atoll.hub.metrics import Metrics
from atoll.hub.settings import HubSettings
from atoll.kubeapi.http.access import Access, User
from atoll.kubeapi.store import Store

# Whoever comes with an enrolment token is nobody yet.
_OPEN = frozenset({("POST", "/enrol")})


@dataclass(frozen=True)
class AccessService:
    """Access of one hub process; without `tokens` everybody is let in, and may do everything."""

    access: Access
    audit: AuditLog
    tokens: Tokens | None = None
    oidc: Oidc | None = None
    authorizer: RoleAuthorizer | None = None
    flow: CodeFlow | None = None

    @classmethod
    async def open(cls, settings: HubSettings, bus: Bus, store: Store, metrics: Metrics) -> "AccessService":
        """Put the parts together, and make their streams if they are not there. Close it, or audit records are lost.

        Raises:
            Unavailable: NATS does not answer. InvalidInput: the settings of OIDC cannot be used.
        """
        clock = store.clock
        oidc = Oidc(settings.oidc) if settings.oidc is not None else None
        flow = CodeFlow(settings.oidc) if settings.oidc is not None else None
        retention = Retention(settings.audit_keep_seconds, settings.audit_bytes)
        audit = await AuditLog.open(bus, clock=clock, retention=retention)
        if settings.no_auth:
            return cls(Access(auditor=audit, open_routes=_OPEN, stamp=SubmitterStamp()), audit)
        tokens = await Tokens.open(bus, clock=clock)
        authorizer = RoleAuthorizer(Grants(store), QueueSubmitters(store))
        authenticator = HubAuthenticator(tokens, oidc, metrics=metrics, clock=clock)
        access = Access(authenticator, authorizer, authorizer, audit, _OPEN, SubmitterStamp())
        return cls(access, audit, tokens, oidc, authorizer, flow)

    @property
    def is_synced(self) -> bool:
        """Whether everybody with good credentials is known here."""
        return self.tokens is None or self.tokens.synced.is_set()

    def is_admin(self, user: User) -> bool:
        """Tell whether a user may see everything."""
        return self.authorizer is None or self.authorizer.is_admin(user)

    def sees_inside(self, user: User, namespace: str) -> bool:
        """Tell whether a user may read what is in a namespace."""
        return self.authorizer is None or self.authorizer.sees_inside(user, namespace)

    async def run(self) -> None:
        """Keep tokens and keys up to date for ever."""
        async with asyncio.TaskGroup() as group:
            if self.tokens is not None:
                group.create_task(self.tokens.run(), name="hub-tokens")
            if self.oidc is not None:
                group.create_task(self.oidc.run(), name="hub-oidc-keys")

    async def close(self) -> None:
        """Write the audit records that wait to be written."""
        await self.audit.close()
