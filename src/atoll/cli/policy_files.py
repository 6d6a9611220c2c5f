"""A folder of policies as somebody works on it: its policies and its policy tests, or all that is wrong with them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from atoll.cli.output import plural
from atoll.federation.errors import InvalidInput
from atoll.policies.manifest import Manifest, Problem, parse_file
from atoll.policies.rules import Unsupported
from atoll.policies.trials.scenario import TEST_SUFFIXES, Scenario, parse_scenarios

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
T = TypeVar("T")


@dataclass(frozen=True)
class PolicyFolder:
    """What was found; `files` counts those with policies."""

    manifests: tuple[Manifest, ...]
    scenarios: tuple[Scenario, ...]
    files: int


def read_folder(path: Path) -> PolicyFolder:
    """Read every policy and policy test under a path, or the one file that it is.

    Raises:
        InvalidInput: something is wrong; `problems` has each with file, line, field and reason.
    """
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES)
    tests = [file for file in files if file.name.endswith(TEST_SUFFIXES)]
    policies = [file for file in files if file not in tests]
    parsed = [parse_file(_text(file), str(file)) for file in policies]
    stated = [parse_scenarios(_text(file), str(file)) for file in tests]
    problems: list[Problem] = [problem for one in parsed for problem in one.problems]
    problems += [problem for one in stated for problem in one.problems]
    if problems:
        raise InvalidInput(f"{plural(len(problems), 'problem')} found:", problems)
    return PolicyFolder(
        tuple(manifest for one in parsed for manifest in one.manifests),
        tuple(scenario for one in stated for scenario in one.scenarios),
        len(policies),
    )


def modelled(work: Callable[[], T]) -> T:
    """Do what judges policies; say it plainly where the engine has no model of a construct.

    Raises:
        InvalidInput: a policy says what the engine does not model.
    """
    try:
        return work()
    except Unsupported as error:
        raise InvalidInput(f"{error}: this is valid, and cannot be judged offline") from error


def merged(folder: PolicyFolder, path: Path) -> Scenario:
    """Put the clusters and workloads of all tests together.

    Raises:
        InvalidInput: there is no test, or a name means one thing in one test and another in another.
    """
    if not folder.scenarios:
        raise InvalidInput(f"{path}: no policy test states workloads; write one, such as training.policytest.yaml")
    first, *others = folder.scenarios
    clusters, parties, namespaces = dict(first.clusters), dict(first.parties), dict(first.namespaces)
    for scenario in others:
        for known, more, what in (
            (clusters, scenario.clusters, "cluster"),
            (parties, scenario.parties, "workload"),
            (namespaces, scenario.namespaces, "namespace"),
        ):
            _add(known, more, f"{scenario.path}: {what}")
    return Scenario(first.name, str(path), clusters, namespaces, parties, ())


def _add(known: dict[str, Any], more: Mapping[str, Any], what: str) -> None:
    for name, value in more.items():
        if known.setdefault(name, value) != value:
            raise InvalidInput(f"{what} {name!r} is another thing in another policy test; give one test only")


def names_of(things: Iterable[str]) -> str:
    """List names for a message."""
    return ", ".join(things) or "none"


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")
