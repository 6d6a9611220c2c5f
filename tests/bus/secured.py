"""A nats-server with accounts, as `atoll up` runs one, and connections to it in every role."""

import time
from collections.abc import Callable

from atoll.federation.bus import permissions
from atoll.federation.bus.capabilities import Capabilities
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.credentials import Credentials, new_key, public_key, sign_user
from atoll.federation.bus.login import Login
from atoll.federation.bus.nats_keys import FIELD
from atoll.federation.bus.permissions import EVERYTHING, HUB, Identity, Permissions
from secured_nats import AccountServer

CAPABILITIES = Capabilities(b"k" * 32)


class SecuredServer(AccountServer):
    """A NatsServer whose clients must be vouched for; vouches for them."""

    def credentials(
        self,
        permissions_: Permissions = EVERYTHING,
        *,
        account: str = FIELD,
        lifetime_seconds: float = 3600,
        seed: bytes | None = None,
    ) -> Credentials:
        """Vouch for a key, a new one unless given."""
        seed = seed or new_key("user")
        expires_at = time.time() + lifetime_seconds
        jwt = sign_user(
            self.keys.seed(account), public_key(seed), name="test", permissions=permissions_, expires_at=expires_at
        )
        return Credentials(jwt, seed)

    async def hub(self, account: str = FIELD) -> Bus:
        return await self.connect(lambda: self.credentials(account=account), HUB)

    async def connect(self, credentials: Callable[[], Credentials], identity: Identity) -> Bus:
        return await Bus.connect(self.url, name=identity.label, login=Login(credentials, identity), wait_seconds=5)

    async def agent(self, cluster: str) -> Bus:
        found = self.credentials(permissions.agent(cluster, CAPABILITIES.agent(cluster)))
        return await self.connect(lambda: found, Identity.of_member("cluster", cluster))

    async def gateway(self, name: str) -> Bus:
        allowed = permissions.gateway(name, CAPABILITIES.gateway(name), uplink=CAPABILITIES.uplink(name))
        found = self.credentials(allowed)
        return await self.connect(lambda: found, Identity.of_member("gateway", name))

    async def data(self, cluster: str, namespace: str) -> Bus:
        token, reading = CAPABILITIES.data(cluster, namespace), CAPABILITIES.reading(cluster, namespace)
        found = self.credentials(permissions.data_service(cluster, namespace, token, reading=reading))
        return await self.connect(lambda: found, Identity.of_data(cluster, namespace))
