"""Kubeconfig files: Atoll's context comes and goes, and what belongs to others stays as it was, whatever happens."""

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from atoll.federation.errors import Conflict, InvalidInput, NotFound, Unavailable
from atoll.local import kubeconfig, kubeconfig_file, pki
from atoll.local.credentials import Credentials, tls_context
from atoll.local.home import Home
from atoll.local.kubeconfig import Context, Kubeconfig

# What other programs write: fields that we do not know, values that a YAML library likes to turn into other types.
OTHERS = """\
apiVersion: v1
kind: Config
preferences: {colors: yes}
current-context: minikube
clusters:
- cluster:
    certificate-authority: /home/ada/.minikube/ca.crt
    extensions:
    - extension: {last-update: 2026-11-22, provider: minikube.sigs.k8s.io, version: v1.38.0}
      name: cluster_info
    server: https://192.168.49.2:8443
    disable-compression: on
  name: minikube
contexts:
- context: {cluster: minikube, user: minikube, namespace: 007}
  name: minikube
users:
- name: minikube
  user:
    token: 0123
    exec: {command: aws, args: [1e3, "no"], env: null}
"""
ADMIN = Context("atoll", "https://127.0.0.1:8700", Credentials(ca=b"CA", certificate=b"CRT", key=b"KEY"), home="/h")


def entries(path: Path, kind: str) -> dict[str, object]:
    """Give the entries of a list by name, every scalar as it is written."""
    return {entry["name"]: entry for entry in yaml.load(path.read_text(), yaml.BaseLoader)[kind]}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(OTHERS)
    return path


def test_a_context_joins_those_of_others(config: Path) -> None:
    """All that others wrote is there as they wrote it, and Atoll's context is current."""
    before = yaml.load(OTHERS, yaml.BaseLoader)
    kubeconfig.put(config, ADMIN, use=True)
    after = yaml.load(config.read_text(), yaml.BaseLoader)
    assert after["current-context"] == "atoll"
    assert after["preferences"] == before["preferences"]
    for kind in ("clusters", "contexts", "users"):
        assert after[kind][0] == before[kind][0]
        assert [entry["name"] for entry in after[kind]] == ["minikube", "atoll"]
    for written in ("0123", "007", "1e3", '"no"', "yes", "2026-11-22"):
        assert written in config.read_text()


def test_a_context_is_read_as_it_was_written(config: Path) -> None:
    """Server, home, namespace, certificates and token come back."""
    credentials = Credentials(b"CA", b"CRT", b"KEY", "secret")
    given = Context("lab", "https://hub:8700", credentials, "/some home", "atoll up", "weather")
    kubeconfig.put(config, given, use=False)
    found = Kubeconfig.read([config])
    assert found.context("lab") == given
    assert found.current == "minikube"
    assert found.names == ("lab",)
    assert not found.is_atoll("minikube")


def test_the_same_context_twice_is_there_once_and_then_writes_nothing(config: Path) -> None:
    """A second `up` replaces in place; a third changes no byte and no time."""
    kubeconfig.put(config, ADMIN, use=True)
    moved = Context("atoll", "https://127.0.0.1:9999", ADMIN.credentials, "/h")
    kubeconfig.put(config, moved, use=True)
    assert list(entries(config, "clusters")) == ["minikube", "atoll"]
    assert Kubeconfig.read([config]).context("atoll").server == "https://127.0.0.1:9999"
    before = config.stat()
    kubeconfig.put(config, moved, use=True)
    assert (config.stat().st_mtime_ns, config.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_removing_a_context_leaves_those_of_others(config: Path) -> None:
    """Afterwards the file means what it meant; with nothing current, no command goes anywhere by surprise."""
    kubeconfig.put(config, ADMIN, use=True)
    kubeconfig.remove([config, config.with_name("absent")], "atoll")
    expected = {**yaml.safe_load(OTHERS), "current-context": ""}
    assert yaml.safe_load(config.read_text()) == expected
    assert not config.with_name("absent").exists()


def test_kubectl_reads_what_we_write_and_keeps_it(tmp_path: Path) -> None:
    """kubectl shows the context, and a write of its own leaves our mark in place."""
    kubectl = shutil.which("kubectl", path=str(Path(sys.executable).parent))
    if kubectl is None:
        pytest.skip("needs the kubectl wheel")
    path = tmp_path / "config"
    made = pki.ensure(Home(tmp_path / "home"), now=datetime.now(UTC))
    admin = made.admin.read()
    credentials = Credentials(made.ca.read().certificate, admin.certificate, admin.key)
    kubeconfig.put(path, Context("atoll", "https://127.0.0.1:1", credentials, home="/h"), use=True)

    def run(*arguments: str) -> str:
        command = [kubectl, "--kubeconfig", str(path), "config", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert run("current-context") == "atoll\n"
    run("set-context", "atoll", "--namespace", "weather")
    run("set-cluster", "other", "--server", "https://other")
    found = Kubeconfig.read([path]).context("atoll")
    assert (found.home, found.namespace, found.credentials) == ("/h", "weather", credentials)
    assert tls_context(found.credentials).verify_mode.name == "CERT_REQUIRED"
    kubeconfig.remove([path], "atoll")
    assert [each["name"] for each in json.loads(run("view", "-o", "json"))["clusters"]] == ["other"]


def test_a_new_file_is_for_its_owner_only_and_an_old_one_keeps_its_mode(config: Path, tmp_path: Path) -> None:
    """A key is written into it."""
    fresh = tmp_path / "deep" / "below" / "config"
    kubeconfig.put(fresh, ADMIN, use=True)
    config.chmod(0o640)
    kubeconfig.put(config, ADMIN, use=True)
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.stat().st_mode) == 0o640


def test_a_link_stays_a_link(config: Path, tmp_path: Path) -> None:
    """People keep their kubeconfig elsewhere and link to it."""
    link = tmp_path / "link"
    link.symlink_to(config)
    kubeconfig.put(link, ADMIN, use=True)
    assert link.is_symlink()
    assert "atoll" in entries(config, "contexts")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"clusters: [", "line 1: is no YAML"),
        (b"a: b\nclusters: {}\n", "line 2: clusters should be a list"),
        (b"users:\n- just a word\n", "line 2: users should hold mappings with a name"),
        (b"contexts:\n- context: {}\n", "line 2: contexts should hold mappings with a name"),
        (b"- a\n- b\n", "line 1: should be a mapping"),
        (b"a: 1\n---\nb: 2\n", "line 2: is no YAML: expected a single document"),
        (b"a: *nowhere\n", "line 1: is no YAML"),
        (b"a: &a [*a]\n", "line 1: is no YAML"),
        (b"\xff\xfe\x00", "is no UTF-8 text"),
    ],
)
def test_a_malformed_file_is_named_and_untouched(tmp_path: Path, content: bytes, problem: str) -> None:
    """The line and the reason; not one byte is changed and no lock is left."""
    path = tmp_path / "config"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=rf"config: {problem}"):
        kubeconfig.remove([path], "atoll")
    with pytest.raises(InvalidInput, match=rf"config: {problem}"):
        Kubeconfig.read([path])
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["config"]


@pytest.mark.parametrize("content", ["", "---\n", "clusters: null\nusers: ~\ncontexts:\ncurrent-context: null\n"])
def test_an_empty_file_takes_a_context(tmp_path: Path, content: str) -> None:
    """kubectl leaves such files behind."""
    path = tmp_path / "config"
    path.write_text(content)
    assert Kubeconfig.read([path]).current == ""
    kubeconfig.put(path, ADMIN, use=True)
    assert Kubeconfig.read([path]).context("atoll") == ADMIN


def test_a_held_lock_is_named_and_the_file_is_untouched(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kubectl is writing, or was killed while it did."""
    monkeypatch.setattr(kubeconfig_file, "_LOCK_SECONDS", 0.2)
    lock = config.with_name("config.lock")
    lock.touch()
    with pytest.raises(Conflict, match=r"another program holds .*config.lock: .* remove the lock"):
        kubeconfig.put(config, ADMIN, use=True)
    assert config.read_text() == OTHERS
    assert lock.exists()


def test_a_lock_that_is_given_back_is_waited_for(config: Path) -> None:
    """kubectl holds it for a moment only."""
    lock = config.with_name("config.lock")
    lock.touch()
    threading.Timer(0.3, lock.unlink).start()
    kubeconfig.put(config, ADMIN, use=True)
    assert "atoll" in entries(config, "users")


def test_writers_at_the_same_time_lose_nothing(config: Path) -> None:
    """Eight of them add a context each: all are there."""
    contexts = [Context(f"atoll-{number}", "https://hub") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda context: kubeconfig.put(config, context, use=False), contexts))
    assert set(Kubeconfig.read([config]).names) == {context.name for context in contexts}


def test_a_device_is_no_kubeconfig() -> None:
    """KUBECONFIG=/dev/null means none: it is read as empty and never replaced."""
    assert Kubeconfig.read([Path(os.devnull)]).names == ()
    with pytest.raises(Unavailable, match="/dev/null is no regular file"):
        kubeconfig.put(Path(os.devnull), ADMIN, use=True)


def test_several_files_are_one_as_kubectl_sees_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first file that has an entry or a current context wins; the first file that is there gets what is new."""
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(first), "", str(second), str(first)]))
    files = kubeconfig_file.user_files()
    assert files == (first, second)
    assert kubeconfig_file.file_to_write(files) == second
    kubeconfig.put(second, Context("atoll", "https://second"), use=True)
    assert kubeconfig_file.file_to_write(files) == second
    kubeconfig.put(first, Context("atoll", "https://first"), use=False)
    assert kubeconfig_file.file_to_write(files) == first
    found = Kubeconfig.read(files)
    assert (found.current, found.context("atoll").server) == ("atoll", "https://first")
    monkeypatch.delenv("KUBECONFIG")
    assert kubeconfig_file.user_files() == (Path.home() / ".kube" / "config",)


def test_files_that_an_entry_names_are_found_beside_their_kubeconfig(tmp_path: Path) -> None:
    """A relative path counts from the kubeconfig's folder, as with kubectl."""
    (tmp_path / "ca.pem").write_bytes(b"the CA")
    (tmp_path / "config").write_text(
        "clusters: [{name: c, cluster: {server: 'https://c', certificate-authority: ca.pem}}]\n"
        "users: [{name: u, user: {client-certificate: lost.pem}}]\n"
        "contexts: [{name: c, context: {cluster: c}}, {name: d, context: {cluster: c, user: u}}]\n"
    )
    found = Kubeconfig.read([tmp_path / "config"])
    assert found.context("c").credentials.ca == b"the CA"
    with pytest.raises(NotFound, match=r"context d: cannot read client-certificate lost.pem: No such file"):
        found.context("d")


@pytest.mark.parametrize(
    ("cluster", "user", "problem"),
    [
        ("{server: 'https://c', insecure-skip-tls-verify: true}", "{}", "atoll always verifies"),
        ("{server: 'https://c'}", "{exec: {command: aws}}", "its user has 'exec'"),
        ("{server: 'https://c'}", "{client-key-data: '!'}", "client-key-data is no base64"),
        ("{}", "{}", "its cluster has no server"),
    ],
)
def test_a_context_that_we_cannot_follow_says_why(tmp_path: Path, cluster: str, user: str, problem: str) -> None:
    """Nothing is ignored that would change whom a command speaks to, or as whom."""
    path = tmp_path / "config"
    path.write_text(
        f"clusters: [{{name: c, cluster: {cluster}}}]\nusers: [{{name: u, user: {user}}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
    )
    with pytest.raises(InvalidInput, match=rf"context c: .*{problem}"):
        Kubeconfig.read([path]).context("c")


def test_a_name_of_somebody_else_is_known_as_taken(config: Path) -> None:
    """Other programs' names and those of other homes are not ours to overwrite."""
    kubeconfig.put(config, ADMIN, use=False)
    found = Kubeconfig.read([config])
    assert found.is_taken("minikube", home="/h")
    assert found.is_taken("atoll", home="/other")
    assert not found.is_taken("atoll", home="/h")
    assert not found.is_taken("free", home="/h")


def test_secrets_are_never_printed() -> None:
    """Neither a traceback nor a log line shows a key or a token."""
    shown = repr(Context("c", "https://c", Credentials(b"CA", b"CRT", b"a key", "a token")))
    assert "a key" not in shown
    assert "a token" not in shown
