"""Names that became part of something: subjects of NATS, paths, arguments of processes. None says more than a name."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from typer.main import get_command

from atoll.cli.main import app
from atoll.edge.sink.volume import Volume
from atoll.federation.bus import subjects
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import KINDS
from atoll.federation.resources.base import ClusterName, DnsLabel, DnsSubdomain, Reference
from atoll.hub.schema import openapi_schema

_LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
_NAMES = st.lists(_LABELS, min_size=1, max_size=3).map(".".join)
HOSTILE_NAMES = (
    "*", ">", "a.*", "a.>", "a b", "a\n", "a\r\nPUB x 1", "a/b/c/d", "../a", "a..b", ".a", "a.", "A", "a_b", "a\0",
    "a\u00e9", "\u0430", "a%2e", "$SYS", "", "a" * 318,
)  # fmt: skip


@pytest.mark.parametrize("form", [DnsLabel, DnsSubdomain, ClusterName, Reference])
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_no_name_of_an_object_has_what_means_something_elsewhere(form: Any, name: str) -> None:
    """Wildcards and separators of NATS, steps of paths, ends of lines."""
    if form is not Reference and name.count("/") == 1:
        return
    with pytest.raises(ValidationError):
        TypeAdapter(form).validate_python(name)


@given(_NAMES, _LABELS, _NAMES, _NAMES)
def test_names_make_subjects_of_as_many_tokens_as_are_meant(member: str, space: str, name: str, other: str) -> None:
    """Whoever may read those of one name may read those of no other: dots of names are no separators."""
    made = (
        subjects.lab_subject(member, space, name), subjects.files_subject(member, space, name),
        subjects.data_subject(member, space), subjects.rpc_subject(member, "logs"),
        subjects.desired_prefix("cluster", member),
    )  # fmt: skip
    assert [subject.count(".") for subject in made] == [3, 3, 4, 4, 3]
    assert not set("*> \t\r\n") & set("".join(made))
    assert (subjects.to_tokens(name) == subjects.to_tokens(other)) == (name == other)
    assert subjects.to_key(subjects.to_tokens(f"run/{space}/{name}")) == f"run/{space}/{name}"


@pytest.mark.parametrize("name", [name for name in HOSTILE_NAMES if name])
def test_no_name_that_comes_over_the_bus_leads_out_of_a_volume(name: str, tmp_path: Any) -> None:
    """A stolen gateway says what it likes; the volume looks at each name before it is a path."""
    volume = Volume(tmp_path)
    for path in (volume.version, volume.transfer):
        with pytest.raises(InvalidInput):
            path(name, 1)
    with pytest.raises(InvalidInput):
        volume.run_output(name, 1, "d")


_ADDRESS = re.compile(
    r"(url|uri|host|hostname|address|addresses|endpoint|server|broker|repository|remote|registry|proxy|webhook|callback)s?$",
    re.IGNORECASE,
)


def _paths(node: Any, path: str) -> Iterator[str]:
    for name, inner in node.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from _paths(inner, f"{path}.{name}")
    for inner in (node.get("items"), node.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from _paths(inner, path)


def test_no_object_says_where_to_connect_but_two_fields_that_are_judged_there() -> None:
    """Datasets have no URL: what is copied is asked for over NATS, by names of its ledger.

    A PolicySet's repository: tests/policies/test_policy_reach.py. A Gateway's broker: dialled from its laboratory, see
    tests/gateway/test_broker_refusals.py.
    """
    specs = {kind.name: openapi_schema(kind)["properties"].get("spec", {}) for kind in KINDS}
    said = {path for name, spec in specs.items() for path in _paths(spec, name) if _ADDRESS.search(path)}
    assert said == {"PolicySet.source.repository", "Gateway.broker"}


def _options(command: Any, path: str) -> Iterator[tuple[str, str]]:
    for parameter in command.params:
        yield from ((path, option) for option in getattr(parameter, "opts", ()))
    for name, inner in getattr(command, "commands", {}).items():
        yield from _options(inner, f"{path} {name}")


def test_no_option_takes_a_secret_but_one_that_says_what_that_costs() -> None:
    """Arguments of processes are for everybody on a machine to read: secrets come by files and standard input."""
    secret = re.compile(r"^--[a-z-]*(password|secret|seed|token|credential)s?$")
    taking = {f"{path} {option}" for path, option in _options(get_command(app), "atoll") if secret.match(option)}
    # Folders, and the one whose help names --token-stdin instead.
    assert taking == {"atoll sink --credentials", "atoll mover --credentials", "atoll login --token"}
