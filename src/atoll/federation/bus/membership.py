"""What makes a process a member: where NATS is, its credentials, and the tokens of its subjects.

Owns the folder of a member that was enrolled: `user.creds`, `ca.crt` and `member.json`, the first of them secret. They
are read again at every connect, so that newer ones need no restart. It must not know how they are come by.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from atoll.federation.bus.credentials import Credentials
from atoll.federation.bus.login import OPEN, Login
from atoll.federation.bus.permissions import Identity
from atoll.federation.bus.routes import DIRECT, Routes
from atoll.federation.bus.subjects import OPEN_TOKEN
from atoll.federation.errors import InvalidInput
from atoll.federation.resources.base import Model

CREDENTIALS_FILE, CA_FILE, MEMBER_FILE = "user.creds", "ca.crt", "member.json"


class MemberFile(Model):
    """member.json: not secret by itself, but what it says is nobody else's business."""

    nats_url: str
    token: str
    # The second token: of a gateway's envelopes, or of the requests that a data service answers.
    service_token: str = OPEN_TOKEN


@dataclass(frozen=True)
class Membership:
    """How one process takes part. Without a login NATS asks for none, and the tokens are the public word."""

    nats_url: str
    token: str = OPEN_TOKEN
    service_token: str = OPEN_TOKEN
    login: Login = OPEN

    @classmethod
    def load(cls, folder: Path, identity: Identity) -> "Membership":
        """Read the folder of an enrolled member.

        Raises:
            InvalidInput: something is missing there or malformed.
        """
        path = folder / MEMBER_FILE
        try:
            found = MemberFile.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InvalidInput(f"cannot read {path}: {error.strerror or error}; is this member enrolled?") from error
        except ValidationError as error:
            raise InvalidInput(f"{path} is malformed: enrol this member again") from error
        ca = folder / CA_FILE
        login = Login(reader(folder / CREDENTIALS_FILE), identity, ca if ca.exists() else None)
        login.check()
        return cls(found.nats_url, found.token, found.service_token, login)


def membership(nats_url: str, folder: Path | None, identity: Identity, *, routes: Routes = DIRECT) -> Membership:
    """Give what a process was told: a folder with credentials, or the address of a NATS that asks for none.

    By `routes` it dials another address than that.

    Raises:
        InvalidInput: neither or both were named, or the folder cannot be used.
    """
    if bool(nats_url) == bool(folder):
        raise InvalidInput("give --credentials FOLDER, or --nats URL for a NATS that asks for no credentials")
    member = Membership.load(folder, identity) if folder is not None else Membership(nats_url)
    return replace(member, nats_url=routes.url(member.nats_url))


def reader(path: Path) -> Callable[[], Credentials]:
    """Give a function that reads a .creds file as it is when called."""
    return lambda: Credentials.read(path)
