"""Who may do what, by the commands: log in, tokens, the audit; against a real hub with TLS and authentication."""

import json
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from clitool import Cli, kubectl

from atoll import __version__
from atoll.local.home import Home
from atoll.local.hub import context_of

QUEUE = "apiVersion: atoll.dev/v1alpha1\nkind: Queue\nmetadata: {name: %s}\nspec: {}\n"
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n"


@pytest.fixture
def server(hub: Cli) -> str:
    """The hub's address."""
    return context_of(Home(hub.root)).server


@pytest.fixture
def ca(hub: Cli) -> Path:
    """The CA's certificate, as who runs the hub hands it out."""
    return hub.root / "pki" / "ca.crt"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Cli:
    """A person on another machine: no home, an empty kubeconfig."""
    (tmp_path / "person").mkdir()
    return Cli(tmp_path / "person", names_home=False)


@pytest.fixture
def token(hub: Cli) -> Iterator[str]:
    """A Submitter's token for one namespace and queue."""
    hub.ok("apply", "-f", "-", stdin=NAMESPACE % "rain")
    text = hub.ok("token", "issue", "ada", "--role", "Submitter", "-n", "rain", "--queue", "rain", "--for", "2h")
    yield text.strip()
    hub("token", "revoke", text.split("_")[1])


def test_the_homes_kubeconfig_is_the_administrators(hub: Cli) -> None:
    """kubectl reaches the hub with it over TLS and may do everything; nobody else can read it."""
    file = Home(hub.root).kubeconfig
    who = kubectl("--kubeconfig", str(file), "auth", "whoami", "-o", "json", environment=hub.environment)
    info = json.loads(who.stdout)["status"]["userInfo"]
    assert info["username"].startswith("admin-")
    assert "atoll:admins" in info["groups"]
    may = kubectl("--kubeconfig", str(file), "auth", "can-i", "*", "*", "--all-namespaces", environment=hub.environment)
    assert may.stdout == "yes\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_whoami_tells_user_role_and_hub(hub: Cli, server: str) -> None:
    """For people and for programs."""
    assert "role: Admin\n" in hub.ok("whoami")
    answer = json.loads(hub.ok("whoami", "-o", "json"))
    assert answer["server"] == server
    assert answer["roles"] == [{"role": "Admin", "namespaces": [], "queues": []}]


def test_a_token_alone_is_on_stdout_and_the_list_holds_no_secret(hub: Cli) -> None:
    """It can be piped; facts go to stderr; nobody sees it a second time."""
    done = hub("token", "issue", "ci", "--role", "Operator", "--group", "robots", "--for", "90d", "--description", "CI")
    secret = done.stdout.strip()
    assert done.stdout == f"{secret}\n"
    token_id = secret.split("_")[1]
    assert f"token {token_id} for ci, in robots: Operator; good until " in done.stderr
    listed = hub.ok("token", "list")
    row = next(line for line in listed.splitlines() if line.startswith(token_id))
    assert row.split()[1:6] == ["ci", "Operator", "all", "all", "89d"]
    header, *rows = hub.ok("token", "list", "-o", "wide").splitlines()
    assert header.split()[7:] == ["GROUPS", "ISSUED", "BY", "FOR", "AGE"]
    wide = next(line for line in rows if line.startswith(token_id)).split()
    assert (wide[6], wide[7].startswith("admin-"), wide[8]) == ("robots", True, "CI")
    assert secret.split("_")[2] not in hub.ok("token", "list", "-o", "json")
    assert hub.ok("token", "revoke", token_id, "--dry-run") == f"token/{token_id} revoked (dry run)\n"
    assert hub.ok("token", "revoke", token_id) == f"token/{token_id} revoked\n"
    assert token_id not in hub.ok("token", "list")
    assert hub("token", "revoke", token_id).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--role", "Viewer", "--queue", "q"), "queues: only a Submitter is limited to queues"),
        (("--role", "Emperor"), "role: 'Emperor': must be one of Admin, Operator, Submitter, Viewer"),
        (("--for", "10y"), "'10y' is no duration"),
        (("--for", "400d"), "must be at most 365 days"),
        (("--group", "atoll:admins"), "names that begin with atoll:"),
    ],
)
def test_a_token_that_may_not_be_is_refused_by_field(hub: Cli, arguments: tuple[str, ...], expected: str) -> None:
    """The field and the reason, no token, nothing on stdout."""
    done = hub("token", "issue", "eve", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert expected in done.stderr
    assert "eve" not in hub.ok("token", "list")


def test_logging_in_makes_the_hub_the_current_context(elsewhere: Cli, server: str, ca: Path, token: str) -> None:
    """Afterwards atoll and kubectl both go there, as who the token stands for, with that role."""
    done = elsewhere("login", server, "--token-stdin", "--certificate-authority", str(ca), stdin=f"{token}\n")
    assert done.returncode == 0, done.stderr
    assert "you are ada (groups: system:authenticated)" in done.stderr
    assert "role: Submitter in rain through rain" in done.stderr
    assert token not in done.stdout + done.stderr
    assert elsewhere("get", "queues").returncode == 0
    assert "you are ada " in elsewhere.ok("whoami")
    for arguments, answer in ((("create", "jobs.atoll.dev", "-n", "rain"), "yes"), (("delete", "clusters"), "no")):
        may = kubectl("auth", "can-i", *arguments, environment=elsewhere.environment)
        assert may.stdout.startswith(answer)
    assert stat.S_IMODE(elsewhere.kubeconfig.stat().st_mode) == 0o600


def test_a_second_login_needs_no_ca(elsewhere: Cli, hub: Cli, server: str, ca: Path, token: str) -> None:
    """Who renews a token trusts the same hub as before."""
    elsewhere.ok("login", server, "--token", token, "--certificate-authority", str(ca), "--context", "rain")
    other = hub.ok("token", "issue", "bob", "--role", "Viewer").strip()
    elsewhere.ok("login", server, "--token", other, "--context", "rain")
    assert "you are bob " in elsewhere.ok("whoami")
    assert json.loads(elsewhere.ok("context", "list", "-o", "json"))[0]["name"] == "rain"


def test_an_unknown_ca_is_never_trusted(elsewhere: Cli, server: str, token: str) -> None:
    """The token is not sent; the message says how to trust it and shows what to compare; nothing is written."""
    done = elsewhere("login", server, "--token-stdin", stdin=token)
    assert done.returncode == 1
    assert "is signed by a CA that you do not trust" in done.stderr
    assert "--certificate-authority" in done.stderr
    assert "SHA-256 fingerprint" in done.stderr
    assert not elsewhere.kubeconfig.exists()


def test_a_wrong_ca_is_not_the_right_one(elsewhere: Cli, server: str, token: str, tmp_path: Path, ca: Path) -> None:
    """Another CA, no CA at all and no such file are each named."""
    for content, expected in ((b"garbage", "holds no certificate"), (b"\xff", "holds no certificate")):
        (tmp_path / "wrong.crt").write_bytes(content)
        done = elsewhere("login", server, "--token", token, "--certificate-authority", str(tmp_path / "wrong.crt"))
        assert expected in done.stderr
    (tmp_path / "wrong.crt").write_bytes((ca.parent / "hub.crt").read_bytes())
    done = elsewhere("get", "queues", "--server", server, "--certificate-authority", str(tmp_path / "none.crt"))
    assert "none.crt: No such file" in done.stderr
    assert not elsewhere.kubeconfig.exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("atoll_000000000000_" + "0" * 64, "your token is mistyped, has expired or was revoked: atoll login https://"),
        ("nonsense", "your token is mistyped, has expired or was revoked"),
        ("", "the token is empty"),
        ("two words", "that is no token"),
        ("naïve", "that is no token"),
    ],
)
def test_a_token_that_is_no_good_is_not_kept(elsewhere: Cli, server: str, ca: Path, given: str, expected: str) -> None:
    """It is refused before or by the hub, and not repeated."""
    done = elsewhere("login", server, "--token-stdin", "--certificate-authority", str(ca), stdin=given)
    assert done.returncode == 1
    assert expected in done.stderr
    assert not given or given not in done.stderr
    assert not elsewhere.kubeconfig.exists()


def test_a_revoked_token_is_told_with_what_to_do(elsewhere: Cli, hub: Cli, server: str, ca: Path, token: str) -> None:
    """At the very next command."""
    elsewhere.ok("login", server, "--token", token, "--certificate-authority", str(ca))
    hub.ok("token", "revoke", token.split("_")[1])
    done = elsewhere("get", "queues")
    assert done.stderr == f"error: your token is mistyped, has expired or was revoked: atoll login {server}\n"


def test_a_program_needs_three_variables_and_no_file(
    elsewhere: Cli, hub: Cli, server: str, ca: Path, token: str
) -> None:
    """$ATOLL_SERVER, $ATOLL_TOKEN and $ATOLL_CA, as in CI; or the options in their place."""
    variables = {"ATOLL_SERVER": server, "ATOLL_TOKEN": token, "ATOLL_CA": str(ca)}
    program = Cli(elsewhere.root, names_home=False, more=variables)
    assert "you are ada " in program.ok("whoami")
    beside = Cli(hub.root, more=variables).ok("whoami")
    assert beside.endswith(f"hub: {server} ($ATOLL_SERVER and $ATOLL_TOKEN)\n"), (
        "the context of that home decides nothing"
    )
    program = Cli(elsewhere.root, names_home=False, more={"ATOLL_TOKEN": token})
    assert "you are ada " in program.ok("whoami", "--server", server, "--certificate-authority", str(ca))
    assert "you are not logged in" in elsewhere("whoami", "--server", server, "--certificate-authority", str(ca)).stderr
    assert not elsewhere.kubeconfig.exists()


def test_plain_http_to_a_tls_port_is_explained(hub: Cli, server: str) -> None:
    """And TLS to a port that has none; and a token is never sent without TLS to another machine."""
    done = hub("get", "queues", "--server", server.replace("https:", "http:"))
    assert "if it speaks TLS, its address begins with https://" in done.stderr
    nats = Home(hub.root).read_state()
    assert nats is not None
    done = hub("get", "queues", "--server", f"https:{nats.nats_url.partition(':')[2]}")
    assert "does not speak TLS" in done.stderr
    remote = Cli(hub.root, more={"ATOLL_TOKEN": "secret"})
    done = remote("get", "queues", "--server", "http://hub.example")
    assert "a token sent there could be read on the way" in done.stderr


def test_what_a_role_forbids_is_told_in_the_hubs_words(elsewhere: Cli, server: str, ca: Path, token: str) -> None:
    """Who, what, where, and what is granted instead."""
    elsewhere.ok("login", server, "--token", token, "--certificate-authority", str(ca))
    done = elsewhere("token", "list")
    assert done.returncode == 1
    assert 'User "ada" cannot get path "/access/tokens": granted is only Submitter' in done.stderr
    done = elsewhere("apply", "-f", "-", stdin=QUEUE % "mine")
    assert 'User "ada" cannot patch resource "queues"' in done.stderr


def test_the_audit_tells_who_changed_what(elsewhere: Cli, hub: Cli, server: str, ca: Path, token: str) -> None:
    """Successes and refusals, by filters, as a table and one JSON object a line; others see their own."""
    hub.ok("apply", "-f", "-", stdin=QUEUE % "audited")
    elsewhere.ok("login", server, "--token", token, "--certificate-authority", str(ca))
    elsewhere("apply", "-f", "-", stdin=QUEUE % "refused")
    table = hub.ok("audit", "--since", "10m", "--kind", "queue")
    assert table.splitlines()[0].split() == ["TIME", "USER", "VERB", "OBJECT", "RESULT"]
    assert any(" admin-" in line and "queues audited" in line and "Succeeded" in line for line in table.splitlines())
    failed = hub.ok("audit", "--since", "10m", "--user", "ada", "--failed").splitlines()
    assert "queues refused" in failed[-1]
    assert failed[-1].endswith("Forbidden")
    wide = hub.ok("audit", "--since", "10m", "--user", "ada", "-o", "wide")
    assert "127.0.0.1   TOKEN=" in wide
    assert f"   atoll/{__version__}\n" in wide
    records = [
        json.loads(line) for line in hub.ok("audit", "-o", "json", "--since", "10m", "--limit", "2").splitlines()
    ]
    assert len(records) == 2
    assert {record["user"] for record in map(json.loads, elsewhere.ok("audit", "-o", "json").splitlines())} == {"ada"}
    assert "only an Admin sees the audit records of others" in elsewhere("audit", "--user", "bob").stderr


def test_the_audit_can_be_followed(hub: Cli) -> None:
    """A change shows up while it is watched, and Ctrl-C ends it."""
    with hub.running("audit", "-f", "--since", "1m") as following:
        assert following.stdout is not None
        hub.ok("apply", "-f", "-", stdin=QUEUE % "followed-by-audit")
        seen = following.stdout.readline()
        while "queues followed-by-audit" not in seen:
            seen = following.stdout.readline()
        following.send_signal(signal.SIGINT)
        following.communicate(timeout=20)
    assert following.returncode == 130
