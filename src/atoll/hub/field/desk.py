"""The desk where members come in: invites, enrols, renews, sends away. One per hub; all of them may work at once.

Owns what is signed for whom. A key is a member's because its record says so; whoever is sent away has no record, its
key is revoked in the account, and the server drops its connections.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import orjson
import structlog

from atoll.federation.bus import admission, permissions
from atoll.federation.bus.admission import Admission, DataRequest, Enrolment, Renewal
from atoll.federation.bus.credentials import is_signed_by, is_user_key
from atoll.federation.bus.datasets import failure, result
from atoll.federation.bus.permissions import Permissions
from atoll.federation.bus.subjects import MemberKind, to_key
from atoll.federation.errors import AtollError, Conflict, InvalidInput, NotFound, Unavailable
from atoll.hub.access.token_table import ACCESS_PREFIX, ACCESS_STREAM
from atoll.hub.field.keys import Signer
from atoll.hub.field.tables import Invitations, Members
from atoll.hub.field.wires import Wires
from atoll.hub.members import Desired, Path

log = structlog.get_logger(__name__)

_CLAIMS_SECONDS = 10.0
# A proof that was overheard is good for this long; TLS lets nobody overhear it.
_SKEW_SECONDS = 300.0


@dataclass(frozen=True)
class _Caller:
    """Who asks by NATS, as the subject says that only it can know."""

    kind: MemberKind
    name: str


class Desk:
    """Lets members in."""

    def __init__(self, wires: Wires, signer: Signer, *, desired: Desired, nats_url: str, clock: Callable[[], datetime]):
        """`nats_url` is where members dial; `desired` tells which data services were ordered."""
        self._wires, self._signer, self._desired, self._nats_url = wires, signer, desired, nats_url
        table = wires.own.table(ACCESS_STREAM, ACCESS_PREFIX)
        self._invitations, self._members = Invitations(table, clock), Members(table, clock)
        self._ca = signer.ca.read_text() if signer.ca is not None else ""
        self._forgers: set[str] = set()
        self.on_forged: Callable[[], None] = lambda: None

    async def invite(self, kind: MemberKind, name: str, *, created_by: str) -> tuple[str, datetime]:
        """Give a one-time token for a member, and when it ends. Raises Unavailable."""
        return await self._invitations.make(kind, name, created_by=created_by)

    async def enrol(self, wanted: Enrolment) -> Admission:
        """Let a member in by its token, or again by its key alone if that is the member's still.

        An earlier key of the same member is revoked: there is one agent of a cluster.

        Raises:
            InvalidInput, Conflict: the token does not do. Unavailable: try again.
        """
        if not is_user_key(wanted.public_key):
            raise InvalidInput("publicKey: this is no public key of a NATS user")
        if not wanted.token:
            return await self._readmit(wanted)
        await self._invitations.redeem(wanted.token, wanted.kind, wanted.name, public_key=wanted.public_key)
        before = await self._members.admit(f"{wanted.kind}/{wanted.name}", wanted.public_key)
        if before:
            await self._revoke([before])
        log.info("a member was enrolled", kind=wanted.kind, member=wanted.name)
        return self._admission(wanted.kind, wanted.name, wanted.public_key)

    async def _readmit(self, wanted: Enrolment) -> Admission:
        """Give new credentials to a member that was away longer than the old ones lived."""
        if abs(time.time() - wanted.at) > _SKEW_SECONDS:
            raise InvalidInput(f"at: the clocks are {abs(time.time() - wanted.at):.0f} s apart: set the member's")
        is_theirs = is_signed_by(wanted.public_key, wanted.claim, wanted.signature)
        if not is_theirs or await self._members.key_of(f"{wanted.kind}/{wanted.name}") != wanted.public_key:
            raise Conflict(f"this key is not the one of {wanted.kind} {wanted.name}: enrol it with a token")
        return self._admission(wanted.kind, wanted.name, wanted.public_key)

    async def leave(self, kind: MemberKind, name: str) -> bool:
        """Send a member away: its credentials and its tokens are worthless at once. Tell whether it was one.

        Raises:
            Unavailable: it may still be let in; the same again does no harm.
        """
        await self._invitations.withdraw(kind, name)
        found = await self._members.keys_of(kind, name)
        if not found:
            return False
        await self._revoke(list(found.values()))
        for path in found:
            await self._members.forget(path)
        log.info("a member was sent away", kind=kind, member=name)
        return True

    async def run(self) -> None:
        """Bring the account up to date with who was revoked, then answer members until cancelled."""
        await self._revoke([])
        async with self._wires.field.serving("hub.>", self._answer):
            await asyncio.Event().wait()

    async def _answer(self, subject: str, payload: bytes) -> bytes:
        caller, verb = self._caller(subject)
        if caller is None:
            return failure(NotFound("nobody is asked here"))
        try:
            match verb:
                case admission.RENEW:
                    answer = await self._renew(caller, Renewal.decode(payload))
                case admission.DATA:
                    answer = await self._data(caller, DataRequest.decode(payload))
                case _:
                    raise NotFound(f"the hub does not answer {verb!r}")
        except AtollError as error:
            return failure(error)
        return result(answer.encode())

    def _caller(self, subject: str) -> tuple[_Caller | None, str]:
        """Read who asks; nobody, if the token is not that member's."""
        parts = subject.split(".")
        if len(parts) != 5 or parts[1] not in ("cluster", "gateway"):
            return None, ""
        kind: MemberKind = "cluster" if parts[1] == "cluster" else "gateway"
        name, capabilities = to_key(parts[2]), self._wires.capabilities
        token = capabilities.agent(name) if kind == "cluster" else capabilities.gateway(name)
        if parts[3] != token:
            self.on_forged()
            if f"{kind}/{name}" not in self._forgers:
                self._forgers.add(f"{kind}/{name}")
                log.warning("a call with a wrong token was ignored", kind=kind, member=name)
            return None, ""
        return _Caller(kind, name), parts[4]

    async def _renew(self, caller: _Caller, wanted: Renewal) -> Admission:
        if await self._members.key_of(f"{caller.kind}/{caller.name}") != wanted.public_key:
            raise Conflict(f"this key is not the one of {caller.kind} {caller.name}: enrol it again")
        return self._admission(caller.kind, caller.name, wanted.public_key)

    async def _data(self, caller: _Caller, wanted: DataRequest) -> Admission:
        cluster, namespace = caller.name, wanted.namespace
        is_ordered = self._desired.held(Path("cluster", cluster, f"service/{namespace}")) is not None
        if caller.kind != "cluster" or not is_ordered:
            raise InvalidInput(f"no data service of namespace {namespace} was ordered for {caller.kind} {cluster}")
        before = await self._members.admit(f"data/{cluster}/{namespace}", wanted.public_key)
        if before:
            await self._revoke([before])
        capabilities = self._wires.capabilities
        token, reading = capabilities.data(cluster, namespace), capabilities.reading(cluster, namespace)
        allowed = permissions.data_service(cluster, namespace, token, reading=reading)
        return self._signed(wanted.public_key, f"data {cluster} {namespace}", allowed, (token, reading))

    def _admission(self, kind: MemberKind, name: str, public_key: str) -> Admission:
        capabilities = self._wires.capabilities
        if kind == "cluster":
            token = capabilities.agent(name)
            return self._signed(public_key, f"agent {name}", permissions.agent(name, token), (token, token))
        token, uplink = capabilities.gateway(name), capabilities.uplink(name)
        allowed = permissions.gateway(name, token, uplink=uplink)
        return self._signed(public_key, f"gateway {name}", allowed, (token, uplink))

    def _signed(self, public_key: str, name: str, allowed: Permissions, tokens: tuple[str, str]) -> Admission:
        jwt = self._signer.sign(public_key, name=name, permissions=allowed)
        return Admission(nats_url=self._nats_url, jwt=jwt, token=tokens[0], service_token=tokens[1], ca=self._ca)

    async def _revoke(self, keys: list[str]) -> None:
        """Make keys worthless: the account names them, and the server drops who shows them."""
        keep = 2 * self._signer.lifetime_seconds
        revoked = await self._members.revoke(keys, now=time.time(), keep_seconds=keep)
        if not revoked:
            return
        assert self._wires.system is not None, "a signer has a connection to the system account"
        jwt = self._signer.field_jwt(revoked).encode()
        answer = await self._wires.system.request("$SYS.REQ.CLAIMS.UPDATE", jwt, timeout_seconds=_CLAIMS_SECONDS)
        said = orjson.loads(answer)
        if said.get("error") or said.get("data", {}).get("code") != 200:
            raise Unavailable(f"NATS did not take the account with its revocations: {answer[:200].decode()}")
