"""Writes a support bundle: a tar.gz that its owner alone can read, and says what is in it."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import orjson

from atoll.cli.api import Api
from atoll.cli.bundling import collecting
from atoll.cli.bundling.vocabulary import Vocabulary
from atoll.cli.checkup import report
from atoll.cli.choosing import HubChoice
from atoll.cli.hub import find, open_context
from atoll.cli.output import bytes_shown, hint, say
from atoll.cli.tables import print_table
from atoll.federation.errors import AtollError, Conflict, InvalidInput
from atoll.local.home import Home, default_home

# Mails and trackers take some 25 MB; packed, a bundle is far below what this is unpacked.
MOST_BYTES = 64 * 1024 * 1024
_PRIVATE = 0o600


def write(choice: HubChoice, path: Path) -> None:
    """Write a bundle.

    Raises:
        Conflict: the file is there.
    """
    if path.exists():
        raise Conflict(f"{path} is there already: choose another name")
    rows, total = [], 0
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with (
            os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "wb") as file,
            tarfile.open(fileobj=file, mode="w:gz") as tar,
        ):
            for name, content in files(choice):
                fitting = content[: max(0, MOST_BYTES - total)]
                total += len(fitting)
                _add(tar, name, fitting)
                rows.append((name, bytes_shown(len(fitting))))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    print_table(("FILE", "SIZE"), rows)
    say(f"{path} written: {bytes_shown(path.stat().st_size)}")
    hint("it holds the names of objects, and no secrets; look through it before you send it to anybody")


def files(choice: HubChoice) -> Iterator[tuple[str, bytes]]:
    """Give the files of a bundle. What is not to be had is told in the last one."""
    problems: list[str] = []
    home, api = _found(choice, problems)
    found = collecting.objects(api, problems.append) if api is not None else {}
    words = Vocabulary(collecting.names_of(found))
    yield "about.json", collecting.about()
    yield "doctor.json", collecting.doctor(list(report.examine(choice)), words)
    yield from collecting.object_files(found, words)
    if api is not None:
        with api:
            yield from collecting.hub_files(api, words, problems.append)
    yield from collecting.home_files(home, words)
    yield "missing.json", orjson.dumps([words.filter(problem) for problem in problems], option=orjson.OPT_INDENT_2)


def _found(choice: HubChoice, problems: list[str]) -> tuple[Home, Api | None]:
    home = Home.at(choice.home) if choice.home else Home(default_home())
    try:
        context = find(choice)
    except InvalidInput:
        raise
    except AtollError as error:
        problems.append(f"the hub: {error.reason}")
        return home, None
    return Home(Path(context.home)) if context.home else home, open_context(context)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(f"atoll-support/{name}")
    info.size, info.mode = len(content), _PRIVATE
    tar.addfile(info, io.BytesIO(content))
