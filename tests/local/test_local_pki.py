"""The home's certificates: made once, renewed in time, finished after a kill, and the CA never replaced unasked."""

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from atoll.federation.errors import InvalidInput
from atoll.local import certificates, pki
from atoll.local.certificates import Pair
from atoll.local.home import Home

NOW = datetime.now(UTC)


def contents(home: Home) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (home.root / "pki").iterdir()}


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def serve_once(context: ssl.SSLContext) -> tuple[int, list[object], threading.Thread]:
    """Take one TLS connection on a free port; give what its peer's certificate says."""
    listener, seen = socket.create_server(("127.0.0.1", 0)), []

    def serve() -> None:
        with listener, listener.accept()[0] as plain, context.wrap_socket(plain, server_side=True) as peer:
            seen.append(peer.getpeercert())
            peer.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    return listener.getsockname()[1], seen, thread


def test_a_client_that_trusts_the_ca_reaches_the_server_and_is_known_by_its_certificate(tmp_path: Path) -> None:
    """Python's own TLS, strict checks on, verifies both sides by every name that the hub is reached by."""
    made = pki.ensure(Home(tmp_path), now=NOW)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(made.ca.certificate))
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VERIFY_X509_STRICT
    server.load_cert_chain(made.server.certificate, made.server.key)
    client = ssl.create_default_context(cafile=str(made.ca.certificate))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_cert_chain(made.admin.certificate, made.admin.key)
    for name in ("localhost", "127.0.0.1", "::1"):
        port, seen, thread = serve_once(server)
        with socket.create_connection(("127.0.0.1", port)) as plain:
            with client.wrap_socket(plain, server_hostname=name) as peer:
                assert peer.recv(5) == b"hello"
        thread.join(5)
        subject = dict(field for part in seen[0]["subject"] for field in part)
        assert subject["organizationName"] == "atoll:admins"
        assert subject["commonName"].startswith("admin-")


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    """No other user of the machine reads a key or looks into the folder."""
    made = pki.ensure(Home(tmp_path), now=NOW)
    for files in (made.ca, made.server, made.admin):
        assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    """What is good stays byte for byte."""
    pki.ensure(Home(tmp_path), now=NOW)
    before = contents(Home(tmp_path))
    pki.ensure(Home(tmp_path), now=NOW + timedelta(days=300))
    assert changed(before, contents(Home(tmp_path))) == set()


def test_what_ends_within_thirty_days_is_renewed_under_the_same_ca(tmp_path: Path) -> None:
    """The server's and the administrator's certificates are new, the CA is not."""
    pki.ensure(Home(tmp_path), now=NOW)
    before = contents(Home(tmp_path))
    made = pki.ensure(Home(tmp_path), now=NOW + timedelta(days=336))
    assert changed(before, contents(Home(tmp_path))) == {"hub.crt", "hub.key", "admin.crt", "admin.key"}
    assert certificates.is_issued_by(made.server.read().certificate, before["ca.crt"])
    assert certificates.read(made.server.read().certificate).not_after > NOW + timedelta(days=700)


def test_a_new_host_name_gets_a_new_server_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reaches the hub by the machine's name must be able to verify it; a name that is none of DNS is left out."""
    pki.ensure(Home(tmp_path), now=NOW)
    before = contents(Home(tmp_path))
    monkeypatch.setattr(socket, "gethostname", lambda: "seismo-lab-7")
    made = pki.ensure(Home(tmp_path), now=NOW)
    assert changed(before, contents(Home(tmp_path))) == {"hub.crt", "hub.key"}
    assert certificates.read(made.server.read().certificate).names == {"localhost", "127.0.0.1", "::1", "seismo-lab-7"}
    monkeypatch.setattr(socket, "gethostname", lambda: "Jörg's Mac")
    assert pki.server_names() == {"localhost", "127.0.0.1", "::1"}


def test_certificates_are_valid_an_hour_back(tmp_path: Path) -> None:
    """A client whose clock is behind takes them."""
    made = pki.ensure(Home(tmp_path), now=NOW)
    for files in (made.ca, made.server, made.admin):
        facts = certificates.read(files.read().certificate)
        assert facts.not_before == (NOW - timedelta(hours=1)).replace(microsecond=0)


def test_certificates_from_a_clock_that_was_ahead_are_made_again(tmp_path: Path) -> None:
    """A leaf of the future helps nobody today; a CA of the future is named: today's clock may be what is wrong."""
    pki.ensure(Home(tmp_path), now=NOW)
    tomorrow = NOW + timedelta(days=400)
    pki.ensure(Home(tmp_path), now=tomorrow)
    before = contents(Home(tmp_path))
    pki.ensure(Home(tmp_path), now=NOW)
    assert changed(before, contents(Home(tmp_path))) == {"hub.crt", "hub.key", "admin.crt", "admin.key"}
    with pytest.raises(InvalidInput, match=r"ca.crt is valid only from .* is this machine's clock right"):
        pki.ensure(Home(tmp_path), now=NOW - timedelta(days=1))


ORDER_OF_WRITING = ("ca.key", "ca.crt", "hub.key", "hub.crt", "admin.key", "admin.crt")


@pytest.mark.parametrize("written", range(len(ORDER_OF_WRITING)))
def test_a_first_start_that_was_killed_between_two_files_is_finished_by_the_next(tmp_path: Path, written: int) -> None:
    """However many of the six files were there, the next start ends with six that fit, and keeps a finished CA."""
    whole, half = Home(tmp_path / "whole"), Home(tmp_path / "half")
    pki.ensure(whole, now=NOW)
    folder = half.folder("pki")
    for name in ORDER_OF_WRITING[:written]:
        (folder / name).write_bytes((whole.root / "pki" / name).read_bytes())
    made = pki.ensure(half, now=NOW)
    for files in (made.ca, made.server, made.admin):
        assert certificates.belong_together(files.read())
        assert certificates.is_issued_by(files.read().certificate, made.ca.read().certificate)
    if written >= 2:
        assert contents(half)["ca.crt"] == contents(whole)["ca.crt"]


@pytest.mark.parametrize(("key", "certificate"), list(pairwise(ORDER_OF_WRITING))[2::2])
def test_a_renewal_that_was_killed_after_the_key_is_done_again(tmp_path: Path, key: str, certificate: str) -> None:
    """A new key beside an old certificate is not served."""
    home = Home(tmp_path)
    pki.ensure(home, now=NOW)
    before = contents(home)
    (home.root / "pki" / key).write_bytes(certificates.new_key())
    pki.ensure(home, now=NOW)
    assert changed(before, contents(home)) == {key, certificate}


@pytest.mark.parametrize("damage", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n", b"\xff\x00garbage"])
@pytest.mark.parametrize("name", ["hub.crt", "hub.key", "admin.crt", "admin.key"])
def test_a_damaged_leaf_is_made_again(tmp_path: Path, name: str, damage: bytes) -> None:
    """Empty, cut or foreign bytes in a file that can be made again are no reason to stop."""
    home = Home(tmp_path)
    pki.ensure(home, now=NOW)
    (home.root / "pki" / name).write_bytes(damage)
    made = pki.ensure(home, now=NOW)
    assert certificates.belong_together(made.server.read())
    assert certificates.belong_together(made.admin.read())


def test_a_damaged_ca_is_named_and_never_replaced(tmp_path: Path) -> None:
    """A person decides about a new CA: every client has to be told of it."""
    home = Home(tmp_path)
    made = pki.ensure(home, now=NOW)
    made.ca.certificate.write_bytes(b"garbage")
    before = contents(home)
    with pytest.raises(InvalidInput, match=r"ca.crt is no certificate .*remove .*/pki for a new CA"):
        pki.ensure(home, now=NOW)
    assert contents(home) == before


def test_an_expired_ca_is_named_and_never_replaced(tmp_path: Path) -> None:
    """After ten years a person is told what has to happen."""
    home = Home(tmp_path)
    pki.ensure(home, now=NOW)
    before = contents(home)
    with pytest.raises(InvalidInput, match=r"ca.crt expired on .*remove .*/pki for a new CA"):
        pki.ensure(home, now=NOW + timedelta(days=3651))
    assert contents(home) == before


def test_a_leaf_never_outlives_its_ca(tmp_path: Path) -> None:
    """Near the CA's end the certificates end with it."""
    home = Home(tmp_path)
    pki.ensure(home, now=NOW)
    made = pki.ensure(home, now=NOW + timedelta(days=3500))
    leaf, ca = (certificates.read(files.read().certificate) for files in (made.server, made.ca))
    assert leaf.not_after == ca.not_after


def test_a_ca_whose_key_is_kept_elsewhere_serves_until_a_renewal_is_due(tmp_path: Path) -> None:
    """Taking the key off the machine is a good habit; when it is needed it is asked for."""
    home = Home(tmp_path)
    made = pki.ensure(home, now=NOW)
    made.ca.key.unlink()
    before = contents(home)
    pki.ensure(home, now=NOW)
    assert contents(home) == before
    with pytest.raises(InvalidInput, match=r"ca.key is missing, and a certificate must be signed with it"):
        pki.ensure(home, now=NOW + timedelta(days=350))
    made.ca.key.write_bytes(certificates.new_key())
    with pytest.raises(InvalidInput, match=r"ca.key is not the key of ca.crt"):
        pki.ensure(home, now=NOW)


def test_a_certificate_of_another_ca_is_not_of_ours(tmp_path: Path) -> None:
    """The signature decides, not the name."""
    ours, theirs = (pki.ensure(Home(tmp_path / name), now=NOW) for name in ("ours", "theirs"))
    assert not certificates.is_issued_by(ours.server.read().certificate, theirs.ca.read().certificate)
    assert not certificates.belong_together(Pair(ours.server.read().certificate, theirs.server.read().key))
