"""The policy repository of a history: real commits, read once by the real reader, and a branch that moves on by itself.

Owns the policies. Each commit says of itself which it is, by the port that `base` lets in, so that what a cluster holds
tells how far it is.
"""

import asyncio
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from atoll.federation.errors import NotFound, Unavailable
from atoll.policies.bundle import Bundle, GitSource, load_bundle
from git_repository import begin, commit

SET, REPOSITORY = "base", "https://git.example.org/policies"
COMMITS = 3
_DATED = "2026-11-23T12:00:00Z"  # so that histories of one seed have the same commits
_FETCH_SECONDS = 0.3
_POLICY = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}, namespace: default}}
spec:
  podSelector: {{}}
  policyTypes: [Ingress]
  ingress: [{{ports: [{{protocol: TCP, port: {port}}}]}}]
"""


def port_of(commit: int) -> int:
    """Give the port that `base` lets in at a commit; the first is 0."""
    return 8000 + commit


def names_at(commit: int) -> set[str]:
    """Name the policies of a commit: `base` is in all, and each has one of its own."""
    return {"base", f"only-{commit}"}


@cache
def bundles() -> tuple[Bundle, ...]:
    """Read the commits, the oldest first, as the hub would."""
    with tempfile.TemporaryDirectory(prefix="atoll-twin-git-") as folder:
        return tuple(_read(Path(folder)))


def _read(folder: Path) -> list[Bundle]:
    repository = folder / "policies"
    begin(repository)
    found = []
    for number in range(COMMITS):
        for old in repository.glob("*.yaml"):
            old.unlink()
        for name in names_at(number):
            (repository / f"{name}.yaml").write_text(_POLICY.format(name=name, port=port_of(number)))
        commit(repository, f"commit {number}", dated=_DATED)
        found.append(asyncio.run(load_bundle(GitSource(str(repository), "main", ""), folder / "mirrors")))
    assert all(bundle.is_valid for bundle in found), [bundle.problems for bundle in found]
    return found


class Repository:
    """Where the hubs fetch policies. `head` is the number of the branch's commit."""

    def __init__(self) -> None:
        self.head = 0
        self.is_away = False

    async def load(self, source: GitSource, _workdir: Path, **_options: Any) -> Bundle:
        """Do what `load_bundle` does."""
        await asyncio.sleep(_FETCH_SECONDS)
        if self.is_away:
            raise Unavailable("the repository does not answer")
        if source.revision == "main":
            return bundles()[self.head]
        found = next((bundle for bundle in bundles() if bundle.commit == source.revision), None)
        if found is None:
            raise NotFound(f"no commit {source.revision}")
        return found
