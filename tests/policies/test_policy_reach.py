"""The hub's Git goes where it may, and nowhere else: by no name, no redirect, nor when DNS changes its mind."""

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.errors import InvalidInput, Unavailable
from atoll.policies.bundle import Bundle, GitSource, load_bundle
from atoll.policies.remotes.reach import DEFAULT_REACH, AddressRefused, Reach
from policies.git_server import NAME, GitServer, Trust, make_trust, serving

POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: a, namespace: prod}
spec: {podSelector: {}}
"""
LOOPBACK = Reach.parse(["127.0.0.0/8"], [])
BY_NAME = Reach.parse([NAME], [])


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return make_trust(tmp_path_factory.mktemp("trust"))


@pytest.fixture
def server(repository: Any, trust: Trust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitServer]:
    """Serve a repository with one policy, trusted by git, with no proxy between."""
    repository.commit({"a.yaml": POLICY})
    shutil.copytree(repository.path / ".git", tmp_path / "served" / "policies.git")
    repository.git("--git-dir", str(tmp_path / "served" / "policies.git"), "update-server-info")
    for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(trust.ca))
    with serving(tmp_path / "served", trust) as told:
        yield told


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Give what this process's resolver knows beside its own; programs that it starts know nothing of it."""
    known: dict[str, list[str]] = {}
    resolve = socket.getaddrinfo

    def answer(host: Any, *rest: Any, **options: Any) -> Any:
        return [found for each in known.get(host, [host]) for found in resolve(each, *rest, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return known


async def load(url: str, tmp_path: Path, reach: Reach = DEFAULT_REACH) -> Bundle:
    return await load_bundle(GitSource(url, "main"), tmp_path / "mirrors", timeout_seconds=30, reach=reach)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_server_on_loopback_is_not_asked_anything_unless_it_is_allowed(
    server: GitServer, tmp_path: Path, host: str
) -> None:
    url = server.url(host, "policies.git")
    with pytest.raises(AddressRefused) as caught:
        await load(url, tmp_path)
    assert str(caught.value).startswith(f"source.repository {url} leads to 127.0.0.1, a loopback address, where")
    assert str(caught.value).endswith(f"start the hub with --git-allow {host}")
    assert server.asked == []
    for allowed in (["127.0.0.0/8", "::1"], [host]):
        assert (await load(url, tmp_path, Reach.parse(allowed, []))).is_valid
    assert server.asked


async def test_a_name_is_refused_if_any_of_its_addresses_is(
    server: GitServer, names: dict[str, list[str]], tmp_path: Path
) -> None:
    names[NAME] = ["192.0.2.7", "127.0.0.1"]
    with pytest.raises(AddressRefused, match=f"leads to 127.0.0.1.*--git-allow {NAME}"):
        await load(server.url(NAME, "policies.git"), tmp_path)
    names[NAME] = ["169.254.169.254"]
    with pytest.raises(AddressRefused, match="a metadata service of a cloud"):
        await load(f"git@{NAME}:policies.git", tmp_path)
    assert server.asked == []


async def test_git_asks_no_name_again_that_was_judged(
    server: GitServer, names: dict[str, list[str]], tmp_path: Path
) -> None:
    """Nobody but this process knows the name: git, asking DNS itself, would not find the server."""
    names[NAME] = ["127.0.0.1"]
    assert (await load(server.url(NAME, "policies.git"), tmp_path, BY_NAME)).is_valid


async def test_a_redirect_is_followed_where_git_may_go_and_nowhere_else(
    server: GitServer, trust: Trust, names: dict[str, list[str]], tmp_path: Path
) -> None:
    names[NAME] = ["127.0.0.1"]
    server.redirects["/policies/"] = "/policies.git/"
    assert (await load(server.url(NAME, "policies"), tmp_path, BY_NAME)).is_valid
    with serving(tmp_path / "served", trust) as inside:
        server.redirects["/away/"] = inside.url("localhost", "policies.git/")
        with pytest.raises(AddressRefused, match=r"localhost:\d+/policies.git leads to 127.0.0.1"):
            await load(server.url(NAME, "away"), tmp_path, BY_NAME)
        assert inside.asked == []


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/again/", "redirects again and again"),
        ("file:///srv/policies.git/", r"redirects to 'file:///srv/policies.git/info/refs.*no repository over https"),
        ("https://[x/", r"redirects to 'https://\[x/info/refs.*no repository over https"),
        ("http://git.example.test/policies.git/", "no repository over https"),
        ("/login?from=", "no repository over https"),
    ],
)
async def test_a_redirect_that_leads_nowhere_is_named(
    server: GitServer, tmp_path: Path, target: str, said: str
) -> None:
    server.redirects["/again/"] = target
    with pytest.raises(InvalidInput, match=said):
        await load(server.url("127.0.0.1", "again"), tmp_path, LOOPBACK)


async def test_what_only_limits_is_asked_of_every_address(
    server: GitServer, names: dict[str, list[str]], tmp_path: Path
) -> None:
    url = server.url("localhost", "policies.git")
    with pytest.raises(AddressRefused, match=r"none of the hosts and networks of the hub's --git-only"):
        await load(url, tmp_path, Reach.parse(["localhost"], ["git.example.org"]))
    assert server.asked == []
    assert (await load(url, tmp_path, Reach.parse(["localhost"], ["localhost"]))).is_valid


async def test_the_hub_is_told_by_options_or_variables_and_starts_with_none_that_means_nothing(tmp_path: Path) -> None:
    command = ("hub", "serve", "--nats", "nats://127.0.0.1:1", "--state-dir", str(tmp_path / "hub"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "atoll.cli", *command),
        env={**os.environ, "ATOLL_GIT_ALLOW": "git.lab.example 10.0.0"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert "--git-allow 10.0.0: write a host, *.DOMAIN, an address or a network" in " ".join(said.decode().split())
    assert not (tmp_path / "hub").exists()


@contextmanager
def listening() -> Iterator[socket.socket]:
    """Listen on loopback, for whoever speaks first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield listener


async def first_words(listener: socket.socket, loading: "asyncio.Task[Bundle]") -> bytes:
    """Give what a client says first, and hang up: the fetch fails."""
    connection, _ = await asyncio.to_thread(listener.accept)
    with connection:
        connection.settimeout(30)
        words = await asyncio.to_thread(connection.recv, 4096)
    with pytest.raises(Unavailable):
        await loading
    return words


async def test_ssh_goes_to_the_address_that_was_judged_and_asks_no_name_again(
    names: dict[str, list[str]], tmp_path: Path
) -> None:
    names[NAME] = ["127.0.0.1"]
    with listening() as listener:
        url = f"ssh://git@{NAME}:{listener.getsockname()[1]}/policies.git"
        with pytest.raises(AddressRefused, match="a loopback address"):
            await load(url, tmp_path)
        loading = asyncio.create_task(load(url, tmp_path, BY_NAME))
        assert (await first_words(listener, loading)).startswith(b"SSH-2.0-")


async def test_what_the_hub_users_ssh_makes_of_a_name_is_judged_and_its_relays_resolve_what_only_they_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host lab\n  HostName 127.0.0.1\nHost far\n  ProxyCommand touch {tmp_path}/relayed\n")
    monkeypatch.setenv("GIT_SSH_COMMAND", f"ssh -F {config} -oBatchMode=yes")
    with pytest.raises(AddressRefused, match=r"git@lab:policies.git leads to 127.0.0.1, a loopback address"):
        await load("git@lab:policies.git", tmp_path)
    with pytest.raises(Unavailable):
        await load("git@far:policies.git", tmp_path)
    assert (tmp_path / "relayed").exists()


async def test_a_proxy_of_the_environment_gets_names_that_only_it_knows_and_no_address_that_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with pytest.raises(AddressRefused):
            await load("https://169.254.169.254/latest.git", tmp_path)
        loading = asyncio.create_task(load(f"https://{NAME}/policies.git", tmp_path))
        assert (await first_words(proxy, loading)).startswith(f"CONNECT {NAME}:443 ".encode())


async def test_a_git_that_cannot_be_held_to_an_address_is_not_started(
    names: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names[NAME] = ["192.0.2.7"]
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").write_text(
        f'#!/bin/sh\ncase "$*" in version) echo git version 2.30.2;; *fetch*) touch {tools}/fetched;; esac\n'
    )
    (tools / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    with pytest.raises(Unavailable, match=r"git version 2.30.2 cannot be held to an address; install git 2.37"):
        await load(f"https://{NAME}/policies.git", tmp_path)
    assert not (tools / "fetched").exists()
