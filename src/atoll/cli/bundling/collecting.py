"""Gathers what goes into a bundle: from this machine, from the home on it, from the hub. What is not to be had is told.

Every file is bounded, and everything passes through `showing` or `vocabulary`.
"""

import importlib.metadata
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from atoll import __version__
from atoll.cli import kinds
from atoll.cli.api import Api
from atoll.cli.bundling.showing import shown_event, shown_object
from atoll.cli.bundling.vocabulary import Vocabulary
from atoll.cli.checkup.findings import Finding
from atoll.federation.errors import AtollError
from atoll.federation.resources import KINDS
from atoll.local.home import Home

_MOST_OBJECTS, _MOST_EVENTS = 2000, 2000
_LOG_BYTES, _MOST_LOGS = 256 * 1024, 40
# A line of metrics: the name, whose form says that it is ours, and the rest.
_METRIC = re.compile(r"^((?:# (?:HELP|TYPE) )?(?:atoll|python|process)_[a-z_]+)(.*)$")
_REQUIREMENT = re.compile(r"^[A-Za-z0-9._-]+")
Problem = Callable[[str], None]
Json = dict[str, Any]


def about() -> bytes:
    """Tell which versions of what are here."""
    wanted = importlib.metadata.requires("atoll") or []
    names = sorted({found[0] for each in wanted if (found := _REQUIREMENT.match(each))})
    return _pretty(
        {
            "atoll": __version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "at": datetime.now(UTC).isoformat(),
            "packages": {name: _installed(name) for name in names},
        }
    )


def doctor(findings: Sequence[Finding], words: Vocabulary) -> bytes:
    """Tell what the examination found."""
    found = [{key: words.filter(text) for key, text in each.wire().items()} for each in findings]
    return _pretty({"findings": found})


def objects(api: Api, problem: Problem) -> dict[str, list[Json]]:
    """Read the objects of all kinds that we may see; of very many the first."""
    found: dict[str, list[Json]] = {}
    for kind in KINDS:
        path = kinds.atoll(kind.name).collection()
        found[kind.name] = _list(api, path, _MOST_OBJECTS, partial(_about, problem, kind.plural))
    return found


def names_of(found: Mapping[str, Sequence[Json]]) -> set[str]:
    """Give the names of objects and namespaces, by which messages speak of them."""
    metadata = [each["metadata"] for items in found.values() for each in items]
    return {str(each[key]) for each in metadata for key in ("name", "namespace") if each.get(key)}


def object_files(found: Mapping[str, Sequence[Json]], words: Vocabulary) -> Iterator[tuple[str, bytes]]:
    """Write the objects, a file for each kind."""
    for kind, items in found.items():
        if items:
            yield f"objects/{kind.lower()}.json", _pretty([shown_object(kind, each, words) for each in items])


def hub_files(api: Api, words: Vocabulary, problem: Problem) -> Iterator[tuple[str, bytes]]:
    """Write events, metrics, and what the hub says of itself."""
    events = _list(api, kinds.EVENTS.collection(), _MOST_EVENTS, partial(_about, problem, "events"))
    yield "events.json", _pretty([shown_event(each, words) for each in events])
    try:
        lines = b"".join(api.chunks("/metrics")).splitlines()
        known = (_METRIC.match(line.decode(errors="replace")) for line in lines)
        yield "metrics.txt", "\n".join(each[1] + words.filter(each[2]) for each in known if each).encode()
    except AtollError as error:
        problem(f"metrics: {error.reason}")


def home_files(home: Home, words: Vocabulary) -> Iterator[tuple[str, bytes]]:
    """Write what runs in a home, and the ends of its logs."""
    state = home.read_state()
    if state is not None:
        processes = [{"name": each.name, "restarts": each.restarts, "runs": bool(each.pid)} for each in state.processes]
        found = {"kind": state.kind, "phase": state.phase, "startedAt": state.started_at.isoformat()}
        yield "home/state.json", _pretty({**found, "processes": processes})
    logs = sorted(home.logs.glob("*.log")) if home.logs.is_dir() else []
    for path in logs[:_MOST_LOGS]:
        lines = _tail(path).decode(errors="replace").splitlines()
        yield f"logs/{path.name}", "\n".join(words.filter(line) for line in lines).encode()


def _about(problem: Problem, what: str, why: str) -> None:
    problem(f"{what}: {why}")


def _list(api: Api, path: str, most: int, problem: Problem) -> list[Json]:
    try:
        answer = api.get(path, {"limit": str(most)})
    except AtollError as error:
        problem(error.reason)
        return []
    items: list[Json] = answer.get("items", [])
    if answer.get("metadata", {}).get("continue"):
        problem(f"the first {most} only")
    return items


def _tail(path: Path) -> bytes:
    """Read the end of a log, from the begin of a line on."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LOG_BYTES))
        content = file.read(_LOG_BYTES)
    return content if size <= _LOG_BYTES else content.partition(b"\n")[2]


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _pretty(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)
