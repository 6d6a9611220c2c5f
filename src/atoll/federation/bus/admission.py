"""How a member comes in and stays: what it asks the hub, and what the hub gives it. No I/O.

Owns the two requests and the answer, and their form on disk and on the wire; who is let in the hub decides.
"""

from typing import Annotated

from pydantic import Field

from atoll.federation.bus.messages import Message
from atoll.federation.bus.subjects import OPEN_TOKEN, MemberKind

RENEW, DATA = "renew", "data"
# In every namespace with a data service: made by the agent, mounted by the sink and the mover.
CREDENTIALS_SECRET = "atoll-data-credentials"  # noqa: S105 - a name
PublicKey = Annotated[str, Field(min_length=56, max_length=56, pattern="^U[A-Z2-7]{55}$")]


class Enrolment(Message):
    """POST /enrol: a one-time token, and the public half of a key that never leaves its machine.

    A member whose credentials have ended has no token, and proves by its key that it is one still.
    """

    public_key: PublicKey
    kind: MemberKind
    name: Annotated[str, Field(max_length=253)]
    token: Annotated[str, Field(max_length=200)] = ""
    # Unix seconds, and what the key says to `claim`; empty with a token.
    at: float = 0.0
    signature: Annotated[str, Field(max_length=128)] = ""

    @property
    def claim(self) -> bytes:
        """Give what the signature is of."""
        return f"atoll enrol {self.kind} {self.name} {self.public_key} {self.at:.3f}".encode()


class Renewal(Message):
    """hub renew: sign this key of mine again."""

    public_key: PublicKey


class DataRequest(Message):
    """hub data: sign the key of the data service that a namespace of this cluster was ordered to have."""

    namespace: str
    public_key: PublicKey


class Admission(Message):
    """What a member needs to connect: where, whose certificate to trust, its JWT and the tokens of its subjects."""

    nats_url: str
    jwt: str
    token: str
    service_token: str = OPEN_TOKEN
    # PEM; empty: what the system trusts.
    ca: str = ""
