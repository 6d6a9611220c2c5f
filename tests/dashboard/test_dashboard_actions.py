"""What can be done from pages over HTTP: as whom, after which questions, and what becomes of it."""

from collections.abc import Iterator
from html import unescape

import httpx
import pytest

from atoll.federation.resources import Dataset, Transfer
from atoll.hub.dashboard.deeds import DEEDS
from atoll.hub.dashboard.session import Forms
from dashboard.lagoon import Lagoon, made
from dashboard.stage import Apart

OURS = {"sec-fetch-site": "same-origin"}
_FORM = {"proof": Forms().proof("grace"), "sure": "yes"}
_WHOLE = {"version": 1, "complete": True, "bytes": 9, "files": 1, "clusters": ["lab-a"]}


@pytest.fixture
def http(board: Lagoon) -> Iterator[httpx.Client]:
    cookies = {"atoll-session.0": "grace"}
    with httpx.Client(base_url=board.url, cookies=cookies, headers=OURS, timeout=30) as found:
        yield found


def whole(board: Lagoon, apart: Apart, name: str) -> None:
    """Make a dataset whose version lies whole in lab-a."""
    status = {"version": 1, "complete": True, "bytes": 9, "versions": [_WHOLE]}
    apart.run(board.client.create(made("Dataset", name, "imaging", {"home": "lab-a"}, status)))


def test_a_dataset_is_copied_to_the_cluster_that_was_chosen_and_asking_twice_is_one_copy(board, apart, http):
    whole(board, apart, "tiles.1")
    page = http.get("/dashboard/data/datasets/imaging/tiles.1").text
    assert "<option>hpc</option>" in page and "<option>lab-a</option>" not in page
    assert "<option>field</option>" not in page, "nobody hears it"
    assert "atoll dataset replicate tiles.1 -n imaging --to " in page
    url = "/dashboard/do/replicate/datasets/imaging/tiles.1"
    assert http.post(url, data={**_FORM, "choice": "hpc"}).status_code == 303
    copy = apart.run(board.client.get(Transfer, "imaging", "tiles.1.v1.hpc"))
    assert (copy.spec.source, copy.spec.destination, copy.spec.version) == ("lab-a", "hpc", 1)
    again = http.post(url, data={**_FORM, "choice": "hpc"})
    assert again.status_code == 409 and "this copy is under way already" in again.text
    failed = copy.model_copy(update={"status": copy.status.model_copy(update={"phase": "Failed"})})
    apart.run(board.client.update_status(failed))
    assert http.post(url, data={**_FORM, "choice": "hpc"}).status_code == 303
    anew = apart.run(board.client.get(Transfer, "imaging", "tiles.1.v1.hpc"))
    assert (anew.status.phase, anew.metadata.uid != copy.metadata.uid) == ("Pending", True)


@pytest.mark.parametrize(
    ("choice", "code", "words"),
    [("", 409, "nothing was chosen"), ("no cluster's name", 422, "destination"), ("lab-a", 422, "the same cluster")],
    ids=["none", "no name", "its own home"],
)
def test_a_choice_that_is_none_is_refused_in_words(choice, code, words, board, apart, http):
    name = f"tiles.refused-{code}-{len(choice)}"
    whole(board, apart, name)
    answer = http.post(f"/dashboard/do/replicate/datasets/imaging/{name}", data={**_FORM, "choice": choice})
    assert (answer.status_code, words in answer.text) == (code, True), answer.text


def test_a_dataset_is_deleted_only_by_who_has_typed_its_name(board, apart, http):
    whole(board, apart, "tiles.2")
    url = "/dashboard/do/delete/datasets/imaging/tiles.2"
    for typed in ("", "tiles.1"):
        answer = http.post(url, data={**_FORM, "typed": typed})
        assert answer.status_code == 200 and "Type <b>tiles.2</b> to go on" in answer.text
    assert apart.run(board.client.get(Dataset, "imaging", "tiles.2")) is not None
    assert http.post(url, data={**_FORM, "typed": "tiles.2"}).status_code == 303
    assert apart.run(board.client.get(Dataset, "imaging", "tiles.2")) is None


def test_what_is_pinned_offers_no_deletion_and_refuses_one(board, apart, http):
    status = {"version": 1, "complete": True, "versions": [_WHOLE]}
    apart.run(board.client.create(made("Dataset", "kept", "imaging", {"home": "lab-a", "pinned": True}, status)))
    assert "/dashboard/do/delete/" not in http.get("/dashboard/data/datasets/imaging/kept").text
    answer = http.post("/dashboard/do/delete/datasets/imaging/kept", data={**_FORM, "typed": "kept"})
    assert answer.status_code == 409 and "it is pinned: unpin it first" in answer.text


def test_where_no_script_runs_the_hub_asks_what_has_to_be_confirmed_and_leads_back(board, apart, http):
    whole(board, apart, "tiles.3")
    page, url = "/dashboard/data/datasets/imaging/tiles.3", "/dashboard/do/delete/datasets/imaging/tiles.3"
    asked = http.post(url, data={"proof": _FORM["proof"]}, headers={"referer": f"{board.url}{page}?q=1"})
    assert f'action="{url}"' in asked.text and f'name="back" value="{page}?q=1"' in asked.text
    done = http.post(url, data={**_FORM, "typed": "tiles.3", "back": f"{page}?q=1"})
    assert (done.status_code, done.headers["location"]) == (303, f"{page}?q=1")
    whole(board, apart, "tiles.4")
    abroad = {**_FORM, "typed": "tiles.4", "back": "//evil.example/"}
    assert http.post(url.replace("tiles.3", "tiles.4"), data=abroad).headers["location"] == "/dashboard"


@pytest.mark.parametrize("word", DEEDS)
def test_nothing_is_done_by_a_form_of_another_site_or_without_proof_or_unconfirmed(word, http):
    deed = DEEDS[word]
    url = f"/dashboard/do/{word}/{deed.plural}/imaging/whatever"
    assert http.post(url, data=_FORM, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert http.post(url, data={"sure": "yes"}).status_code == 403
    unconfirmed = http.post(url, data={"proof": _FORM["proof"]})
    if deed.confirm:
        assert (unconfirmed.status_code, deed.confirm.format(name="whatever") in unescape(unconfirmed.text)) == (
            200,
            True,
        )
    else:
        assert unconfirmed.status_code in (403, 404), "the API has no such object"


def test_who_may_not_is_refused_by_the_api_though_the_form_is_whole(board, apart, http):
    page = http.get("/dashboard/data/datasets/chemistry/spectra.run-11").text
    assert "/dashboard/do/" not in page and "your roles do not let you delete datasets in namespace chemistry" in page
    url = "/dashboard/do/delete/datasets/chemistry/spectra.run-11"
    answer = http.post(url, data={**_FORM, "typed": "spectra.run-11"})
    assert answer.status_code == 403
    assert apart.run(board.client.get(Dataset, "chemistry", "spectra.run-11")) is not None
