"""A folder of policies as somebody works on it: its policies and its policy tests, or all that is wrong with them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from atoll.cli.output import plural
from atoll.federation.errors import InvalidInput
from atoll.policies.checkout import Checkout
from atoll.policies.features import DEFAULT_FEATURES
from atoll.policies.folder import read_folder as read_tree
from atoll.policies.manifest import Manifest, Origin, Problem
from atoll.policies.rules import Unsupported
from atoll.policies.trials.scenario import Scenario, parse_scenarios

# kubectl's own commands give up after as long; a kustomization of policies renders in a tenth of a second.
_RENDERING_SECONDS = 30.0
T = TypeVar("T")


@dataclass(frozen=True)
class PolicyFolder:
    """What was found; `files` counts those with policies."""

    manifests: tuple[Manifest, ...]
    scenarios: tuple[Scenario, ...]
    files: int


def read_folder(path: Path) -> PolicyFolder:
    """Read every policy and policy test under a path, or the one file that it is, as the hub would read a commit.

    Raises:
        InvalidInput: something is wrong; `problems` has each with file, line, field and reason.
        Unavailable: there is a kustomization, and no kubectl to render it.
    """
    checkout = Checkout.around(path)
    folder = asyncio.run(read_tree(checkout, checkout.start, DEFAULT_FEATURES, timeout_seconds=_RENDERING_SECONDS))
    stated = [parse_scenarios(text.decode(errors="replace"), file) for file, text in folder.tests.items()]
    problems: list[Problem] = [*folder.problems, *(problem for one in stated for problem in one.problems)]
    if problems:
        shown = sorted(replace(problem, path=checkout.shown(problem.path)) for problem in problems)
        raise InvalidInput(f"{plural(len(problems), 'problem')} found:", shown)
    return PolicyFolder(
        tuple(_shown(manifest, checkout) for manifest in folder.manifests),
        tuple(replace(one, path=checkout.shown(one.path)) for file in stated for one in file.scenarios),
        folder.files,
    )


def _shown(manifest: Manifest, checkout: Checkout) -> Manifest:
    origin = manifest.origin
    return replace(manifest, origin=Origin(checkout.shown(origin.path), origin.line))


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
