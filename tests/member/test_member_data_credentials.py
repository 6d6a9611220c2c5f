"""The credentials of a data service: the hub's word counts, not what a Secret says of itself."""

import base64

import pytest

from atoll.edge.member.data_credentials import SECRET, DataCredentials
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import ObjectRef
from atoll.federation.bus.admission import CREDENTIALS_SECRET, Admission, DataRequest
from atoll.federation.bus.credentials import Credentials, new_key, public_key, sign_user
from atoll.federation.bus.datasets import result
from atoll.federation.bus.membership import CREDENTIALS_FILE, Membership
from atoll.federation.bus.permissions import EVERYTHING
from atoll.federation.errors import Unavailable
from member.harness import CLUSTER
from member.world import Cluster


class Desk:
    """Vouches for keys by the key of an account of its own, as the hub does by that of the members."""

    def __init__(self) -> None:
        self.account = new_key("account")

    async def request(self, subject: str, payload: bytes, *, timeout_seconds: float) -> bytes:
        user = DataRequest.decode(payload).public_key
        jwt = sign_user(self.account, user, name="data", permissions=EVERYTHING)
        return result(Admission(nats_url="nats://x", jwt=jwt, token="t", service_token="r").encode())


def agent(kube: Kube, desk: Desk | None) -> DataCredentials:
    """Give what a newly started agent has."""
    found = DataCredentials(kube, CLUSTER)
    found.connect(desk, Membership("nats://x"))  # type: ignore[arg-type]  # as much of a bus as is used
    return found


async def held(kube: Kube) -> Credentials:
    found = await kube.get(ObjectRef(SECRET, "lab", CREDENTIALS_SECRET))
    assert found is not None
    return Credentials.parse(base64.b64decode(found["data"][CREDENTIALS_FILE]))


async def test_an_agent_that_starts_has_good_looking_credentials_renewed_once_for_they_may_be_revoked(
    lab: Cluster, kube: Kube
) -> None:
    """A cluster that was sent away and let in again: its services were shut out until half of a day was over."""
    desk = Desk()
    before = agent(kube, desk)
    await before.ensure("lab")
    revoked = await held(kube)
    assert await before.ensure("lab") > 0
    again = agent(kube, Desk())
    await again.ensure("lab")
    renewed = await held(kube)
    assert renewed.jwt != revoked.jwt
    assert public_key(renewed.seed) == public_key(revoked.seed)
    assert await again.ensure("lab") > 0
    assert (await held(kube)).jwt == renewed.jwt


async def test_an_agent_that_cannot_ask_leaves_what_is_there_and_asks_later(lab: Cluster, kube: Kube) -> None:
    await agent(kube, Desk()).ensure("lab")
    before, alone = await held(kube), agent(kube, None)
    with pytest.raises(Unavailable):
        await alone.ensure("lab")
    assert (await held(kube)).jwt == before.jwt
