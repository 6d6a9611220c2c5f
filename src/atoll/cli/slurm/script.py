"""A batch script: its first line, its #SBATCH directives, and what it calls that will not be there.

Owns the reading of the text as sbatch reads it. What a directive means is `meaning`'s.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from atoll.cli.slurm.options import OPTIONS, Option, Takes, long_option, short_option
from atoll.federation.errors import InvalidInput

MAX_SCRIPT_BYTES = 256 * 1024
"""The text travels in the pod's arguments: etcd takes objects of 1.5 MiB, Linux 2 MiB of arguments (execve(2))."""
_MAGIC = "#SBATCH"


@dataclass(frozen=True)
class Given:
    """An option as somebody wrote it, and where; the value of an option without one is empty."""

    option: Option
    value: str
    where: str

    def __str__(self) -> str:
        """Write it as in a message: line 4: --time=90. What is exported may be secret."""
        value = f"={self.value}" if self.value and self.option.name != "export" else ""
        return f"{self.where}: --{self.option.name}{value}"


@dataclass(frozen=True)
class Script:
    """A script: its whole text, the program that reads it, and its directives in their order.

    `problems` are the directives that cannot be read: with one of them it is not submitted, but all else is looked at.
    """

    text: str
    interpreter: tuple[str, ...]
    given: tuple[Given, ...]
    hints: tuple[str, ...]
    problems: tuple[str, ...] = ()


def wrapped(command: str) -> str:
    """Make the script of `--wrap`, as sbatch does."""
    return f"#!/bin/sh\n# This script was created by atoll sbatch --wrap.\n\n{command}\n"


def read_script(content: bytes) -> Script:
    """Read a script.

    Raises:
        InvalidInput: it is no script that sbatch would take, or it is too long.
    """
    text = _text(content)
    lines = text.split("\n")
    given: list[Given] = []
    problems: list[str] = []
    end = _first_command(lines)
    for number, line in enumerate(lines[:end], start=1):
        if line.startswith(_MAGIC):
            try:
                given += _directives(line[len(_MAGIC) :], f"line {number}")
            except InvalidInput as error:
                problems.append(f"line {number}: {error}")
    return Script(text, _interpreter(lines[0]), tuple(given), tuple(_hints(lines, end)), tuple(problems))


def _directives(line: str, where: str) -> list[Given]:
    given = parse_words(_words(line), where)
    if any(one.option.name == "wrap" for one in given):
        raise InvalidInput("--wrap is for the command line: it takes the place of a script")
    return given


def read_variables(environment: Mapping[str, str]) -> tuple[Given, ...]:
    """Take sbatch's options out of the environment: SBATCH_TIMELIMIT and so on."""
    found = ((option, environment.get(option.variable)) for option in OPTIONS.values() if option.variable)
    return tuple(
        Given(option, "" if option.takes is Takes.NOTHING else value, option.variable)
        for option, value in found
        if value is not None
    )


def parse_words(words: Sequence[str], where: str) -> list[Given]:
    """Read options as getopt_long does: --name=value, --name value, -n value, -nvalue.

    Raises:
        InvalidInput: a word is no option of sbatch, or a value is missing or too much.
    """
    given, rest = [], list(words)
    while rest:
        given.append(take_option(rest, where))
    return given


def take_option(words: list[str], where: str) -> Given:
    """Take the first option off a list of words, with its value.

    Raises:
        InvalidInput: as parse_words.
    """
    word = words.pop(0)
    _, equals, value = _split(word)
    option = find_option(word)
    if option is None:
        raise InvalidInput(f"{word}: sbatch has no such option")
    if option.takes is Takes.NOTHING and equals:
        raise InvalidInput(f"{word}: --{option.name} takes no value")
    if option.takes is Takes.VALUE and not equals:
        if not words:
            raise InvalidInput(f"{word}: a value is missing")
        value = words.pop(0)
    return Given(option, value, where)


def find_option(word: str) -> Option | None:
    """Find the option that a word begins with; None if sbatch has none such."""
    name, _, _ = _split(word)
    return long_option(name) if word.startswith("--") else short_option(name)


def _split(word: str) -> tuple[str, bool, str]:
    """Split a word into an option's name, whether a value stands with it, and the value."""
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        return name, bool(equals), value
    if not word.startswith("-") or len(word) == 1:
        raise InvalidInput(f"{word}: is no option; a value with spaces stands in quotes")
    return word[1], len(word) > 2, word[2:].removeprefix("=")


def _text(content: bytes) -> str:
    if len(content) > MAX_SCRIPT_BYTES:
        size = f"{len(content) // 1024} KiB, and {MAX_SCRIPT_BYTES // 1024} KiB is the most"
        raise InvalidInput(f"the script has {size}: put what it needs into its image or into an input dataset")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidInput(f"line {line}: the script is no UTF-8 text") from error
    if "\0" in text:
        raise InvalidInput(f"line {text[: text.index(chr(0))].count(chr(10)) + 1}: the script has a NUL byte")
    if "\r\n" in text:
        raise InvalidInput("the script has DOS line breaks: convert it with dos2unix")
    if not text.startswith("#!"):
        raise InvalidInput("line 1: a batch script begins with #! and the path of an interpreter, such as #!/bin/bash")
    return text


def _interpreter(line: str) -> tuple[str, ...]:
    """Split a #! line as Linux does: a path, and all the rest as one argument (execve(2))."""
    path, _, argument = line[2:].strip().partition(" ")
    if not path.startswith("/"):
        raise InvalidInput(f"line 1: {line[:80]}: the path of the interpreter should begin with /")
    return (path, argument.strip()) if argument.strip() else (path,)


def _first_command(lines: list[str]) -> int:
    """Give the index of the first line that is neither empty nor a comment: sbatch reads directives before it only."""
    for index, line in enumerate(lines):
        if line.strip() and not line.lstrip().startswith("#"):
            return index
    return len(lines)


# A word: runs of plain characters, quoted strings and escaped characters.
_WORD = re.compile(r"""(?:[^\s"'\\#]|(?<=[^\s])\#|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""")
_PIECE = re.compile(r"""\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\\"']+)""")


def _words(rest: str) -> list[str]:
    """Split a directive into words; quotes and backslashes keep spaces, and # begins a comment."""
    words, at = [], 0
    while at < len(rest):
        if rest[at].isspace():
            at += 1
            continue
        if rest[at] == "#":
            break
        match = _WORD.match(rest, at)
        if match is None:
            raise InvalidInput(f"{rest[at:].strip()[:80]}: a quote is not closed")
        words.append("".join(_unquoted(match[0])))
        at = match.end()
    return words


def _unquoted(word: str) -> Iterator[str]:
    for escaped, double, single, plain in _PIECE.findall(word):
        yield escaped or re.sub(r"\\(.)", r"\1", double) or single or plain


# What scripts call on Slurm's nodes and containers do not have, with what to do instead.
_ABSENT = {
    "sbatch": "submit from outside the job, or create Jobs through the hub's API",
    "salloc": "the job has its allocation",
    "squeue": "atoll get jobs shows them, from outside",
    "sacct": "atoll get runs shows what was used, from outside",
    "scancel": "exit ends the job",
    "sinfo": "atoll get clusters shows them, from outside",
    "sbcast": "the job has one node",
    "module": "the image must hold what the script loads",
    "ml": "the image must hold what the script loads",
}
_CALL = re.compile(rf"^\s*(?:\S+=\S*\s+)*({'|'.join(_ABSENT)})(?=\s|;|$)")


def _hints(lines: list[str], end: int) -> Iterator[str]:
    """Name what will surprise: directives that stand too late, and commands that containers do not have."""
    for number, line in enumerate(lines[end:], start=end + 1):
        if line.startswith(_MAGIC):
            yield f"line {number}: {line.strip()[:80]}: sbatch reads no directive after the first command"
        elif call := _CALL.match(line):
            yield f"line {number}: {call[1]} is not there unless the image has it: {_ABSENT[call[1]]}"
