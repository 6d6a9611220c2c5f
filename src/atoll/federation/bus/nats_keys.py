"""The keys of one NATS: its operator's and those of its three accounts, as files that only their owner reads.

HUB holds what only hubs use; FIELD is where members meet the hub; SYSTEM is NATS's own, by which accounts are changed.
What is said in one account cannot be heard in another.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from atoll.federation.bus.credentials import new_key, public_key, sign_account, sign_operator
from atoll.federation.durable import make_folder, sync_folder
from atoll.federation.errors import InvalidInput

OPERATOR, HUB, FIELD, SYSTEM = "operator", "HUB", "FIELD", "SYS"
ACCOUNTS = (SYSTEM, HUB, FIELD)


@dataclass(frozen=True)
class Keys:
    """All seeds by name."""

    seeds: Mapping[str, bytes]

    @classmethod
    def load(cls, folder: Path) -> "Keys":
        """Read the keys of a folder.

        Raises:
            InvalidInput: one is missing or is none.
        """
        try:
            seeds = {name: _path(folder, name).read_bytes().strip() for name in (OPERATOR, *ACCOUNTS)}
        except OSError as error:
            raise InvalidInput(f"cannot read the keys of NATS in {folder}: {error.strerror or error}") from error
        for seed in seeds.values():
            public_key(seed)
        return cls(seeds)

    @classmethod
    def ensure(cls, folder: Path) -> "Keys":
        """Read the keys, and make those that are missing; only their owner may read them.

        Raises:
            InvalidInput: one is malformed, or the folder cannot be written.
        """
        try:
            make_folder(folder, mode=0o700)
            for name in (OPERATOR, *ACCOUNTS):
                if not _path(folder, name).exists():
                    _write(_path(folder, name), new_key("operator" if name == OPERATOR else "account"))
        except OSError as error:
            raise InvalidInput(f"cannot write the keys of NATS in {folder}: {error.strerror or error}") from error
        return cls.load(folder)

    def seed(self, name: str) -> bytes:
        """Give the seed of the operator or an account."""
        return self.seeds[name]

    def public(self, name: str) -> str:
        """Give the public key of the operator or an account."""
        return public_key(self.seeds[name])

    def operator_jwt(self) -> str:
        """Give the operator's JWT, for the server's configuration."""
        return sign_operator(self.seeds[OPERATOR], system_account=self.public(SYSTEM))

    def account_jwt(self, name: str) -> str:
        """Give an account's JWT as it is at first: nobody is revoked."""
        with_jetstream = name != SYSTEM
        return sign_account(self.seeds[OPERATOR], self.public(name), name=name, with_jetstream=with_jetstream)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name.lower()}.nk"


def _write(path: Path, seed: bytes) -> None:
    """Write a key so that it is whole or not there."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(seed + b"\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)
