"""TLS of the hub: who may connect, and what happens when certificate files change or are wrong."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from atoll.federation.errors import InvalidInput
from atoll.hub.http.server import listen, serving, url_of
from atoll.hub.http.tls import Tls
from atoll.hub.settings import HubSettings, OidcSettings, TlsFiles, oidc_settings, tls_files
from atoll.local.certificates import fingerprint
from hub.tls_support import Authority, visitor


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the TLS that the server saw, and with where the request came from."""
    request = Request(scope, receive)
    answer = {"tls": scope["extensions"]["tls"], "client": request.client.host, "scheme": request.url.scheme}
    await JSONResponse(answer)(scope, receive, send)


@contextlib.asynccontextmanager
async def served(files: TlsFiles) -> AsyncIterator[str]:
    listener = listen("127.0.0.1", 0)
    async with serving(tell, listener, tls=Tls(files)):
        yield url_of(listener, scheme="https")


async def get(url: str, context: ssl.SSLContext) -> dict[str, Any]:
    """Ask over a connection of its own."""
    async with visitor(url, context) as http:
        return dict((await http.get("/")).json())


def shown_by_server(url: str) -> str:
    host, port = url.removeprefix("https://").split(":")
    return fingerprint(ssl.get_server_certificate((host, int(port))).encode())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


async def test_every_request_of_a_connection_carries_the_clients_certificate(authority: Authority) -> None:
    async with served(authority.server()) as url:
        async with visitor(url, authority.context(authority.client("alice", ("labs",)))) as http:
            answers = [(await http.get("/")).json() for _ in range(3)]
            pool = http._transport._pool  # type: ignore[attr-defined]
            assert len(pool.connections) == 1
        assert {answer["tls"]["client_cert_name"] for answer in answers} == {"CN=alice,O=labs"}
        assert answers[0]["tls"]["client_cert_chain"][0].startswith("-----BEGIN CERTIFICATE-----")
        assert answers[0]["tls"]["tls_version"] == 0x0304
        assert answers[0]["scheme"] == "https"


async def test_a_client_without_a_certificate_connects_and_is_nobody(authority: Authority) -> None:
    async with served(authority.server()) as url:
        assert (await get(url, authority.context()))["tls"]["client_cert_chain"] == []


async def test_a_certificate_that_the_ca_did_not_sign_or_that_expired_is_refused_in_the_handshake(
    authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "other")
    selfmade = str(stranger.certificate), str(stranger.folder / "ca.key")
    Path(selfmade[1]).write_bytes(stranger.pair.key)
    files = authority.server()
    server_pair = str(files.certificate), str(files.key)
    wrong = {
        "of another CA": stranger.client("alice", ("atoll:admins",)),
        "expired": authority.expired_client("bob"),
        "signed by itself": selfmade,
        "a server's": server_pair,
    }
    async with served(files) as url:
        for what, pair in wrong.items():
            with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
                raise AssertionError(f"{what}: {await get(url, authority.context(pair))}")
        assert (await get(url, authority.context()))["tls"]["client_cert_error"] is None


async def test_old_tls_and_plain_http_are_refused(authority: Authority) -> None:
    old = authority.context()
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with served(authority.server()) as url:
        with pytest.raises(httpx.ConnectError):
            await get(url, old)
        with pytest.raises(httpx.RemoteProtocolError):
            await get(url.replace("https", "http"), authority.context())
        tls12 = authority.context()
        tls12.maximum_version = ssl.TLSVersion.TLSv1_2
        assert (await get(url, tls12))["tls"]["tls_version"] == 0x0303


async def test_a_replaced_certificate_serves_new_connections_while_old_ones_go_on(authority: Authority) -> None:
    files = authority.server()
    async with served(files) as url, visitor(url, authority.context()) as http:
        assert (await http.get("/")).status_code == 200
        before = await asyncio.to_thread(shown_by_server, url)
        authority.server()
        after = await asyncio.to_thread(shown_by_server, url)
        assert (before != after, after) == (True, fingerprint(files.certificate.read_bytes()))
        assert (await http.get("/")).status_code == 200


async def test_a_replaced_client_ca_is_trusted_instead_of_the_old_one(authority: Authority, tmp_path: Path) -> None:
    successor = Authority(tmp_path / "successor")
    files = authority.server(client_ca=tmp_path / "clients.crt")
    shutil.copy(authority.certificate, tmp_path / "clients.crt")
    old, new = authority.client("alice"), successor.client("alice")
    async with served(files) as url:
        assert (await get(url, authority.context(old)))["tls"]["client_cert_name"] == "CN=alice"
        shutil.copy(successor.certificate, tmp_path / "next")
        (tmp_path / "next").replace(tmp_path / "clients.crt")
        assert (await get(url, authority.context(new)))["tls"]["client_cert_name"] == "CN=alice"
        with pytest.raises(httpx.ReadError):
            await get(url, authority.context(old))


@pytest.mark.parametrize("damage", ["empty", "garbage", "another key", "missing"])
async def test_files_that_cannot_be_used_replace_nothing_and_right_ones_do_at_once(
    authority: Authority, tmp_path: Path, damage: str
) -> None:
    files = authority.server()
    good = files.certificate.read_bytes(), files.key.read_bytes()
    async with served(files) as url:
        before = await asyncio.to_thread(shown_by_server, url)
        match damage:
            case "empty":
                files.certificate.write_bytes(b"")
            case "garbage":
                files.key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
            case "another key":
                files.key.write_bytes(authority.pair.key)
            case "missing":
                files.certificate.unlink()
        for _ in range(2):
            assert await asyncio.to_thread(shown_by_server, url) == before
        files.certificate.write_bytes(good[0])
        files.key.write_bytes(good[1])
        authority.server()
        assert await asyncio.to_thread(shown_by_server, url) == fingerprint(files.certificate.read_bytes())


async def test_a_client_that_never_ends_its_handshake_keeps_nobody_out(authority: Authority) -> None:
    async with served(authority.server()) as url:
        host, port = url.removeprefix("https://").split(":")
        with contextlib.ExitStack() as stack:
            for payload in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 4):
                silent = stack.enter_context(socket.create_connection((host, int(port))))
                silent.sendall(payload)
            assert (await get(url, authority.context()))["client"] == "127.0.0.1"


async def test_a_head_that_does_not_end_is_refused_before_it_fills_the_memory(authority: Authority) -> None:
    async with served(authority.server()) as url:
        host, port = url.removeprefix("https://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=authority.context())
        writer.write(b"GET / HTTP/1.1\r\nAuthorization: Bearer ")
        answer, sent = asyncio.create_task(reader.readline()), 0
        with contextlib.suppress(ConnectionError):
            while sent < 8 * 1024 * 1024 and not answer.done():
                writer.write(b"a" * 65536)
                await writer.drain()
                await asyncio.sleep(0)
                sent += 65536
        assert (await answer).startswith(b"HTTP/1.1 400")
        assert sent < 4 * 1024 * 1024
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
        async with visitor(url, authority.context()) as http:
            assert (await http.get("/", headers={"X-Long": "a" * 100_000})).status_code == 200
            assert (await http.post("/", content=b"a" * 3_000_000)).status_code == 200


def test_files_that_are_wrong_at_the_start_are_named(authority: Authority, tmp_path: Path) -> None:
    files, nothing = authority.server(), tmp_path / "nothing.pem"
    nothing.write_text("")
    cases = {
        "hub.crt": replace(files, key=authority.folder / "nokey"),
        "nothing.pem and": replace(files, certificate=nothing),
        "nothing.pem is no CA": replace(files, client_ca=nothing),
        "nowhere.pem is no CA": replace(files, client_ca=tmp_path / "nowhere.pem"),
    }
    for named, wrong in cases.items():
        with pytest.raises(InvalidInput, match=named):
            Tls(wrong)


def test_a_key_with_a_password_is_refused_and_asks_nobody(authority: Authority) -> None:
    files = authority.server()
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"secret")
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files.key.write_bytes(key.private_bytes(*form, encryption))
    with pytest.raises(InvalidInput, match="without a password"):
        Tls(files)


TLS = TlsFiles(Path("hub.crt"), Path("hub.key"))
OIDC = OidcSettings("https://id.example.org", "atoll")
REFUSED = {
    "no certificate and no word about it": ({}, "--tls-cert and --tls-key, or --insecure-http"),
    "a certificate, and plain HTTP": ({"tls": TLS, "insecure_http": True}, "--insecure-http contradicts --tls-cert"),
    "everybody on every address": ({"tls": TLS, "no_auth": True, "host": "0.0.0.0"}, "--no-auth on 0.0.0.0"),
    "everybody on a name": ({"tls": TLS, "no_auth": True, "host": "hub.example.org"}, "--no-auth on hub.example.org"),
    "everybody, and an issuer": ({"tls": TLS, "no_auth": True, "oidc": OIDC}, "--no-auth contradicts --oidc-issuer"),
    "everybody, and a client CA": (
        {"tls": replace(TLS, client_ca=Path("ca.crt")), "no_auth": True},
        "--no-auth contradicts --oidc-issuer and --client-ca",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_settings_that_would_expose_the_hub_are_refused(what: str, tmp_path: Path) -> None:
    changes, message = REFUSED[what]
    with pytest.raises(InvalidInput) as refused:
        HubSettings(nats_url="nats://127.0.0.1:4222", state_dir=tmp_path, **changes).check()  # type: ignore[arg-type]
    assert message in str(refused.value)


def test_settings_that_are_safe_or_meant_are_taken(tmp_path: Path) -> None:
    cases = (
        {"tls": TLS, "host": "0.0.0.0", "oidc": OIDC},
        {"insecure_http": True, "host": "0.0.0.0"},
        {"insecure_http": True, "no_auth": True, "host": "::1"},
        {"insecure_http": True, "no_auth": True, "host": "localhost"},
    )
    for changes in cases:
        HubSettings(nats_url="nats://127.0.0.1:4222", state_dir=tmp_path, **changes).check()  # type: ignore[arg-type]


def test_half_of_the_options_of_tls_or_of_an_issuer_are_refused() -> None:
    path = Path("x")
    for given in ((path, None, None), (None, path, None), (None, None, path)):
        with pytest.raises(InvalidInput, match="TLS needs both"):
            tls_files(given[0], given[1], client_ca=given[2])
    assert tls_files(None, None, client_ca=None) is None
    for issuer, audience, keys in (("https://id", "", ""), ("", "atoll", ""), ("", "", "keys.json")):
        with pytest.raises(InvalidInput, match="OIDC needs both"):
            oidc_settings(issuer, audience, keys=keys)
    assert oidc_settings("", "", keys="") is None


async def serve(*options: str) -> tuple[int | None, list[str]]:
    """Run `atoll hub serve` until it ends; give its exit code and what it wrote as errors."""
    arguments = (sys.executable, "-m", "atoll.cli", "hub", "serve", *options)
    process = await asyncio.create_subprocess_exec(*arguments, stdout=-1, stderr=-1)
    _, written = await process.communicate()
    return process.returncode, [line for line in written.decode().splitlines() if line.startswith("error:")]


async def test_hub_serve_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    code, errors = await serve("--nats", "nats://127.0.0.1:1", "--state-dir", str(tmp_path / "hub"))
    assert code == 1
    assert len(errors) == 1
    assert "--insecure-http" in errors[0]
    assert not (tmp_path / "hub").exists()


async def test_hub_serve_names_the_file_of_an_option_that_is_not_there(nats_server: Any, tmp_path: Path) -> None:
    common = ("--nats", nats_server.url, "--state-dir", str(tmp_path / "hub"), "--port", "0")
    nowhere = str(tmp_path / "nowhere")
    issuer = ("--oidc-issuer", "https://id.example.org", "--oidc-audience", "atoll")
    for options in (
        ("--insecure-http", *issuer, "--oidc-jwks", nowhere),
        ("--insecure-http", *issuer, "--oidc-ca", nowhere),
        ("--tls-cert", nowhere, "--tls-key", nowhere),
    ):
        code, errors = await serve(*common, *options)
        assert (code, len(errors)) == (1, 1), errors
        assert f"{nowhere}" in errors[0]
        assert "No such file" in errors[0]
