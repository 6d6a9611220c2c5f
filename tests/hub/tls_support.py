"""What the tests of access share: a CA with certificates, a hub over TLS, and clients who show who they are."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from atoll.hub.main import running
from atoll.hub.settings import TlsFiles
from atoll.local.certificates import Pair, issue_ca, issue_client, issue_server, new_key
from hub.support import HubClient, eventually, settings

ADMINS = ("atoll:admins",)
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


class Authority:
    """A CA in a folder. What it issues is in files beside it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        key = new_key()
        self.pair = Pair(issue_ca(key, now=datetime.now(UTC)), key)
        self.certificate = folder / "ca.crt"
        self.certificate.write_bytes(self.pair.certificate)

    def server(self, *, client_ca: Path | None = None) -> TlsFiles:
        """Give a hub's files; the CA of its clients is this one unless another is named."""
        key = new_key()
        self._write("hub", Pair(issue_server(self.pair, key, names=["127.0.0.1"], now=datetime.now(UTC)), key))
        return TlsFiles(self.folder / "hub.crt", self.folder / "hub.key", client_ca or self.certificate)

    def client(self, user: str, groups: Sequence[str] = (), *, issued_at: datetime | None = None) -> tuple[str, str]:
        """Give the files of a client's certificate, which is good for a year."""
        key, at = new_key(), issued_at or datetime.now(UTC)
        self._write(user, Pair(issue_client(self.pair, key, user=user, groups=groups, now=at), key))
        return str(self.folder / f"{user}.crt"), str(self.folder / f"{user}.key")

    def expired_client(self, user: str) -> tuple[str, str]:
        return self.client(user, issued_at=datetime.now(UTC) - timedelta(days=400))

    def context(self, shown: tuple[str, str] | None = None) -> ssl.SSLContext:
        """Give the TLS of a client that trusts this CA, and shows a certificate if it has one."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if shown is not None:
            context.load_cert_chain(*shown)
        return context

    def _write(self, name: str, pair: Pair) -> None:
        (self.folder / f"{name}.key").write_bytes(pair.key)
        (self.folder / f"{name}.crt").write_bytes(pair.certificate)


@contextlib.asynccontextmanager
async def secured_hub(nats_url: str, folder: Path, authority: Authority, **changes: Any) -> AsyncIterator[HubClient]:
    """Run a hub as it is by default, over TLS and with access; the client is an admin by certificate."""
    secure = {"insecure_http": False, "no_auth": False, "tls": authority.server()}
    async with (
        running(settings(nats_url, folder, **{**secure, **changes})) as started,
        visitor(started.url, authority.context(authority.client("root", ADMINS))) as http,
    ):
        yield HubClient(started.hub, started.url, http)
        for task in started.tasks:
            assert not task.done(), f"a task of the hub ended: {task}"


@contextlib.asynccontextmanager
async def visitor(url: str, context: ssl.SSLContext, *, token: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of a hub, with a bearer token if there is one."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(base_url=url, verify=context, timeout=20, trust_env=False, headers=headers) as http:
        yield http


async def ready(hub: HubClient) -> None:
    async def is_ready() -> bool:
        return (await hub.http.get("/readyz")).status_code == 200

    await eventually(is_ready)


async def who(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.post(WHO, json=REVIEW)
    assert answer.status_code == 201, answer.text
    return dict(answer.json()["status"]["userInfo"])


def status(answer: httpx.Response) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["reason"], body["message"]
