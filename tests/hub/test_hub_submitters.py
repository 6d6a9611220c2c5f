"""Whose jobs are, and whom queues take: set by the hub, kept through every way of writing, refused by name."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from atoll.federation.resources import Dataset, Trigger
from atoll.federation.resources.submitter import SUBMITTER, Submitters
from atoll.hub.access.submitters import refusal
from atoll.hub.controllers.firing_plan import Firing, make_job
from atoll.kubeapi.http.access import User
from hub.access_support import ADMIN, LAB, api, as_user, binding
from hub.support import API, job_spec, manifest

JOBS, TRIGGERS, QUEUES = f"{API}/namespaces/{LAB}/jobs", f"{API}/namespaces/{LAB}/triggers", f"{API}/queues"
ADA, BOB = as_user("ada", "crew"), as_user("bob")
MERGE = {"content-type": "application/merge-patch+json"}
APPLY = {"content-type": "application/apply-patch+yaml"}
FORGED = {SUBMITTER: "bob"}


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with api() as client:
        for made in (binding("writers", "Submitter", "ada", "bob"), binding("ops", "Operator", "olga")):
            assert (await client.post(f"{API}/rolebindings", json=made, headers=ADMIN)).status_code == 201
        yield client


def a_job(name: str, queue: str = "lab", **metadata: Any) -> dict[str, Any]:
    made = manifest("Job", name, job_spec(queue=queue), LAB)
    made["metadata"].update(metadata)
    return made


def submitter(answer: httpx.Response) -> str:
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["metadata"].get("annotations", {}).get(SUBMITTER, ""))


async def name_submitters(http: httpx.AsyncClient, queue: str, **named: Any) -> None:
    body = {"spec": {"submitters": named}}
    answer = await http.patch(f"{QUEUES}/{queue}", json=body, headers={**ADMIN, **MERGE})
    assert answer.status_code == 200, answer.text


async def test_a_job_is_of_whoever_submits_it_whatever_the_request_says(http: httpx.AsyncClient) -> None:
    assert submitter(await http.post(JOBS, json=a_job("plain"), headers=ADA)) == "ada"
    assert submitter(await http.post(JOBS, json=a_job("forged", annotations=FORGED), headers=ADA)) == "ada"
    applied = await http.patch(
        f"{JOBS}/applied?fieldManager=t", json=a_job("applied", annotations=FORGED), headers={**ADA, **APPLY}
    )
    assert submitter(applied) == "ada"


async def test_no_way_of_writing_changes_whose_a_job_is(http: httpx.AsyncClient) -> None:
    """Not a patch, not an update that leaves it out, not another user's, and not the status."""
    await http.post(JOBS, json=a_job("j"), headers=ADA)
    patched = await http.patch(f"{JOBS}/j", json={"metadata": {"annotations": FORGED}}, headers={**BOB, **MERGE})
    assert submitter(patched) == "ada"
    gone = await http.patch(
        f"{JOBS}/j", json={"metadata": {"annotations": None}, "spec": {"held": True}}, headers={**BOB, **MERGE}
    )
    assert submitter(gone) == "ada"
    whole = gone.json()
    whole["metadata"]["annotations"] = {"note": "mine"}
    updated = await http.put(f"{JOBS}/j", json=whole, headers=BOB)
    assert submitter(updated) == "ada" and updated.json()["metadata"]["annotations"]["note"] == "mine"
    status = await http.patch(
        f"{JOBS}/j/status",
        json={"metadata": {"annotations": FORGED}, "status": {"reason": "x"}},
        headers={**as_user("olga"), **MERGE},
    )
    assert submitter(status) == "ada"
    again = await http.patch(
        f"{JOBS}/j?fieldManager=t&force=true", json=a_job("j", annotations=FORGED), headers={**BOB, **APPLY}
    )
    assert submitter(again) == "ada"


async def test_a_dry_run_and_an_impersonation_show_who_would_submit(http: httpx.AsyncClient) -> None:
    assert submitter(await http.post(f"{JOBS}?dryRun=All", json=a_job("dry"), headers=BOB)) == "bob"
    acting = {**ADMIN, "impersonate-user": "ada"}
    assert submitter(await http.post(JOBS, json=a_job("acted"), headers=acting)) == "ada"


async def test_a_queue_takes_jobs_of_those_whom_it_names(http: httpx.AsyncClient) -> None:
    await name_submitters(http, "lab", groups=["crew"])
    assert (await http.post(JOBS, json=a_job("in"), headers=ADA)).status_code == 201
    refused = await http.post(JOBS, json=a_job("out"), headers=BOB)
    assert refused.status_code == 403
    assert 'queue "lab" takes jobs only of group crew (spec.submitters of queue lab)' in refused.json()["message"]
    assert 'not of user "bob"' in refused.json()["message"]
    assert (await http.post(JOBS, json=a_job("out", "night"), headers=BOB)).status_code == 201
    assert (await http.post(JOBS, json=a_job("admins"), headers=ADMIN)).status_code == 201


async def test_whom_a_parent_names_may_submit_below_it(http: httpx.AsyncClient) -> None:
    below = manifest("Queue", "lab.deep", {"parent": "lab", "submitters": {"users": ["bob"]}})
    assert (await http.post(QUEUES, json=below, headers=ADMIN)).status_code == 201
    await name_submitters(http, "lab", groups=["crew"])
    for number, user in enumerate((ADA, BOB)):
        assert (await http.post(JOBS, json=a_job(f"deep-{number}", "lab.deep"), headers=user)).status_code == 201
    stranger = await http.post(JOBS, json=a_job("up"), headers=BOB)
    assert stranger.status_code == 403, "a child's people may not go up"


async def test_who_was_taken_may_still_hold_a_job_when_the_queue_names_others(http: httpx.AsyncClient) -> None:
    await http.post(JOBS, json=a_job("old"), headers=BOB)
    await name_submitters(http, "lab", users=["ada"])
    held = await http.patch(f"{JOBS}/old", json={"spec": {"held": True}}, headers={**BOB, **MERGE})
    assert held.status_code == 200, held.text


def a_trigger(queue: str = "lab", **spec: Any) -> dict[str, Any]:
    return manifest("Trigger", "t", {"job": {"name": "picks", "spec": job_spec(queue=queue)}, **spec}, LAB)


async def test_a_trigger_and_its_jobs_are_of_who_wrote_last_what_it_runs(http: httpx.AsyncClient) -> None:
    assert submitter(await http.post(TRIGGERS, json=a_trigger(), headers=ADA)) == "ada"
    suspended = await http.patch(f"{TRIGGERS}/t", json={"spec": {"suspend": True}}, headers={**BOB, **MERGE})
    assert submitter(suspended) == "ada", "who stops it does not answer for it"
    changed = {"spec": {"job": {"spec": {"priority": 7}}}}
    written = await http.patch(f"{TRIGGERS}/t", json=changed, headers={**BOB, **MERGE})
    assert submitter(written) == "bob"
    dataset = Dataset.model_validate(manifest("Dataset", "d", {}, LAB) | {"status": {"version": 1, "complete": True}})
    job = make_job(Trigger.model_validate(written.json()), Firing("p-d-v1", {}, dataset, 1))
    assert job.metadata.annotations[SUBMITTER] == "bob"


async def test_a_trigger_does_not_lead_into_a_queue_that_names_others(http: httpx.AsyncClient) -> None:
    """Neither by its name, nor by a name that is filled in when it fires."""
    await name_submitters(http, "lab", users=["ada"])
    assert (await http.post(TRIGGERS, json=a_trigger(), headers=BOB)).status_code == 403
    hidden = await http.post(TRIGGERS, json=a_trigger("{dataset}"), headers=BOB)
    assert hidden.status_code == 403 and "cannot be checked" in hidden.json()["message"]
    moved = await http.post(TRIGGERS, json=a_trigger("night"), headers=BOB)
    assert moved.status_code == 201, moved.text
    back = {"spec": {"job": {"spec": {"queue": "lab"}}}}
    assert (await http.patch(f"{TRIGGERS}/t", json=back, headers={**BOB, **MERGE})).status_code == 403


def test_many_who_are_named_are_not_all_listed() -> None:
    """A refusal stays one line."""
    named = Submitters(users=tuple(f"u{number}" for number in range(9)))
    assert refusal(User("bob"), "q", [("q", named)]).count("user u") == 5
    assert refusal(User("u8"), "q", [("q", named)]) == ""
    assert refusal(User("bob"), "q", [("q", Submitters())]) == ""
