"""Fixtures of the policy tests: the public corpus beside the checkout, and throw-away Git repositories."""

from pathlib import Path

import pytest

from git_repository import begin, commit, git

_DATED = "2026-03-01T12:00:00+01:00"


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of public policies and verdicts beside the checkout; tests that need it are skipped without it."""
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    if not (folder / "verdicts").is_dir():
        pytest.skip(f"the public policy corpus is not at {folder}")
    return folder


class Repository:
    """A small Git repository on disk that tests commit to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        begin(path)

    def git(self, *arguments: str) -> str:
        """Run git in the repository."""
        return git(self.path, *arguments, dated=_DATED)

    def commit(self, files: dict[str, str]) -> str:
        """Write files, commit everything and give the commit."""
        for name, content in files.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        return commit(self.path, dated=_DATED)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty repository with branch main."""
    return Repository(tmp_path / "policies-repository")
