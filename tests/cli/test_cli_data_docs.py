"""What the documents of the data path show can be applied as it stands, and their links lead somewhere."""

import re
from pathlib import Path

import pytest

from atoll.cli.manifests import load

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("tutorial-lab", "instruments", "files", "gateways", "datasets", "dataset-life", "storage")
FENCED, QUOTED = r"```yaml\n(apiVersion.*?)```", r"<<'END'\n(apiVersion.*?)\nEND\n"
LINK = r"\]\(([\w./-]+\.(?:md|yaml))(?:#([\w-]+))?\)"
WORKLOAD = "workload: {spec: {template: {spec: {containers: [{name: main, image: busybox}]}}}}"


def manifests(page: str) -> str:
    """Give what a page shows for `atoll apply`, with what it leaves out of a Job's template filled in."""
    text = (DOCS / f"{page}.md").read_text().replace("workload: {…}", WORKLOAD)
    return "\n---\n".join(re.findall(FENCED, text, re.DOTALL) + re.findall(QUOTED, text, re.DOTALL))


@pytest.mark.parametrize("page", [page for page in PAGES if manifests(page)])
def test_manifests_of_the_documents_can_be_applied(page: str, tmp_path: Path) -> None:
    """`load` is what `atoll apply` reads manifests with: it refuses unknown fields and bad values."""
    file = tmp_path / f"{page}.yaml"
    file.write_text(manifests(page))
    assert [each.name for each in load([str(file)], recursive=False)]


def headings(page: Path) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_links_of_the_documents_lead_somewhere(page: str) -> None:
    for target, anchor in re.findall(LINK, (DOCS / f"{page}.md").read_text()):
        there = DOCS / target
        assert there.is_file(), f"{page}.md: {target}"
        assert not anchor or anchor in headings(there), f"{page}.md: {target}#{anchor}"
