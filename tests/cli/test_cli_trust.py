"""TLS between the command line and a hub: whom it trusts, and what it says when one side does not trust the other."""

import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from atoll.cli.api import Api
from atoll.federation.errors import InvalidInput, Unauthorized, Unavailable
from atoll.local import certificates, pki
from atoll.local.certificates import Pair
from atoll.local.credentials import Credentials
from atoll.local.home import Home
from atoll.local.pki import Pki

NOW = datetime.now(UTC)


@pytest.fixture
def made(tmp_path: Path) -> Pki:
    return pki.ensure(Home(tmp_path), now=NOW)


def admin(made: Pki) -> Credentials:
    pair = made.admin.read()
    return Credentials(made.ca.read().certificate, pair.certificate, pair.key)


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"items": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        pass  # a handshake that the client ends is what these tests are about


@contextlib.contextmanager
def serving(made: Pki) -> Iterator[int]:
    """Serve with the home's certificates as the hub does: a client certificate is optional, and verified if shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server.certificate, made.server.key)
    context.load_verify_locations(made.ca.certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    server = Server(("127.0.0.1", 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(port: int, credentials: Credentials, *, host: str = "127.0.0.1") -> object:
    with Api(f"https://{host}:{port}", credentials) as api:
        return api.get("/anything")


def reissue_server(made: Pki, *, names: frozenset[str], now: datetime) -> None:
    certificate = certificates.issue_server(made.ca.read(), made.server.read().key, names=names, now=now)
    made.server.certificate.write_bytes(certificate)


def test_a_hub_of_a_trusted_ca_answers_with_and_without_a_client_certificate(made: Pki) -> None:
    """Under every name that its certificate has."""
    with serving(made) as port:
        for credentials in (admin(made), Credentials(ca=admin(made).ca), Credentials(ca=admin(made).ca, token="t")):
            for host in ("127.0.0.1", "localhost"):
                assert ask(port, credentials, host=host) == {"items": []}


def test_an_unknown_ca_is_refused(made: Pki, tmp_path: Path) -> None:
    """Neither the system's CAs nor another one of ours vouch for it."""
    other = pki.ensure(Home(tmp_path / "other"), now=NOW)
    with serving(made) as port:
        for credentials in (Credentials(), Credentials(ca=admin(other).ca)):
            with pytest.raises(Unauthorized, match=r"signed by a CA that you do not trust: .*--certificate-authority"):
                ask(port, credentials)


@pytest.mark.parametrize(
    ("issued", "expected"),
    [
        (timedelta(days=-366), "has expired: who runs it renews it"),
        (timedelta(days=1), "is not valid yet: is the clock"),
    ],
    ids=["expired", "future"],
)
def test_a_certificate_out_of_its_time_is_refused(made: Pki, issued: timedelta, expected: str) -> None:
    """The line says which side has to look at what."""
    reissue_server(made, names=pki.server_names(), now=NOW + issued)
    with serving(made) as port, pytest.raises(Unauthorized, match=expected):
        ask(port, admin(made))


def test_a_certificate_for_other_names_is_refused(made: Pki) -> None:
    """A certificate of the right CA is not enough."""
    reissue_server(made, names=frozenset({"hub.lab.org", "10.0.0.1"}), now=NOW)
    with serving(made) as port:
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(Unauthorized, match=rf"https://{host}:{port} is for other names"):
                ask(port, admin(made), host=host)


def test_an_expired_client_certificate_is_told_as_ours(made: Pki) -> None:
    """`up` renews it."""
    pair = made.admin.read()
    old = certificates.issue_client(made.ca.read(), pair.key, user="a", groups=(), now=NOW - timedelta(days=400))
    with serving(made) as port, pytest.raises(Unauthorized, match=r"your client certificate has expired: 'atoll up'"):
        ask(port, replace(admin(made), certificate=old))


def test_a_client_certificate_of_another_ca_is_told_as_ours(made: Pki, tmp_path: Path) -> None:
    """It is of no use there; a token is."""
    other = admin(pki.ensure(Home(tmp_path / "other"), now=NOW))
    with (
        serving(made) as port,
        pytest.raises(Unauthorized, match=r"does not trust your client certificate .*: atoll login"),
    ):
        ask(port, replace(other, ca=admin(made).ca))


def test_tls_to_a_port_without_it_is_told(made: Pki) -> None:
    """The address or the port is wrong."""
    server = Server(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        with pytest.raises(Unavailable, match=r"does not speak TLS: is its address http://"):
            ask(server.server_port, admin(made))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_credentials_that_cannot_be_used_are_told_before_anything_is_sent(made: Pki) -> None:
    """A CA that is none, and a key of another certificate."""
    with pytest.raises(InvalidInput, match="the certificate authority holds no certificate"):
        Api("https://127.0.0.1:1", Credentials(ca=b"garbage"))
    with pytest.raises(InvalidInput, match="the client certificate and its key do not fit"):
        Api("https://127.0.0.1:1", replace(admin(made), key=certificates.new_key()))
    assert not certificates.belong_together(Pair(b"garbage", b"garbage"))


def test_a_token_goes_over_plain_http_to_this_machine_only() -> None:
    """Anywhere else it could be read on the way."""
    Api("http://127.0.0.1:1", Credentials(token="secret")).close()
    with pytest.raises(InvalidInput, match=r"has no TLS: a token sent there could be read"):
        Api("http://hub.lab.org", Credentials(token="secret"))
