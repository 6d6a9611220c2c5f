"""Members come and go by the commands: a gateway is invited, enrols itself with what was printed, and is sent away."""

import shlex
import time
from pathlib import Path

import pytest
from clitool import Cli


def invited(hub: Cli, *command: str) -> tuple[str, list[str]]:
    """Run a command that invites; give the token and the command line of the member."""
    echo, run = hub.ok(*command).splitlines()
    return shlex.split(echo)[1], shlex.split(run)[1:]


@pytest.mark.parametrize(("invite", "noun"), [("join", "cluster"), ("enroll", "gateway")])
def test_an_invitation_makes_the_object_and_a_token_of_its_own_each_time(hub: Cli, invite: str, noun: str) -> None:
    """Asked twice, it makes no second object; sent away, the member is unknown."""
    name = f"twice-{noun}"
    first, second = (invited(hub, noun, invite, name)[0] for _ in range(2))
    assert first != second
    assert name in hub.ok("get", f"{noun}s", "-o", "name")
    assert hub.ok(noun, "leave", name) == f"{noun}/{name} left\n"
    assert name not in hub.ok("get", f"{noun}s", "-o", "name")
    done = hub(noun, "leave", name)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"there is no {noun} {name}" in done.stderr


def test_a_gateway_enrols_with_what_was_printed_and_is_not_heard_after_it_left(hub: Cli, tmp_path: Path) -> None:
    """The token works once, on the machine of the gateway; after `leave` its program can do nothing more."""
    token, run = invited(hub, "gateway", "enroll", "far")
    values = {"token": tmp_path / "token", "ca.crt": hub.root / "pki" / "ca.crt", "./far": tmp_path / "far"}
    values["token"].write_text(token)
    arguments = [str(values.get(word, word)) for word in run]
    with hub.running(*arguments, "--broker", "mqtt://127.0.0.1:9", "--heartbeat-seconds", "0.5"):
        deadline = time.monotonic() + 40
        while "far" not in hub.ok("get", "gateways", "-o", "name") or '"lastProvenAt"' not in hub.ok(
            "get", "gateways", "far", "-o", "json"
        ):
            assert time.monotonic() < deadline, hub.ok("get", "gateways", "-o", "yaml")
            time.sleep(0.3)
        assert hub.ok("gateway", "leave", "far") == "gateway/far left\n"
        assert "far" not in hub.ok("get", "gateways", "-o", "name")
