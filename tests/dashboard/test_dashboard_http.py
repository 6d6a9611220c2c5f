"""The dashboard over HTTP: who is let in, what they see, what they can do, and what a hostile page or name cannot."""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from benchmarks.dashboard.synthetic import obj

from atoll.hub.dashboard.rendering import STATIC
from dashboard.stage import Apart, Stage

PAGES = ("fleet", "queues", "jobs", "clusters/eu-west-000", "queues/optics", "data", "policies", "audit")
Visit = Callable[[str], httpx.Client]
SAME = {"sec-fetch-site": "same-origin"}


@pytest.fixture
def anybody(open_stage: Stage) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=open_stage.url, headers={"accept": "text/html,*/*"}) as http:
        yield http


@pytest.fixture
def visit(stage: Stage) -> Iterator[Visit]:
    """Sign somebody in, as a browser does."""
    opened: list[httpx.Client] = []

    def sign_in(name: str) -> httpx.Client:
        http = httpx.Client(base_url=stage.url, headers={"accept": "text/html,*/*", **SAME})
        opened.append(http)
        answer = http.post("/dashboard/login", data={"token": f"token-of-{name}", "next": "/dashboard/jobs"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/jobs"), answer.text
        return http

    yield sign_in
    for http in opened:
        http.close()


def proof_in(page: str) -> str:
    return re.findall(r'name="proof" value="([0-9a-f]+)"', page)[0]


def test_a_browser_is_led_from_the_root_to_the_first_page(anybody: httpx.Client) -> None:
    answer = anybody.get("/", follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, "/dashboard/fleet")


def test_clients_of_the_api_find_its_paths_as_they_were(anybody: httpx.Client) -> None:
    root = anybody.get("/", headers={"accept": "application/json"})
    assert root.status_code != 303
    assert anybody.get("/apis/atoll.dev/v1alpha1/clusters").json()["kind"] == "ClusterList"
    assert anybody.get("/dashboards").json()["kind"] == "Status"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_holds_no_script_and_no_style_of_its_own(page: str, anybody: httpx.Client) -> None:
    answer = anybody.get(f"/dashboard/{page}")
    assert answer.status_code == 200, answer.text
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy and "unsafe" not in policy
    assert not re.search(r"<script(?![^>]* src=)", answer.text)
    assert not re.search(r"\s(style|on[a-z]+)=\"", answer.text)


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


def test_a_name_or_message_that_is_markup_is_shown_and_not_run(
    anybody: httpx.Client, open_stage: Stage, apart: Apart
) -> None:
    hostile = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    status = {
        "phase": "Pending",
        "reason": hostile,
        "message": hostile,
        "decision": {"clusters": [{"cluster": hostile}]},
    }
    workload = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {"template": {"spec": {"containers": [{"name": "a"}]}}},
    }
    marks = {"atoll.dev/submitter": hostile}
    job = obj(
        "Job", "hostile", {"queue": "optics", "workload": workload}, status, namespace="optics", annotations=marks
    )
    apart.run(open_stage.change(job))
    for page in ("jobs?q=hostile", "jobs/optics/hostile", "queues/optics"):
        text = anybody.get(f"/dashboard/{page}").text
        assert "&lt;script&gt;alert(1)" in text, page
        assert "<script>alert" not in text and "<img src=x" not in text


def test_assets_are_kept_for_ever_under_a_name_that_changes_with_them(anybody: httpx.Client) -> None:
    page = anybody.get("/dashboard/fleet").text
    for url in re.findall(r'(?:src|href)="(/dashboard/static/[^"#]+)', page):
        answer = anybody.get(url)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"], url


@pytest.mark.parametrize("path", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "vendor", "../../settings.py"])
def test_no_file_outside_of_the_assets_is_given(path: str, anybody: httpx.Client) -> None:
    assert anybody.get(f"/dashboard/static/{path}").status_code == 404


def test_what_others_wrote_is_as_they_published_it() -> None:
    listed = dict(re.findall(r"\| (\S+) \|.*\| ([0-9a-f]{64}) \|", (STATIC / "vendor/README.md").read_text()))
    there = {path.name for path in Path(STATIC / "vendor").iterdir() if path.suffix in (".js", ".css")}
    assert there == set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest, name


def test_who_is_not_signed_in_is_led_to_the_form_and_back(stage: Stage) -> None:
    with httpx.Client(base_url=stage.url) as http:
        answer = http.get("/dashboard/jobs?state=running")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/dashboard/login?next=%2Fdashboard%2Fjobs%3Fstate%3Drunning"
        assert 'value="/dashboard/jobs?state=running"' in http.get(answer.headers["location"]).text
        part = http.get("/dashboard/jobs?part=rows", headers={"hx-request": "true"})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/dashboard/login")
        assert http.get("/dashboard/live?topics=jobs").status_code == 401


def test_the_credential_is_kept_where_no_script_and_no_other_site_has_it(stage: Stage) -> None:
    with httpx.Client(base_url=stage.url, headers=SAME) as http:
        cookie = http.post("/dashboard/login", data={"token": "token-of-ada"}).headers.get_list("set-cookie")[0]
    assert cookie.startswith("atoll-session.0=token-of-ada;")
    assert {"httponly", "samesite=lax", "path=/dashboard"} <= {part.strip().lower() for part in cookie.split(";")}


def test_behind_a_proxy_that_ends_tls_the_cookie_is_sent_over_tls_only(stage: Stage) -> None:
    headers = {**SAME, "origin": "https://atoll.lab.org"}
    with httpx.Client(base_url=stage.url, headers=headers) as http:
        assert "Secure" in http.post("/dashboard/login", data={"token": "token-of-ada"}).headers["set-cookie"]


@pytest.mark.parametrize(
    ("token", "code"),
    [("nobody-s", 401), ("", 400), ("with a space", 400), ("x" * 40_000, 400)],
    ids=["unknown", "none", "space", "long"],
)
def test_what_is_no_good_credential_signs_nobody_in(token: str, code: int, stage: Stage) -> None:
    with httpx.Client(base_url=stage.url, headers=SAME) as http:
        answer = http.post("/dashboard/login", data={"token": token})
        assert answer.status_code == code
        assert 'role="alert"' in answer.text and not answer.cookies


def test_a_form_of_another_site_signs_nobody_in(stage: Stage) -> None:
    with httpx.Client(base_url=stage.url, headers={"sec-fetch-site": "cross-site"}) as http:
        answer = http.post("/dashboard/login", data={"token": "token-of-ada"})
        assert answer.status_code == 403 and not answer.cookies


def test_a_revoked_token_is_signed_out_at_once(stage: Stage, visit: Visit) -> None:
    http = visit("vic")
    assert http.get("/dashboard/fleet").status_code == 200
    stage.people.revoked.add("token-of-vic")
    try:
        assert http.get("/dashboard/fleet").status_code == 303
    finally:
        stage.people.revoked.clear()


def test_who_signs_out_is_out(visit: Visit) -> None:
    http = visit("vic")
    assert http.post("/dashboard/logout").status_code == 303
    assert http.get("/dashboard/fleet").status_code == 303


def test_who_has_a_role_in_one_namespace_sees_the_jobs_of_no_other(visit: Visit) -> None:
    rows = re.findall(r'<tr id="job-([a-z]+)-j', visit("olga").get("/dashboard/jobs").text)
    assert set(rows) == {"optics"}
    everything = re.findall(r'<tr id="job-([a-z]+)-j', visit("vic").get("/dashboard/jobs").text)
    assert len(set(everything)) > 1


def test_what_somebody_may_not_do_is_there_with_the_reason_and_the_command(visit: Visit) -> None:
    page = visit("vic").get("/dashboard/clusters/eu-west-000").text
    assert re.search(r"<button[^>]* disabled title=\"your roles do not let you patch clusters", page)
    assert "atoll cluster drain eu-west-000" in page
    assert "disabled" not in visit("ada").get("/dashboard/clusters/eu-west-000").text


def test_an_action_is_carried_out_and_recorded_as_the_user_s_own(stage: Stage, visit: Visit) -> None:
    http = visit("ada")
    proof = proof_in(http.get("/dashboard/clusters/eu-north-000").text)
    answer = http.post(
        "/dashboard/do/drain/clusters/-/eu-north-000", data={"proof": proof}, headers={"hx-request": "true"}
    )
    assert answer.status_code == 200, answer.text
    spec = http.get("/apis/atoll.dev/v1alpha1/clusters/eu-north-000", headers=_bearer("ada")).json()["spec"]
    assert (spec["unschedulable"], spec["draining"], spec["evict"]) == (True, True, "ByPolicy")
    mutation, outcome = stage.audit.ends[-1]
    assert (mutation.user.name, mutation.action.verb, outcome.code) == ("ada", "patch", 200)
    assert mutation.source == "127.0.0.1" and mutation.user_agent.startswith("python-httpx")
    again = http.post("/dashboard/do/drain/clusters/-/eu-north-000", data={"proof": proof})
    assert again.status_code == 409 and "it is being drained" in again.text


def _bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer token-of-{name}"}


def test_an_action_that_the_api_refuses_is_refused_whatever_the_page_showed(stage: Stage, visit: Visit) -> None:
    http = visit("vic")
    proof = proof_in(http.get("/dashboard/clusters/eu-west-000").text)
    answer = http.post("/dashboard/do/cordon/clusters/-/eu-west-000", data={"proof": proof})
    assert answer.status_code == 403 and "granted is only Viewer" in answer.text
    assert stage.audit.ends[-1][1].code == 403


@pytest.mark.parametrize("case", ["no proof", "somebody else's proof", "another site"])
def test_a_form_that_is_not_ours_changes_nothing(case: str, stage: Stage, visit: Visit) -> None:
    http, before = visit("ada"), len(stage.audit.ends)
    own, others = (proof_in(visit(name).get("/dashboard/clusters/apac-000").text) for name in ("ada", "vic"))
    form = {"no proof": {}, "somebody else's proof": {"proof": others}, "another site": {"proof": own}}[case]
    headers = {"sec-fetch-site": "cross-site"} if case == "another site" else {}
    answer = http.post("/dashboard/do/cordon/clusters/-/apac-000", data=form, headers=headers)
    assert answer.status_code == 403
    assert len(stage.audit.ends) == before


@pytest.mark.parametrize("path", ["cordon/jobs/optics/x", "destroy/clusters/-/x", "cordon/clusters/-/nobody"])
def test_an_action_that_does_not_exist_or_is_about_nothing_is_not_found(path: str, visit: Visit) -> None:
    http = visit("ada")
    proof = proof_in(http.get("/dashboard/clusters/eu-west-000").text)
    assert http.post(f"/dashboard/do/{path}", data={"proof": proof}).status_code == 404


def test_no_path_below_the_dashboard_reaches_the_api_unguarded(stage: Stage) -> None:
    with httpx.Client(base_url=stage.url) as http:
        for path in ("/dashboard/../apis/atoll.dev/v1alpha1/jobs", "/dashboard/%2e%2e/metrics", "/dashboard//apis"):
            found = http.send(http.build_request("GET", stage.url + path))
            assert found.status_code in (303, 401, 404), (path, urlsplit(path))
