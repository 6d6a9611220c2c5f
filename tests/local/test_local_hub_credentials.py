"""The folder of a hub that runs elsewhere: whole, kept, renewed in time, and nobody else's."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from atoll.federation.bus.nats_keys import Keys
from atoll.federation.errors import InvalidInput
from atoll.installation.hub import Addresses
from atoll.local import certificates, hub_credentials
from atoll.local.kubeconfig import Kubeconfig

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NAMES = Addresses(hub=("hub.example.org",), nats=("nats.example.org", "192.0.2.7"))


def ensure(folder: Path, wanted: Addresses = NAMES, *, now: datetime = NOW) -> tuple[str, ...]:
    return hub_credentials.ensure(folder, wanted, port=8700, now=now)


def test_every_file_is_there_and_secrets_are_their_owner_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    made = ensure(folder)
    assert {"ca.crt", "hub.crt", "nats.crt", "admin.crt", "accounts.conf", "kubeconfig", "kustomization.yaml"} < set(
        made
    )
    secret = [
        path
        for path in folder.rglob("*")
        if path.suffix in (".key", ".nk") or path.name in ("accounts.conf", "kubeconfig")
    ]
    assert len(secret) == 4 + 4 + 2
    assert {path.stat().st_mode & 0o077 for path in (folder, *secret)} == {0}


def test_certificates_hold_the_names_from_outside_and_from_inside(tmp_path: Path) -> None:
    ensure(tmp_path)
    hub = certificates.read((tmp_path / "hub.crt").read_bytes()).names
    assert {"hub.example.org", "atoll-hub", "atoll-hub.atoll.svc", "localhost"} <= hub
    nats = certificates.read((tmp_path / "nats.crt").read_bytes()).names
    assert {"nats.example.org", "192.0.2.7", "atoll-nats-members.atoll.svc", "*.atoll-nats.atoll.svc"} <= nats


def test_given_again_nothing_changes_and_a_new_name_renews_one_certificate(tmp_path: Path) -> None:
    ensure(tmp_path)
    assert ensure(tmp_path, now=NOW + timedelta(days=1)) == ()
    more = Addresses(hub=("hub.example.org", "hub2.example.org"), nats=NAMES.nats)
    assert hub_credentials.foresee(tmp_path, more, port=8700, now=NOW) == ("hub.crt", "hub.key")
    assert ensure(tmp_path) == ()  # foreseeing changed nothing
    assert ensure(tmp_path, more) == ("hub.crt", "hub.key")


def test_what_ends_soon_is_renewed_and_keys_of_nats_and_the_ca_stay(tmp_path: Path) -> None:
    ensure(tmp_path)
    keys, ca = Keys.load(tmp_path / "nats-keys"), (tmp_path / "ca.crt").read_bytes()
    renewed = ensure(tmp_path, now=NOW + timedelta(days=340))
    assert {"hub.crt", "nats.crt", "admin.crt", "kubeconfig"} <= set(renewed)
    assert not {"ca.crt", "ca.key", "accounts.conf"} & set(renewed)
    assert Keys.load(tmp_path / "nats-keys") == keys
    assert (tmp_path / "ca.crt").read_bytes() == ca


def test_a_ca_that_is_broken_is_refused_and_nothing_is_replaced(tmp_path: Path) -> None:
    ensure(tmp_path)
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(InvalidInput, match=r"ca\.crt is no certificate"):
        ensure(tmp_path, now=NOW + timedelta(days=340))


def test_the_kubeconfig_is_the_administrator_s_and_names_the_hub_from_outside(tmp_path: Path) -> None:
    ensure(tmp_path)
    found = Kubeconfig.read([tmp_path / "kubeconfig"])
    context = found.context(found.current)
    assert context.server == "https://hub.example.org:8700"
    facts = certificates.read(context.credentials.certificate)
    assert facts.groups == ("atoll:admins",)


def test_the_ca_s_key_and_the_administrator_s_are_in_no_secret(tmp_path: Path) -> None:
    ensure(tmp_path)
    described = yaml.safe_load((tmp_path / "kustomization.yaml").read_text())
    named = {file.rpartition("=")[2] for secret in described["secretGenerator"] for file in secret["files"]}
    assert {name for name in named if not (tmp_path / name).exists()} == set()
    assert not {"ca.key", "admin.key", "admin.crt", "kubeconfig"} & named
