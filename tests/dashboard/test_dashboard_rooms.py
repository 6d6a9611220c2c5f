"""The pages data, policies and audit over HTTP: what they show, to whom, and what can be done from them."""

import re
from collections.abc import Iterator

import httpx
import pytest

from atoll.federation.resources import PolicySet
from atoll.federation.resources.policyset_rollout import APPROVED_ANNOTATION
from atoll.hub.dashboard.session import Forms
from dashboard.lagoon import Lagoon, lagoon, made
from dashboard.lagoon_policies import NEW
from dashboard.stage import Apart, entered

PAGES = {
    "data": "Where data lies",
    "data/datasets": "shots.2026-11-23",
    "data/transfers": "spectra-3.parquet",
    "data/datasets/seismology/shots.2026-11-23": "numbers that outbox 7c0e11aa gave",
    "data/gateways/microscopes": "broker.basel:1883 refused the connection",
    "policies": "widened in 1 cluster",
    "policies/campus": "1 of 3 nodes enforce it",
    "reach?cluster=onprem": "seismology: app=portal",
    "audit": "granted is only Viewer",
}
NEXT = {
    "data": "atoll gateway enroll",
    "data/datasets": "atoll apply -f stream.yaml",
    "data/transfers": "atoll dataset replicate",
    "policies": "atoll apply -f policyset.yaml",
    "reach": "atoll cluster join",
    "audit": "atoll audit --since 1h",
}


@pytest.fixture(scope="module")
def empty(apart: Apart) -> Iterator[Lagoon]:
    with entered(apart, lambda: lagoon(is_empty=True)) as found:
        yield found


def as_(board, user, **headers):
    """Give a browser in which a user is signed in."""
    cookies = {"atoll-session.0": user}
    return httpx.Client(base_url=f"{board.url}/dashboard/", cookies=cookies, headers=headers, timeout=30)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_answers_and_shows_what_it_is_about(board, path):
    with as_(board, "admin") as browser:
        answer = browser.get(path)
    assert answer.status_code == 200
    assert PAGES[path] in answer.text


@pytest.mark.parametrize("path", NEXT)
def test_an_empty_page_says_the_command_that_comes_next(empty, path):
    answer = httpx.get(f"{empty.url}/dashboard/{path}", timeout=30)
    assert answer.status_code == 200
    assert NEXT[path] in answer.text


@pytest.mark.parametrize("path", PAGES)
def test_every_live_part_can_be_drawn_alone_and_keeps_its_place(board, path):
    with as_(board, "admin") as browser:
        parts = re.findall(r'<section id="([a-z]+)" data-live', browser.get(path).text)
        assert parts
        for part in parts:
            alone = browser.get(path, params={**dict(httpx.QueryParams(path.partition("?")[2])), "part": part})
            assert alone.status_code == 200
            assert re.match(rf'\s*<section id="{part}" data-live', alone.text)
            assert alone.text.count("<section") == 1


@pytest.mark.parametrize(
    ("query", "shown", "hidden"),
    [
        ("state=Damaged", "spectra.run-11", "slides.6"),
        ("cluster=cloud-gpu", "picks.2026-11-22", "slides.6"),
        ("namespace=ocean", "buoys.2026-11", "slides.6"),
        ("q=SLIDES", "slides.6", "buoys"),
        ("q=nothing-has-this", "No dataset matches.", "slides.6"),
    ],
)
def test_the_list_of_datasets_is_filtered_by_its_url(board, query, shown, hidden):
    with as_(board, "admin") as browser:
        text = browser.get(f"data/datasets?{query}").text
    rows = text[text.index('id="rows"') :]
    assert shown in rows
    assert f">{hidden}" not in rows


def test_who_may_see_one_namespace_sees_nothing_of_others_and_no_count_of_them(board):
    with as_(board, "chemist") as browser:
        text = browser.get("data/datasets").text
        assert "balances.2026-11-23" in text
        assert "seismology" not in text
        assert "imaging" not in text
        assert browser.get("data/datasets/seismology/shots.2026-11-23").status_code == 404
        assert "shots.2026-11-23" not in browser.get("data").text


def test_a_password_in_the_address_of_a_repository_is_shown_on_no_page(board):
    with as_(board, "viewer") as browser:
        texts = [browser.get(path).text for path in ("policies", "policies/campus", "policies/trial")]
    assert "git.example.org/security/policies" in texts[1]
    assert not any("secret" in text for text in texts)


def test_what_somebody_writes_into_a_message_stays_text(board, apart):
    wrong = {"type": "Healthy", "status": "False", "reason": "R", "message": "<script>alert(1)</script>"}
    status = {"version": 1, "conditions": [{**wrong, "lastTransitionTime": "2026-11-23T12:00:00Z"}]}
    apart.run(board.client.create(made("Dataset", "mischief", "imaging", {}, status)))
    with as_(board, "admin") as browser:
        for path in ("data/datasets?q=mischief", "data/datasets/imaging/mischief"):
            text = browser.get(path).text
            assert "&lt;script&gt;alert(1)" in text
            assert "<script>alert(1)" not in text


def _button(browser, page, word):
    """Find the form of an action: its address, and its proof."""
    text = browser.get(page).text
    form = re.search(rf'action="(/dashboard/do/{word}/[^"]*)".*?name="proof" value="([^"]*)"', text, re.S)
    assert form, text
    return str(browser.base_url.join(form[1].replace("&amp;", "&"))), form[2]


def _press(browser, url, proof, **form):
    sent = {"proof": proof, "sure": "yes", **form}
    return browser.post(url, data=sent, headers={"sec-fetch-site": "same-origin", "hx-request": "true"})


def test_a_dataset_is_pinned_from_its_page_and_then_unpinned(board):
    with as_(board, "admin") as browser:
        for word, pinned in (("pin", True), ("unpin", False)):
            url, proof = _button(browser, "data/datasets/chemistry/spectra.run-11", word)
            assert _press(browser, url, proof).status_code == 200
            found = browser.get("data/datasets/chemistry/spectra.run-11").text
            assert ("pinned: nothing of it goes" in found) is pinned


def test_who_may_not_do_something_sees_why_with_the_command_and_is_refused_all_the_same(board):
    page = "data/datasets/imaging/slides.6"
    with as_(board, "admin") as browser:
        url, _ = _button(browser, page, "pin")
    with as_(board, "viewer") as browser:
        text = browser.get(page).text
        assert "/dashboard/do/" not in text
        assert "3 actions that your roles do not let you take" in text
        assert "atoll dataset pin slides.6 -n imaging" in text and "let you patch datasets in namespace imaging" in text
        assert _press(browser, url, Forms().proof("viewer")).status_code == 403


def test_a_wave_is_approved_for_the_commit_that_was_seen_and_for_no_later_one(board, apart):
    async def campus():
        return await board.client.get(PolicySet, None, "campus")

    with as_(board, "admin") as browser:
        url, proof = _button(browser, "policies/campus", "approve")
        assert "seismology/catalog@onprem" in browser.get("policies/campus").text  # what the commit would open
        later = url.replace(NEW, "ab" * 20)
        assert later != url
        refused = _press(browser, later, proof)
        assert refused.status_code == 409
        assert "has changed since this page was drawn" in refused.text
        assert APPROVED_ANNOTATION not in apart.run(campus()).metadata.annotations
        assert _press(browser, url, proof).status_code == 200
    assert apart.run(campus()).metadata.annotations[APPROVED_ANNOTATION] == NEW


def test_the_picture_of_who_may_talk_to_whom_lights_one_party_and_lists_its_connections(board):
    with as_(board, "admin") as browser:
        text = browser.get("reach?cluster=onprem&focus=seismology: app=portal").text
    assert "1 allowed connection as a table" in text
    assert "NetworkPolicy seismology/portal-reads-catalog" in text
    assert 'class="band some dim"' in text


def test_a_cluster_without_orders_has_no_picture_but_an_explanation(board):
    with as_(board, "admin") as browser:
        assert "No policy is ordered for cloud." in browser.get("reach?cluster=cloud").text


def test_audit_records_are_filtered_paged_and_told_as_a_command(board):
    with as_(board, "admin") as browser:
        text = browser.get("audit?failed=1&user=ada").text
        assert "atoll audit --since 1h --user ada --failed" in text
        assert "grace" not in text[text.index('id="records"') :]
        assert "page 3 of 3" in browser.get("audit?page=3").text
        assert "back to now" in browser.get("audit?before=2026-11-01T00:00:00Z").text


def test_who_may_see_only_their_own_audit_records_is_told_so_in_the_words_of_the_api(board):
    with as_(board, "viewer") as browser:
        answer = browser.get("audit?user=ada")
        assert "only an Admin sees the audit records of others" in answer.text
        assert "picks-7" not in browser.get("audit").text


@pytest.mark.parametrize("before", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "yesterday"])
def test_an_instant_that_cannot_be_reckoned_with_means_now(board, before):
    with as_(board, "admin") as browser:
        answer = browser.get(f"audit?before={before}")
    assert answer.status_code == 200
    assert "granted is only Viewer" in answer.text
