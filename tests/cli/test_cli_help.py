"""Every command of the design is there, and has a help with an example that the command line itself can read."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.exceptions import TyperException
from typer.testing import CliRunner

from atoll.cli import mistyped
from atoll.cli.main import app
from atoll.cli.options import Output

# The commands of DESIGN.md, "The command line", and those that came to them.
DESIGNED = """
demo up down apply get describe delete login whoami audit sbatch doctor backup restore support-bundle agent sink mover
version
sandbox: up down status
sandbox fault: kill cut
cluster: join leave list cordon uncordon drain
queue: list usage
job: run list explain logs wait cancel
dataset: list ls get verify replicate
gateway: enroll list run
stream: list
policy: validate test plan status diff rollback
mesh: status check
whatif: job drain quota policy
context: list use
token: issue list revoke
hub: serve
"""
# What is on this machine or in the program itself, and changes by this command line only.
NO_OBJECTS = {("context", "list"), ("policy", "library", "list"), ("sandbox", "fault", "list")}
_SHELL = re.compile(r"\s(?:&&|\|\||\||;|>|<)\s|\s#\s")


@cache
def root() -> Any:
    return typer.main.get_command(app)


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give every command that does something, with its words."""
    group = group or root()
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        elif not command.hidden:
            yield (*path, name), command


ALL = dict(commands())


def examples(command: Any) -> list[str]:
    """Give the lines of a command's help that show how it is called, continued lines as one."""
    _, _, shown = (command.help or "").replace("\b", "").partition("Example")
    joined = re.sub(r"\\\n\s*", " ", shown)
    return [line.strip() for line in joined.splitlines() if re.match(r"\s+(\S.*\s)?atoll\s", line)]


def calls(line: str) -> list[list[str]]:
    """Give what a line of shell calls atoll with."""
    parts = (part.strip() for part in _SHELL.split(f"{line} "))
    words = (shlex.split(part.removeprefix("$(").removesuffix(")")) for part in parts if part)
    return [each[1:] for each in words if each[0] == "atoll"]


def parse(words: list[str]) -> None:
    """Read a command line as the program would, down to the command; nothing is run. Raises what a person would see."""
    command = root()
    while hasattr(command, "commands"):
        assert words, f"{command.name} is no command by itself"
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, words).close()


@pytest.fixture(autouse=True)
def folder_of_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is what examples name."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "workloads.json").write_text("{}")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_a_command_has_a_help_with_an_example_that_it_can_read(path: tuple[str, ...]) -> None:
    """The example calls the command itself; what it shows of others is read, too."""
    command = ALL[path]
    assert command.help, "no help"
    shown = examples(command)
    assert shown, "no example"
    called = [words for line in shown for words in calls(line)]
    assert any(tuple(words[: len(path)]) == path for words in called), f"{shown} shows something else"
    for words in called:
        parse(words)
    for parameter in command.params:
        assert parameter.help or parameter.hidden, f"{parameter.name} is not explained"


def test_every_command_of_the_design_is_there() -> None:
    wanted = set()
    for line in DESIGNED.strip().splitlines():
        noun, colon, verbs = line.rpartition(":")
        wanted |= {(*(noun.split() if colon else ()), verb) for verb in verbs.split()}
    assert wanted - ALL.keys() == set()


def test_no_help_is_wider_than_a_hundred_columns() -> None:
    """Examples are not wrapped by whoever prints them."""
    for path, command in ALL.items():
        with command.make_context(path[-1], [], resilient_parsing=True, terminal_width=100) as context:
            widest = max(command.get_help(context).splitlines(), key=len)
        assert len(widest) <= 100, f"{' '.join(path)}: {widest}"


def options(path: tuple[str, ...]) -> dict[str, Any]:
    return {option: parameter for parameter in ALL[path].params for option in parameter.opts}


def test_a_list_has_all_forms_of_output() -> None:
    """What lists objects prints them as JSON, YAML, wide or by name, and follows them."""
    for path in ALL:
        if path[-1] == "list" and path not in NO_OBJECTS:
            assert options(path)["--output"].type_descriptor.annotation is Output, path
            assert "--watch" in options(path), path


@pytest.mark.parametrize("words", ["queue usage", "policy status", "gateway status", "job top"])
def test_what_tells_how_things_are_now_can_be_watched(words: str) -> None:
    assert "--watch" in options(tuple(words.split()))


def said(*words: str) -> str:
    """Give what a person reads who typed these words."""
    with pytest.raises(TyperException) as refused:
        root().main(list(words), prog_name="atoll", standalone_mode=False)
    return refused.value.message


@pytest.mark.parametrize(
    ("typed", "told"),
    {
        "explain mine": "There is: atoll job explain, atoll policy explain",
        "squeue": "There is: atoll job list",
        "create -f job.yaml": "There is: atoll apply",
        "token create ada": "There is: atoll token issue",
        "cluster rm lab": "There is: atoll cluster leave",
        "jbo list": "Did you mean 'job'?",
        "frobnicate": "No such command 'frobnicate'.",
    }.items(),
)
def test_a_word_that_is_no_command_is_answered_with_the_one_that_is_meant(typed: str, told: str) -> None:
    """From kubectl, from Slurm, without its noun, or by another verb."""
    assert said(*typed.split()).endswith(told)


def test_what_is_told_instead_of_a_word_is_a_command() -> None:
    for word in mistyped.ELSEWHERE:
        for command in mistyped.meant(word, (), ALL):
            assert any(path == tuple(command.split())[: len(path)] for path in ALL), command


def test_the_root_shows_every_command_once_and_no_sentence_cut() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).output
    listed = re.findall(r"^  ([a-z][a-z-]+)  ", shown, re.MULTILINE)
    wanted = [name for name, command in root().commands.items() if not command.hidden]
    assert sorted(listed) == sorted(wanted)
    assert "..." not in shown.partition("ARGS]...")[2]
    assert max(map(len, shown.splitlines())) <= 80
