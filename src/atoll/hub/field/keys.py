"""The keys of NATS's operator and accounts, as the hub uses them: to sign, and to be somebody itself.

Owns reading them and what is signed with which. Who may be signed is for others to decide.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from atoll.federation.bus.credentials import Credentials, new_key, public_key, sign_account, sign_user
from atoll.federation.bus.login import Login
from atoll.federation.bus.nats_keys import FIELD, HUB, SYSTEM, Keys
from atoll.federation.bus.permissions import EVERYTHING, Permissions
from atoll.federation.bus.permissions import HUB as HUB_IDENTITY

# Long enough that a hub may be away over night, short enough that a lost key is worthless tomorrow.
LIFETIME_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Signer:
    """Signs with the keys of one federation."""

    keys: Keys
    ca: Path | None = None
    lifetime_seconds: float = LIFETIME_SECONDS

    @classmethod
    def load(cls, folder: Path, ca: Path | None) -> "Signer":
        """Read the keys.

        Raises:
            InvalidInput: one is missing or is none.
        """
        return cls(Keys.load(folder), ca)

    def login(self, account: str) -> Login:
        """Give the hub's own way into an account: a key that never leaves this process."""
        seed = new_key("user")
        jwt = sign_user(self.keys.seed(account), public_key(seed), name="hub", permissions=EVERYTHING)
        credentials = Credentials(jwt, seed)
        return Login(lambda: credentials, HUB_IDENTITY, self.ca)

    def sign(self, user: str, *, name: str, permissions: Permissions, not_after: float = float("inf")) -> str:
        """Vouch for a member's key for a while; `not_after` in Unix seconds bounds it further."""
        expires_at = min(time.time() + self.lifetime_seconds, not_after)
        return sign_user(self.keys.seed(FIELD), user, name=name, permissions=permissions, expires_at=expires_at)

    @property
    def field_account(self) -> str:
        """Name the account of the members."""
        return public_key(self.keys.seed(FIELD))

    def field_jwt(self, revoked: Mapping[str, int]) -> str:
        """Give the members' account anew, without those who are revoked."""
        return sign_account(
            self.keys.seed("operator"), self.field_account, name=FIELD, with_jetstream=True, revoked=revoked
        )


__all__ = ["FIELD", "HUB", "SYSTEM", "Signer"]
