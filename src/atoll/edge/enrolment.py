"""How an agent or a gateway becomes a member and stays one: enrols once, keeps its key, renews its credentials in time.

Owns the folder `membership` in the state folder, secret but for the CA. The key is made here and never leaves; of the
one-time token nothing is kept. It must not know what its process does as a member.
"""

import asyncio
import contextlib
import hashlib
import os
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import structlog

from atoll.federation.backoff import Backoff
from atoll.federation.bus.admission import RENEW, Admission, Enrolment, Renewal
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.credentials import Credentials, expiry, new_key, public_key, sign
from atoll.federation.bus.datasets import opened
from atoll.federation.bus.membership import CA_FILE, CREDENTIALS_FILE, MEMBER_FILE, MemberFile, Membership
from atoll.federation.bus.permissions import Identity
from atoll.federation.bus.routes import DIRECT, Routes
from atoll.federation.bus.subjects import MemberKind, hub_subject
from atoll.federation.durable import make_folder, sync_folder
from atoll.federation.errors import AtollError, InvalidInput, Unavailable

log = structlog.get_logger(__name__)

_KEY_FILE, _USED_FILE = "user.nk", "token.sha256"
# Between two tries to come in: people wait for the first ones, and a hub that was away has all its members at the door.
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 15.0
_ASK_SECONDS = 10.0
# Between two tries to renew; of the half day that is left then, even a long outage takes little.
_RENEW_RETRY_SECONDS = 30.0


@dataclass(frozen=True)
class EnrolmentSettings:
    """How a process was told to become a member: an open NATS, or a hub and, for the first start, a token.

    By `routes` it dials other addresses than those that it was told, and than those that the hub names.
    """

    nats_url: str = ""
    hub_url: str = ""
    hub_ca: Path | None = None
    token_file: Path | None = None
    routes: Routes = DIRECT


class Enrolled:
    """One member's folder, and its membership."""

    def __init__(self, folder: Path, settings: EnrolmentSettings, *, kind: MemberKind, name: str) -> None:
        """Work for a member; nothing is read yet."""
        self._folder, self._settings = folder, settings
        self._kind, self._name = kind, name
        self._identity = Identity.of_member(kind, name)

    async def membership(self) -> Membership:
        """Give the membership, after enrolling if this was never done; waits for a hub that does not answer.

        Raises:
            InvalidInput: nothing to go by was given, or the hub does not take the token.
        """
        settings = self._settings
        if settings.nats_url:
            return Membership(settings.routes.url(settings.nats_url))
        is_member, token = (self._folder / MEMBER_FILE).exists(), self._new_token()
        if not is_member and (not settings.hub_url or not token):
            raise InvalidInput(
                f"{self._kind} {self._name} is not enrolled here: give --hub and --enrolment-token-file with a new "
                f"token, as '{_COMMANDS[self._kind]} {self._name}' prints them"
            )
        if settings.hub_url and token:
            await self._come_in(token)
        elif settings.hub_url and self._has_ended():
            seed = self._key()
            self._keep(await self._enrol(lambda: self._proof(seed)), seed)
        member = Membership.load(self._folder, self._identity)
        return replace(member, nats_url=settings.routes.url(member.nats_url))

    async def _come_in(self, token: str) -> None:
        seed = self._key()
        wanted = Enrolment(token=token, public_key=public_key(seed), kind=self._kind, name=self._name)
        self._keep(await self._enrol(lambda: wanted), seed)
        _write(self._folder / _USED_FILE, _digest(token))
        log.info("enrolled with the hub", hub=self._settings.hub_url)

    def _new_token(self) -> str:
        """Read the token unless it is the one by which this member came in; empty if there is none."""
        path = self._settings.token_file
        used = self._folder / _USED_FILE
        if path is None or (used.exists() and not path.exists()):
            return ""
        token = _read_token(path)
        return "" if used.exists() and used.read_bytes() == _digest(token) else token

    def _has_ended(self) -> bool:
        return expiry(Credentials.read(self._folder / CREDENTIALS_FILE).jwt)[1] <= time.time()

    @contextlib.asynccontextmanager
    async def waiting(self, member: Membership) -> AsyncIterator[None]:
        """Keep the credentials good while the first connection is made, which may take longer than they live."""
        keeping = asyncio.create_task(self.keep(None, member))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})

    async def keep(self, bus: Bus | None, member: Membership) -> None:
        """Renew the credentials when half of their life is over, until cancelled; the next connect takes them.

        A member of an open NATS has nothing to renew.

        Args:
            bus: the connection by which the hub is asked; None: there is none yet.
            member: who is enrolled.
        """
        if member.login.credentials is None:
            await asyncio.Event().wait()
            return
        problem = ""
        while True:
            credentials = member.login.credentials()
            await asyncio.sleep(seconds_to_renewal(credentials.jwt, time.time()))
            try:
                await self._renew(bus, member, credentials.seed)
                problem = ""
            except AtollError as error:
                left = expiry(credentials.jwt)[1] - time.time()
                if str(error) != problem:  # a hub may be away for weeks
                    log.warning("could not renew the credentials", reason=str(error), seconds_left=round(left))
                problem = str(error)
                await asyncio.sleep(seconds_to_next_try(left))

    async def _renew(self, bus: Bus | None, member: Membership, seed: bytes) -> None:
        """Ask by NATS; where that does not let us in, ask the hub by HTTP and prove who we are by our key."""
        if self._settings.hub_url and (bus is None or not bus.is_connected):
            self._keep(await self._post(self._proof(seed)), seed)
            return
        if bus is None:
            raise Unavailable("NATS cannot be reached yet")
        subject = hub_subject(self._kind, self._name, RENEW, member.token)
        asked = Renewal(public_key=public_key(seed)).encode()
        answer = await bus.request(subject, asked, timeout_seconds=_ASK_SECONDS)
        self._keep(Admission.decode(opened(answer)), seed)
        log.info("renewed the credentials")

    def _proof(self, seed: bytes) -> Enrolment:
        wanted = Enrolment(public_key=public_key(seed), kind=self._kind, name=self._name, at=round(time.time(), 3))
        return wanted.model_copy(update={"signature": sign(seed, wanted.claim)})

    async def _enrol(self, wanted: Callable[[], Enrolment]) -> Admission:
        problem, backoff = "", Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS, chance=random.random)
        while True:
            try:
                return await self._post(wanted())
            except Unavailable as error:
                if str(error) != problem:
                    log.warning("cannot enrol yet", reason=str(error))
                problem = str(error)
                await asyncio.sleep(backoff.next_seconds())

    async def _post(self, wanted: Enrolment) -> Admission:
        url = self._settings.routes.url(self._settings.hub_url).rstrip("/")
        try:
            async with httpx.AsyncClient(verify=_trust(self._settings.hub_ca), trust_env=False, timeout=10) as client:
                answer = await client.post(f"{url}/enrol", json=wanted.wire())
        except httpx.HTTPError as error:
            raise Unavailable(f"the hub at {url} cannot be reached: {error}") from error
        if answer.status_code == httpx.codes.CREATED:
            return Admission.decode(answer.content)
        if answer.status_code >= 500 or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise Unavailable(f"the hub at {url} answers {answer.status_code}")
        raise InvalidInput(f"the hub does not let {self._kind} {self._name} in: {_message(answer)}")

    def _key(self) -> bytes:
        """Give the key of this member; made once, so that a start that was cut off goes on with the same."""
        path = self._folder / _KEY_FILE
        if not path.exists():
            _write(path, new_key("user"))
        return path.read_bytes()

    def _keep(self, admission: Admission, seed: bytes) -> None:
        keep(self._folder, admission, seed)


_COMMANDS = {"cluster": "atoll cluster join", "gateway": "atoll gateway enroll"}


def seconds_to_renewal(jwt: str, now: float) -> float:
    """Give how long credentials need no renewal: about half of their life; not all shall come at once."""
    issued_at, expires_at = expiry(jwt)
    if expires_at == float("inf"):
        return 365 * 86_400.0
    half = (expires_at - issued_at) / 2
    return max(0.0, min(issued_at, now) + half * random.uniform(0.9, 1.0) - now)  # noqa: S311 - no secret


def seconds_to_next_try(left_seconds: float) -> float:
    """Give how long to wait after a renewal that failed, when the credentials are good for so much longer."""
    longest = min(_RENEW_RETRY_SECONDS, max(2.0, left_seconds / 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def keep(folder: Path, admission: Admission, seed: bytes) -> None:
    """Write what makes a member, the part that says that it is one last.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    member = MemberFile(nats_url=admission.nats_url, token=admission.token, service_token=admission.service_token)
    _write(folder / CREDENTIALS_FILE, Credentials(admission.jwt, seed).text())
    if admission.ca:
        _write(folder / CA_FILE, admission.ca.encode())
    _write(folder / MEMBER_FILE, member.model_dump_json(by_alias=True).encode())


def _write(path: Path, content: bytes) -> None:
    """Replace a file that only we may read; whole and on disk, or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        make_folder(path.parent, mode=0o700)
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror or error}") from error


def _read_token(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the enrolment token {path}: {error}") from error


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).hexdigest().encode()


def _trust(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca) if ca else None)
    except ssl.SSLError as error:
        raise InvalidInput(f"--hub-ca {ca}: holds no certificate in PEM form") from error
    except OSError as error:
        raise InvalidInput(f"--hub-ca {ca}: cannot be read: {error.strerror}") from error


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"it answers {answer.status_code}"
