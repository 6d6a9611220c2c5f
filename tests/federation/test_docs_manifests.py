"""Every manifest that the documentation shows is one that the hub would take."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from atoll.federation.resources import BY_NAME, GROUP_VERSION
from atoll.federation.resources.validation import parse

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^( *)```ya?ml\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def shown() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the whole manifests of our kinds on all pages, with where each stands."""
    for page in sorted(DOCS.glob("*.md")):
        for indent, text in _BLOCK.findall(page.read_text()):
            for document in yaml.safe_load_all(re.sub(f"^{indent}", "", text, flags=re.MULTILINE)):
                if isinstance(document, dict) and document.get("apiVersion") == GROUP_VERSION:
                    yield f"{page.name}: {document['kind']}", document


MANIFESTS = [each for each in shown() if each[1]["kind"] in BY_NAME]


@pytest.mark.parametrize("manifest", [each for _, each in MANIFESTS], ids=[name for name, _ in MANIFESTS])
def test_a_manifest_on_a_page_has_no_problem(manifest: dict[str, Any]) -> None:
    _, problems = parse(BY_NAME[manifest["kind"]], manifest)
    assert problems == ()


def test_there_are_manifests_on_the_pages() -> None:
    """Were the blocks written in another way, the test above would look at nothing."""
    assert len(MANIFESTS) > 5
