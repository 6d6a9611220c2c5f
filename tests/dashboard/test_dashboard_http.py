"""The dashboard over HTTP: what a browser gets, what somebody sees, and what becomes of an action."""

import hashlib
import re
from pathlib import Path

import httpx
import pytest

from atoll.hub.dashboard.rendering import STATIC
from dashboard.stage import Stage
from dashboard.visiting import PAGES, Visit, proof_of


def test_a_browser_is_led_from_the_root_to_the_first_page(anybody: httpx.Client) -> None:
    answer = anybody.get("/", follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, "/dashboard/fleet")


def test_clients_of_the_api_find_its_paths_as_they_were(anybody: httpx.Client) -> None:
    root = anybody.get("/", headers={"accept": "application/json"})
    assert root.status_code != 303
    assert anybody.get("/apis/atoll.dev/v1alpha1/clusters").json()["kind"] == "ClusterList"
    assert anybody.get("/dashboards").json()["kind"] == "Status"


@pytest.mark.parametrize("page", PAGES)
def test_every_live_part_of_a_page_can_be_drawn_by_itself(page: str, anybody: httpx.Client) -> None:
    whole = anybody.get(f"/dashboard/{page}").text
    parts = re.findall(r'id="([\w-]+)" data-live="([\w ]+)" hx-get="([^"]+)"', whole)
    assert parts or page == "audit", "a page shows what is now"
    for name, _topics, url in parts:
        part = anybody.get(url.replace("&amp;", "&")).text.strip()
        assert part.startswith("<") and f'id="{name}"' in part.partition(">")[0] and "<html" not in part


def test_what_does_not_exist_is_said_with_the_command_that_lists_what_does(anybody: httpx.Client) -> None:
    answer = anybody.get("/dashboard/jobs/optics/nobody")
    assert answer.status_code == 404
    assert "atoll job list -n optics" in answer.text


def test_assets_are_kept_for_ever_under_a_name_that_changes_with_them(anybody: httpx.Client) -> None:
    page = anybody.get("/dashboard/fleet").text
    for url in re.findall(r'(?:src|href)="(/dashboard/static/[^"#]+)', page):
        answer = anybody.get(url)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"], url


def test_what_others_wrote_is_as_they_published_it() -> None:
    listed = dict(re.findall(r"\| (\S+) \|.*\| ([0-9a-f]{64}) \|", (STATIC / "vendor/README.md").read_text()))
    there = {path.name for path in Path(STATIC / "vendor").iterdir() if path.suffix in (".js", ".css")}
    assert there == set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest, name


def test_who_has_a_role_in_one_namespace_sees_the_jobs_of_no_other(visit: Visit) -> None:
    rows = re.findall(r'<tr id="job-([a-z]+)-j', visit("olga").get("/dashboard/jobs").text)
    assert set(rows) == {"optics"}
    everything = re.findall(r'<tr id="job-([a-z]+)-j', visit("vic").get("/dashboard/jobs").text)
    assert len(set(everything)) > 1


def test_what_somebody_may_not_do_has_no_button_but_the_reason_and_the_command(visit: Visit) -> None:
    page = visit("vic").get("/dashboard/clusters/eu-west-000").text
    assert "/dashboard/do/" not in page
    assert "your roles do not let you patch clusters: an Admin grants one by a RoleBinding" in page
    assert "atoll cluster drain eu-west-000" in page
    theirs = visit("ada").get("/dashboard/clusters/eu-west-000").text
    assert "/dashboard/do/drain/" in theirs and "your roles do not let you" not in theirs


def test_an_action_is_carried_out_and_recorded_as_the_user_s_own(stage: Stage, visit: Visit) -> None:
    http = visit("ada")
    form = {"proof": proof_of("ada"), "sure": "yes"}
    assert f'value="{form["proof"]}"' in http.get("/dashboard/clusters/eu-north-000").text
    answer = http.post("/dashboard/do/drain/clusters/-/eu-north-000", data=form, headers={"hx-request": "true"})
    assert answer.status_code == 200, answer.text
    spec = http.get("/apis/atoll.dev/v1alpha1/clusters/eu-north-000", headers=_bearer("ada")).json()["spec"]
    assert (spec["unschedulable"], spec["draining"], spec["evict"]) == (True, True, "ByPolicy")
    mutation, outcome = stage.audit.ends[-1]
    assert (mutation.user.name, mutation.action.verb, outcome.code) == ("ada", "patch", 200)
    assert mutation.source == "127.0.0.1" and mutation.user_agent.startswith("python-httpx")
    again = http.post("/dashboard/do/drain/clusters/-/eu-north-000", data=form)
    assert again.status_code == 409 and "it is being drained" in again.text


def _bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer token-of-{name}"}


def test_an_action_that_the_api_refuses_is_refused_whatever_the_page_showed(stage: Stage, visit: Visit) -> None:
    http = visit("vic")
    answer = http.post("/dashboard/do/cordon/clusters/-/eu-west-000", data={"proof": proof_of("vic")})
    assert answer.status_code == 403 and "granted is only Viewer" in answer.text
    assert stage.audit.ends[-1][1].code == 403


@pytest.mark.parametrize("path", ["cordon/jobs/optics/x", "destroy/clusters/-/x", "cordon/clusters/-/nobody"])
def test_an_action_that_does_not_exist_or_is_about_nothing_is_not_found(path: str, visit: Visit) -> None:
    http = visit("ada")
    assert http.post(f"/dashboard/do/{path}", data={"proof": proof_of("ada")}).status_code == 404
