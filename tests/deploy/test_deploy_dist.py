"""What a release is made of: a wheel with everything the program reads, and a lock that says what it runs with."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from atoll import __version__
from deploy.world import DEPLOY

ROOT = DEPLOY.parent
LOCK = DEPLOY / "requirements.lock"
EXTRAS = ("embedded", "kustomize", "parquet")  # of the image
NAME = re.compile(r"^([A-Za-z0-9._-]+)==(\S+?)(?: ; (.+?))? \\$", re.MULTILINE)


def build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1577836800"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    """Templates, styles and the library of policies, too: an ignore rule that hides a folder would hide it here."""
    source = ROOT / "src"
    known = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = {line.removeprefix("src/") for line in known.stdout.splitlines() if (ROOT / line).exists()}
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert tracked - held == set()
    assert {Path(name).suffix for name in tracked} > {".py", ".yaml"}
    assert {name for name in held if not (source / name).exists() or name.endswith(".pyc")} == set()


def test_the_version_stands_in_one_place(wheel: Path) -> None:
    assert wheel.name == f"atoll-{__version__}-py3-none-any.whl"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"]
    tags = {
        line.strip()
        for path in DEPLOY.rglob("*.yaml")
        for line in path.read_text().splitlines()
        if "newTag: " in line and "simulated" not in line
    }
    assert tags
    assert {f"newTag: {__version__}" in tag for tag in tags} == {True}


def locked() -> dict[str, str]:
    return {canonicalize_name(name): version for name, version, _ in NAME.findall(LOCK.read_text())}


def direct() -> list[Requirement]:
    """What pyproject asks for in the image."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *(text for extra in EXTRAS for text in project["optional-dependencies"][extra])]
    return [Requirement(text) for text in texts]


def test_the_lock_is_of_what_pyproject_asks_for() -> None:
    """`make lock` writes it again."""
    found = locked()
    wrong = [str(each) for each in direct() if found.get(canonicalize_name(each.name), "") not in each.specifier]
    assert wrong == []


def test_the_lock_is_whole_and_nothing_in_it_is_of_no_use() -> None:
    """Followed from pyproject through what the installed packages ask for, as far as they are of the locked version."""
    found = locked()
    reached, due = set(), [canonicalize_name(each.name) for each in direct()]
    extras = {canonicalize_name(each.name): each.extras for each in direct()}
    while due:
        name = due.pop()
        if name in reached:
            continue
        reached.add(name)
        assert name in found, name
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            wanted = [{"extra": extra} for extra in (extras.get(name) or {""})]
            if needed.marker is None or any(needed.marker.evaluate(each) for each in wanted):
                extras.setdefault(canonicalize_name(needed.name), needed.extras)
                due.append(canonicalize_name(needed.name))
    conditional = {canonicalize_name(name) for name, _, marker in NAME.findall(LOCK.read_text()) if marker}
    assert found.keys() - reached - conditional == set()


def test_the_lock_has_hashes_and_names_no_index() -> None:
    text = LOCK.read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.split("\n", 2)[2])
    assert len(entries) == len(NAME.findall(text))  # one name may have two versions, for two Pythons
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert not re.search(r"https?://|file:|--(extra-)?index-url|--find-links", text)


def test_what_workflows_and_pages_tell_make_to_do_it_can() -> None:
    """In workflows and CI's script, and as commands in pages."""
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    workflows = list((ROOT / ".github/workflows").glob("*.yaml"))
    places = [*workflows, ROOT / ".ci/run", ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    told = re.compile(r"(?:^ *|`|run: |\bif ! )make ([a-z][a-z-]*)\b(?! [a-z])", re.MULTILINE)
    asked = {(place.name, target) for place in places for target in told.findall(place.read_text())}
    assert {name for name, _ in asked} > {"run", "README.md", "release.yaml"}
    assert {each for each in asked if each[1] not in targets} == set()
    assert all(yaml.safe_load(workflow.read_text())["jobs"] for workflow in workflows)


def test_the_image_holds_what_the_lock_names_and_is_not_root() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    assert "--require-hashes --requirement deploy/requirements.lock" in text
    assert re.search(r"^USER 65532:65532$", text, re.MULTILINE)
    assert re.search(r"^ARG PYTHON=\S+:3\.\d+-slim-\w+$", text, re.MULTILINE)
    assert text.count("FROM ${PYTHON}") == 2
