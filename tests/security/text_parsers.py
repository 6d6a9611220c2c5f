"""Harnesses of what people and repositories write: batch scripts, policies, templates, expressions, kubeconfigs."""

from pathlib import Path

from atoll.cli.slurm.job import Surroundings, prepare
from atoll.cli.slurm.script import read_script
from atoll.cli.slurm.site import Site
from atoll.federation.capacity import parse_duration
from atoll.federation.capacity.quantities import parse_bytes, parse_quantity
from atoll.federation.cron import check_expression
from atoll.federation.errors import InvalidInput
from atoll.federation.payloads import InvalidPath, parse_path
from atoll.federation.resources.dataset_template import parse_template
from atoll.federation.tasks import Tasks
from atoll.local.kubeconfig_text import KubeconfigText
from atoll.policies.kustomize.kustomization import parse_kustomization
from atoll.policies.manifest import parse_file
from atoll.policies.remotes.answers import fetch_error, is_redirected, redirect_target
from atoll.policies.remotes.url import parse_remote, public_url
from atoll.policies.selectors import parse_selector
from atoll.policies.trials.scenario import parse_scenarios
from security.fuzzing import Harness

_ROOT = Path(__file__).parents[2]
_POLICIES = tuple(path.read_bytes() for path in sorted((_ROOT / "examples/policies").rglob("*.yaml")))[:12]
_YAML_PIECES = (
    (b"", b"- ", b"a"), (b"", b"a: {", b""), (b"", b"a:\n- ", b""), (b"", b"? ", b""), (b"", b"---\n", b""),
    (b"a: &a [x]\nb: [", b"*a,", b"*a]"), (b"a: ", b"'x'\n", b""), (b"kind: ", b"1", b""), (b"", b"!!", b""),
    (b"a: |\n", b" x\n", b""), (b"", b"a: 1\n", b""),
)  # fmt: skip
_SCRIPT = (
    b"#!/bin/bash -l\n#SBATCH --job-name=picks --time=01:30:00\n#SBATCH -n 4 --mem-per-cpu=4G --gres=gpu:a100:2\n"
    b"#SBATCH --array=0-15:4%2 --output='out-%A_%a.txt'\n#SBATCH --dependency=afterok:12:13\nsrun ./x\n"
)


def _script(data: bytes) -> None:
    prepare(read_script(data), (), Site(queue="q"), Surroundings("ns", "image"), name="x")


def _policies(data: bytes) -> None:
    parse_file(data.decode(errors="replace"), "x.yaml")


def _scenarios(data: bytes) -> None:
    parse_scenarios(data.decode(errors="replace"), "x.yaml")


def _expressions(data: bytes) -> None:
    """Each small language in turn: what is not of it says so by InvalidInput or ValueError."""
    text = data.decode(errors="replace")
    parsers = (
        parse_quantity, parse_bytes, parse_duration, parse_path, parse_template, check_expression, parse_selector,
        lambda value: Tasks.parse(value).shown(),
    )  # fmt: skip
    for parse in parsers:
        try:
            parse(text)
        except (InvalidInput, ValueError):
            continue


def _repository(data: bytes) -> None:
    text = data.decode(errors="replace")
    public_url(text)
    parse_remote(text)


def _git_answer(data: bytes) -> None:
    """Git's messages repeat what the server said."""
    said = data.decode(errors="replace")
    assert "secret" in said or "secret" not in str(fetch_error("https://ada:secret@git.example.org/a", said))
    if is_redirected(said):
        parse_remote(redirect_target("https://ada:secret@git.example.org/a", said))


def _kubeconfig(data: bytes) -> None:
    found = KubeconfigText(data.decode(errors="replace"))
    found.values()
    found.put("users", {"name": "a", "user": {}})
    KubeconfigText(found.text())


HARNESSES = (
    Harness("sbatch", _script, (InvalidInput,), (_SCRIPT,), (
        (b"#!/bin/sh\n", b"#SBATCH --mem=1G\n", b""), (b"#!/bin/sh\n#SBATCH --array=", b"1,", b"1"),
        (b"#!/bin/sh\n#SBATCH --job-name='", b"a", b"'"), (b"#!/bin/sh\n#SBATCH --dependency=", b"afterok:1:", b"2"),
        (b"#!/bin/sh\n#SBATCH --output=", b"%", b"A"), (b"#!/bin/sh\n#SBATCH --time=", b"1-", b"1"),
        (b"#!/bin/sh\n", b"srun a \\\n", b""), (b"#!/bin/sh\n#SBATCH ", b"\\", b""),
        (b"#!/bin/sh\n#SBATCH --gres=", b"gpu:a:1,", b"b"), (b"#!/bin/sh\n#SBATCH --mail-type=", b"a ", b""),
    )),
    Harness("policy-file", _policies, (), _POLICIES, _YAML_PIECES),
    Harness("policy-trials", _scenarios, (), (
        b"trials:\n- name: a\n  from: {pod: a}\n  to: {pod: b}\n  ports: [80/TCP]\n  expect: allow\n", *_POLICIES[:1],
    )),
    Harness("kustomization", lambda data: parse_kustomization(data, "kustomization.yaml"), (), (
        b"resources: [../base, https://example.org/x]\npatches:\n- path: a.yaml\n- patch: |\n    kind: X\n",
    ), ((b"resources:\n", b"- ../a\n", b""), (b"resources: [", b"../", b"a]"))),
    Harness("repository-url", _repository, (InvalidInput,), (
        b"https://ada:p%40ss@git.example.org:8443/a.git", b"ssh://git@git.example.org:22/a", b"git@host:a/b.git",
        b"https://[fd00::1]/a", b"/srv/a.git", b"file:///srv/a.git",
    ), (
        (b"https://", b"a.", b"b/c"), (b"https://", b"a@", b"b/c"), (b"ssh://", b"a-", b"/c"), (b"a@", b"a.", b":b"),
        (b"https://", b"1.", b"1/c"), (b"https://[", b"0:", b"1]/c"), (b"https://a:", b"1", b"/c"),
    )),
    Harness("git-answer", _git_answer, (InvalidInput,), (
        b"<= Recv header: location: /b.git/info/refs?service=git-upload-pack\nThe requested URL returned error: 301",
        b"<= Recv header: location: https://[::1]/b/info/refs\nThe requested URL returned error: 302",
        b"fatal: unable to access 'https://git.example.org/a': Could not resolve host",
    ), (
        (b"", b"remote: x\n", b"fatal: x"), (b"returned error: 301 Recv header: location: ", b"a", b"/info/refs"),
        (b"returned error: 301 Recv header: location: ", b"../", b"info/refs"),
    )),
    Harness("expressions", _expressions, (InvalidPath,), (
        b"1.5Gi", b"1h30m", b"a.b[0][name=x].c", b"anmo.{date}-{field[a.b]}", b"30 2 * * 1-5", b"0-41,43",
        b"region in (eu, us),!gpu", b"1e99",
    ), (
        (b"", b"{field[", b"]}"), (b"", b"{field[a]}", b""), (b"a", b"[a=b]", b"."), (b"", b"1m", b"x"),
        (b"", b"*/1,", b"1 * * * *"), (b"", b"a in (b),", b"c"), (b"0", b",0-9", b"-"), (b"{topic[0]}", b"{", b"]}"),
        (b"a", b".", b""), (b"", b"a-", b""), (b"", b"{field[a.b[0].c]}-", b""),
    )),
    Harness("kubeconfig", _kubeconfig, (InvalidInput,), (
        b"apiVersion: v1\nclusters: [{name: a, cluster: {server: x}}]\nusers:\n- name: b\n  user: {token: t}\n",
        b"clusters: &a [{name: n}]\nusers: *a\n",
    ), _YAML_PIECES, longest=400),
)  # fmt: skip
