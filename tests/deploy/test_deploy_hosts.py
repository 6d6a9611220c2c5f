"""Hub, NATS and gateways without Kubernetes: units that systemd takes, and a configuration that nats-server takes."""

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atoll.installation.hub import Addresses
from atoll.local import hub_credentials
from deploy.world import DEPLOY
from nats_servers import nats_binary

UNITS = sorted(path.name for path in (DEPLOY / "systemd").glob("*.service"))


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_each_unit_and_calls_it_safe(name: str, tmp_path: Path) -> None:
    """`systemd-analyze security` counts exposure: below 2.0 it says OK."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / name.replace("@", "@lab-a")
    unit.write_text(re.sub(r"/usr/local/bin/\S+", "/bin/true", (DEPLOY / "systemd" / name).read_text()))
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", unit]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


@pytest.mark.parametrize("servers", [1, 3])
def test_nats_takes_the_configuration_for_hosts(servers: int, tmp_path: Path) -> None:
    """With the credentials that `atoll hub credentials` writes, alone and as one of three."""
    hub_credentials.ensure(tmp_path, Addresses(), port=8700, now=datetime.now(UTC))
    text = (DEPLOY / "systemd/nats.conf").read_text()
    if servers == 3:
        head, cluster = text.split("# cluster {")
        text = f"{head}cluster {{{re.sub('^# ?', '', cluster, flags=re.MULTILINE)}"
    (tmp_path / "nats.conf").write_text(text)
    folders = {"NATS_STORE": f"{tmp_path}/jetstream", "ACCOUNTS_STORE": f"{tmp_path}/accounts"}
    files = {"NATS_CERT": f"{tmp_path}/nats.crt", "NATS_KEY": f"{tmp_path}/nats.key", "NATS_CA": f"{tmp_path}/ca.crt"}
    command = [nats_binary(), "-t", "--config", tmp_path / "nats.conf"]
    done = subprocess.run(command, env={**folders, **files}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_each_program_option_in_a_unit_is_one_that_the_program_has() -> None:
    """By the programs' own help."""
    from typer.main import get_command

    from atoll.cli.main import app

    for name in UNITS:
        text = (DEPLOY / "systemd" / name).read_text().replace("\\\n", " ")
        words = next(line for line in text.splitlines() if line.startswith("ExecStart=")).split()
        if not words[0].endswith("/atoll"):
            continue
        command = get_command(app).commands[words[1]].commands[words[2]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in words[3:] if word.startswith("--")} <= known, name
