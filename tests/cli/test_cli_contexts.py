"""Which hub a command goes to: what was named, then the environment, then the kubeconfig, then this machine."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from clitool import Cli

from atoll.cli.choosing import HubChoice
from atoll.cli.hub import find, finds
from atoll.federation.errors import InvalidInput, NotFound, Unavailable
from atoll.local import kubeconfig
from atoll.local.credentials import Credentials
from atoll.local.home import Home
from atoll.local.joining import back, join
from atoll.local.kubeconfig import Context, Kubeconfig
from atoll.local.state import State

MINIKUBE = """\
current-context: minikube
clusters: [{name: minikube, cluster: {server: "https://minikube"}}]
contexts: [{name: minikube, context: {cluster: minikube}}]
"""
Run = Callable[[str], Home]


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty kubeconfig and an empty user's home; nothing named by the environment."""
    for variable in [name for name in os.environ if name.startswith("ATOLL_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Make a home below the user's look as if its hub ran; its server is https://<folder>."""
    with ExitStack() as stack:

        def start(folder: str) -> Home:
            home = Home(tmp_path / folder)
            stack.enter_context(home.locked())
            context = Context(f"atoll-{home.root.name}", f"https://{home.root.name}", home=str(home.root))
            kubeconfig.write(home.kubeconfig, context)
            state = State(kind="hub", pid=os.getpid(), started_at=datetime.now(UTC), hub_url=context.server)
            home.write_state(state)
            return home

        yield start


def server_of(choice: HubChoice | None = None) -> str:
    return find(choice or HubChoice()).server


def test_what_was_named_comes_first_then_the_environment_then_the_context_then_this_machine(
    config: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each step is taken only where those before it say nothing."""
    with pytest.raises(Unavailable, match="no hub runs on this machine: start one with 'atoll up'"):
        find(HubChoice())
    run(".atoll")
    assert server_of() == "https://.atoll"
    config.write_text(MINIKUBE)
    assert server_of() == "https://.atoll"  # the current context is nobody's of ours
    kubeconfig.put(config, Context("lab", "https://lab", Credentials(token="secret")), use=True)
    assert server_of() == "https://lab"
    run("other")
    monkeypatch.setenv("ATOLL_HOME", str(tmp_path / "other"))
    assert server_of() == "https://other"
    monkeypatch.setenv("ATOLL_SERVER", "https://environment")
    assert server_of() == "https://environment"
    assert server_of(HubChoice(server="https://option")) == "https://option"
    assert server_of(HubChoice(context="lab")) == "https://lab"
    assert server_of(HubChoice(home=str(tmp_path / "other"))) == "https://other"


def test_two_names_for_a_hub_are_one_too_many() -> None:
    """Nobody guesses which was meant."""
    with pytest.raises(InvalidInput, match="--context and --server name a hub each: give one"):
        find(HubChoice(server="https://a", context="b"))
    with pytest.raises(InvalidInput, match="--certificate-authority goes with --server"):
        find(HubChoice(context="b", certificate_authority=Path("ca.crt")))


def test_a_hub_that_does_not_run_is_not_replaced_by_one_that_does(config: Path, run: Run, tmp_path: Path) -> None:
    """The current context says which was meant; the message says how to start it."""
    run(".atoll")
    stopped = Context("atoll-lab", "https://lab", home=str(tmp_path / "lab"), start="atoll up --home lab")
    kubeconfig.put(config, stopped, use=True)
    with pytest.raises(Unavailable, match=r"context atoll-lab does not run: start it with 'atoll up --home lab', or"):
        find(HubChoice())
    with pytest.raises(NotFound, match="there is no context 'lost' in the kubeconfig; there are atoll-lab"):
        find(HubChoice(context="lost"))


def test_an_address_brings_what_is_known_of_exactly_it(config: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials go to no other address, and a token of the environment takes the place of what is known."""
    kubeconfig.put(config, Context("lab", "https://lab", Credentials(ca=b"CA", token="secret")), use=False)
    assert find(HubChoice(server="https://lab/")).credentials == Credentials(ca=b"CA", token="secret")
    assert find(HubChoice(server="https://lab:8700")).credentials == Credentials()
    assert find(HubChoice(server="https://lab.evil")).credentials == Credentials()
    home = run(".atoll")
    assert find(HubChoice(server="https://.atoll")).home == str(home.root)
    monkeypatch.setenv("ATOLL_TOKEN", "other")
    assert find(HubChoice(server="https://lab")).credentials == Credentials(ca=b"CA", token="other")


def test_a_token_of_the_environment_goes_to_no_context(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was meant for $ATOLL_SERVER, not for whatever hub happens to be current."""
    kubeconfig.put(config, Context("lab", "https://lab", Credentials(token="mine")), use=True)
    monkeypatch.setenv("ATOLL_TOKEN", "ci")
    assert find(HubChoice()).credentials.token == "mine"


def test_whether_commands_find_a_home_is_known(config: Path, run: Run) -> None:
    """So that `up` says which variable to set only where it is needed."""
    one = run(".atoll")
    assert finds(one)
    kubeconfig.put(config, Context("lab", "https://lab"), use=True)
    assert not finds(one)
    join(kubeconfig.Kubeconfig.read([one.kubeconfig]).context("atoll-.atoll"), [config], note=one.previous_context)
    assert finds(one)


def test_the_context_before_a_hub_is_current_again_after_it(config: Path, tmp_path: Path) -> None:
    """But not if somebody has chosen another one meanwhile, or if the one before is gone."""
    home = Home(tmp_path / "home")
    home.root.mkdir()
    config.write_text(MINIKUBE)
    hub = Context("atoll", "https://hub", home=str(home.root))
    for _ in range(2):  # a second start must not take the hub's own context for the one before
        join(hub, [config], note=home.previous_context)
    assert back(Home(tmp_path / "other"), [config]) == ""
    assert back(home, [config]) == "minikube"
    assert Kubeconfig.read([config]).current == "minikube"
    assert back(home, [config]) == ""
    join(hub, [config], note=home.previous_context)
    home.previous_context.write_text("gone")
    assert back(home, [config]) == ""
    assert Kubeconfig.read([config]).current == "atoll"


def test_joining_takes_nobodys_name(config: Path, tmp_path: Path) -> None:
    """A name of another program or of another home gets an addition; our own is used again."""
    config.write_text(MINIKUBE.replace("minikube", "atoll"))
    ours = Context("atoll", "https://ours", home="/ours")
    note = tmp_path / "previous"
    first = join(ours, [config], note=note)
    assert (first.previous, first.path) == ("atoll", config)
    assert first.name.startswith("atoll-")
    assert join(ours, [config], note=note).name == first.name
    other = join(Context("atoll", "https://other", home="/other"), [config], note=note)
    assert len({first.name, other.name, "atoll"}) == 3
    assert Kubeconfig.read([config]).context("atoll").server == "https://atoll"


def test_the_context_commands_list_choose_and_forget(tmp_path: Path) -> None:
    """By the program itself, on a kubeconfig that others use as well."""
    (tmp_path / "me").mkdir()
    cli = Cli(tmp_path / "me", names_home=False)
    assert "no context of Atoll's" in cli("context", "list").stderr
    cli.kubeconfig.write_text(MINIKUBE)
    for name in ("lab", "cloud"):
        kubeconfig.put(cli.kubeconfig, Context(name, f"https://{name}"), use=False)
    listed = cli.ok("context", "list").splitlines()
    assert [line.split()[:3] for line in listed[1:]] == [["lab", "no", "https://lab"], ["cloud", "no", "https://cloud"]]
    assert cli.ok("context", "use", "lab") == "context/lab current\n"
    assert cli.ok("context", "list", "-o", "name") == "lab\ncloud\n"
    done = cli("context", "use", "minikube")
    assert (done.returncode, done.stdout) == (0, "context/minikube current\n")
    assert "minikube is no hub of Atoll's" in done.stderr
    assert "context minikube is not one of Atoll's" in cli("context", "remove", "minikube").stderr
    assert cli.ok("context", "remove", "cloud", "--dry-run") == "context/cloud removed (dry run)\n"
    assert cli.ok("context", "remove", "lab") == "context/lab removed\n"
    assert cli.ok("context", "list", "-o", "name") == "cloud\n"
    assert cli("context", "use", "lab").returncode == 1
    assert yaml.safe_load(cli.kubeconfig.read_text())["current-context"] == "minikube"


def test_choosing_a_context_that_the_environment_overrides_says_so(tmp_path: Path) -> None:
    """Else a person would wonder why nothing changes."""
    cli = Cli(tmp_path / "me")
    kubeconfig.put(cli.kubeconfig, Context("lab", "https://lab"), use=False)
    assert "$ATOLL_HOME is set, and atoll follows it first" in cli("context", "use", "lab").stderr


def test_a_malformed_kubeconfig_is_one_line(config: Path) -> None:
    """It is named with its line, and not taken for an empty one."""
    config.write_text("contexts: {}\n")
    with pytest.raises(InvalidInput, match=r"config: line 1: contexts should be a list"):
        find(HubChoice())
