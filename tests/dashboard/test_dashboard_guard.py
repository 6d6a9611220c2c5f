"""What a hostile page, name or form cannot do to the dashboard: sessions, headers, markup, foreign forms."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from benchmarks.dashboard.synthetic import obj

from dashboard.stage import Apart, Stage
from dashboard.visiting import PAGES, SAME, Visit, proof_of


@pytest.mark.parametrize("page", PAGES)
def test_a_page_holds_no_script_and_no_style_of_its_own(page: str, anybody: httpx.Client) -> None:
    answer = anybody.get(f"/dashboard/{page}")
    assert answer.status_code == 200, answer.text
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy and "unsafe" not in policy
    assert not re.search(r"<script(?![^>]* src=)", answer.text)
    assert not re.search(r"\s(style|on[a-z]+)=\"", answer.text)


def _hostile_objects(hostile: str) -> Iterator[dict[str, Any]]:
    """Make objects whose labels, topics, addresses and messages are markup."""
    refuted = {"status": "False", "reason": "R", "message": hostile, "lastTransitionTime": "2026-11-23T12:00:00Z"}
    ready, healthy = {**refuted, "type": "Ready"}, {**refuted, "type": "Healthy"}
    link = {"peer": hostile, "isReady": False, "reason": hostile}
    status = {"phase": "Degraded", "reason": "R", "message": hostile, "links": [link], "conditions": [ready]}
    yield obj("Cluster", "hostile", {}, status, labels={"region": hostile, "site": hostile})
    row = {"stream": "optics/hostile", "problem": hostile}
    yield obj("Gateway", "hostile", {"site": "x"}, {"phase": "Degraded", "conditions": [ready], "ledger": [row]})
    spec = {"gateway": "hostile", "topics": [hostile], "dataset": "d", "home": "eu-west-000"}
    yield obj("Stream", "hostile", spec, {}, namespace="optics")
    source = {
        "gateway": "g",
        "stream": "s",
        "source": hostile,
        "file": hostile,
        "received": 1,
        "bytes": 1,
        "sha256": "",
    }
    ledger = {"received": 1, "sources": [source]}
    known = {"version": 1, "producedBy": hostile, "ledger": ledger, "conditions": [healthy]}
    yield obj("Dataset", "hostile", {"home": "eu-west-000"}, known, namespace="optics")
    copy = {"dataset": "hostile", "version": 1, "source": "eu-west-000", "destination": "apac-000"}
    yield obj("Transfer", "hostile", copy, {"phase": "Failed", "message": hostile}, namespace="optics")
    held = [{"cluster": "hostile", "phase": "Failed", "message": hostile, "lastDrift": hostile}]
    source = {"repository": f"https://git.example/{hostile.replace(' ', '/')}", "path": "policies"}
    yield obj("PolicySet", "hostile", {"source": source}, {"clusters": held, "conditions": [ready]})


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
    for other in _hostile_objects(hostile):
        apart.run(open_stage.change(other))
    pages = (
        *("jobs?q=hostile", "jobs/optics/hostile", "queues/optics", "fleet?q=hostile", "clusters/hostile"),
        *("data?q=hostile", "data/gateways/hostile", "data/datasets?q=hostile", "data/datasets/optics/hostile"),
        *("data/transfers?q=hostile", "policies", "policies/hostile", "reach?cluster=hostile&focus=hostile"),
    )
    for page in pages:
        text = anybody.get(f"/dashboard/{page}").text
        assert "&lt;script&gt;alert(1)" in text or page.startswith("reach"), page
        assert "<script>alert" not in text and "<img src=x" not in text, page


@pytest.mark.parametrize("path", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "vendor", "../../settings.py"])
def test_no_file_outside_of_the_assets_is_given(path: str, anybody: httpx.Client) -> None:
    assert anybody.get(f"/dashboard/static/{path}").status_code == 404


def test_who_is_not_signed_in_is_led_to_the_form_and_back(stage: Stage) -> None:
    with httpx.Client(base_url=stage.url, timeout=30) as http:
        answer = http.get("/dashboard/jobs?state=running")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/dashboard/login?next=%2Fdashboard%2Fjobs%3Fstate%3Drunning"
        assert 'value="/dashboard/jobs?state=running"' in http.get(answer.headers["location"]).text
        part = http.get("/dashboard/jobs?part=rows", headers={"hx-request": "true"})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/dashboard/login")
        assert http.get("/dashboard/live?topics=jobs").status_code == 401


def test_the_credential_is_kept_where_no_script_and_no_other_site_has_it(stage: Stage) -> None:
    with httpx.Client(base_url=stage.url, timeout=30, headers=SAME) as http:
        cookie = http.post("/dashboard/login", data={"token": "token-of-ada"}).headers.get_list("set-cookie")[0]
    assert cookie.startswith("atoll-session.0=token-of-ada;")
    assert {"httponly", "samesite=lax", "path=/dashboard"} <= {part.strip().lower() for part in cookie.split(";")}


def test_behind_a_proxy_that_ends_tls_the_cookie_is_sent_over_tls_only(stage: Stage) -> None:
    headers = {**SAME, "origin": "https://atoll.lab.org"}
    with httpx.Client(base_url=stage.url, timeout=30, headers=headers) as http:
        assert "Secure" in http.post("/dashboard/login", data={"token": "token-of-ada"}).headers["set-cookie"]


@pytest.mark.parametrize(
    ("token", "code"),
    [("nobody-s", 401), ("", 400), ("with a space", 400), ("x" * 40_000, 400)],
    ids=["unknown", "none", "space", "long"],
)
def test_what_is_no_good_credential_signs_nobody_in(token: str, code: int, stage: Stage) -> None:
    with httpx.Client(base_url=stage.url, timeout=30, headers=SAME) as http:
        answer = http.post("/dashboard/login", data={"token": token})
        assert answer.status_code == code
        assert 'role="alert"' in answer.text and not answer.cookies


def test_a_form_of_another_site_signs_nobody_in(stage: Stage) -> None:
    with httpx.Client(base_url=stage.url, timeout=30, headers={"sec-fetch-site": "cross-site"}) as http:
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


def test_a_revoked_token_ends_the_pages_that_are_open(stage: Stage, visit: Visit, apart: Apart) -> None:
    http = visit("vic")
    with http.stream("GET", "/dashboard/live?topics=queues", timeout=30) as answer:
        lines = answer.iter_lines()
        assert "event: hello" in (next(lines), next(lines))
        stage.people.revoked.add("token-of-vic")
        try:
            apart.run(stage.change(obj("Queue", "ebb", {}, {})))
            assert sum(line == "event: changed" for line in lines) <= 1, "it goes on"
        finally:
            stage.people.revoked.clear()


def test_no_form_of_another_site_is_taken_anywhere(stage: Stage, visit: Visit) -> None:
    http, before = visit("ada"), len(stage.audit.ends)
    for path in ("login", "login/provider", "logout", "do/cordon/clusters/-/apac-000"):
        form = {"token": "token-of-vic", "proof": proof_of("ada"), "sure": "yes"}
        for site in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "none"}):
            answer = http.post(f"/dashboard/{path}", data=form, headers=site)
            assert answer.status_code == 403 and "set-cookie" not in answer.headers, (path, site)
    assert len(stage.audit.ends) == before
    assert http.get("/dashboard/fleet").status_code == 200, "nobody else was signed in or out"


def test_every_answer_says_what_a_browser_must_not_do_with_it(stage: Stage, visit: Visit) -> None:
    http = visit("ada")
    paths = (
        "login",
        "logout",
        "fleet",
        "jobs/optics/nobody",
        "no/such/page",
        "static/atoll.css",
        "static/none",
        "do/a",
    )
    for path in paths:
        headers = http.get(f"/dashboard/{path}").headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy, path
        assert headers["x-content-type-options"] == "nosniff", path
        assert "no-store" in headers["cache-control"] or path.startswith("static/"), path


def test_who_signs_out_is_out(visit: Visit) -> None:
    http = visit("vic")
    assert http.post("/dashboard/logout").status_code == 303
    assert http.get("/dashboard/fleet").status_code == 303


@pytest.mark.parametrize("case", ["no proof", "somebody else's proof", "another site"])
def test_a_form_that_is_not_ours_changes_nothing(case: str, stage: Stage, visit: Visit) -> None:
    http, before = visit("ada"), len(stage.audit.ends)
    proofs = {"no proof": "", "somebody else's proof": proof_of("vic"), "another site": proof_of("ada")}
    headers = {"sec-fetch-site": "cross-site"} if case == "another site" else {}
    answer = http.post("/dashboard/do/cordon/clusters/-/apac-000", data={"proof": proofs[case]}, headers=headers)
    assert answer.status_code == 403
    assert len(stage.audit.ends) == before


def test_no_path_below_the_dashboard_reaches_the_api_unguarded(stage: Stage) -> None:
    with httpx.Client(base_url=stage.url, timeout=30) as http:
        for path in ("/dashboard/../apis/atoll.dev/v1alpha1/jobs", "/dashboard/%2e%2e/metrics", "/dashboard//apis"):
            found = http.send(http.build_request("GET", stage.url + path))
            assert found.status_code in (303, 401, 404), (path, urlsplit(path))
