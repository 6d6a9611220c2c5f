"""Requests that are made to harm: each is refused as what it is, and none is a mistake of the hub or takes long."""

import time

import orjson

from hub.support import API, LAB, HubClient, job_spec, manifest

_NAMESPACES = "/api/v1/namespaces"
_DIGITS = "9" * 5000


async def test_a_number_without_end_is_a_bad_request(hub: HubClient) -> None:
    """Python reads 4300 digits and no more."""
    for query in (
        f"limit={_DIGITS}",
        f"timeoutSeconds={_DIGITS}&watch=1",
        f"resourceVersion={_DIGITS}",
        f"labelSelector=a>{_DIGITS}",
        "limit=99999999999999999999999",
        "continue=eyJ2IjoiYXRvbGwvdjEiLCJydiI6MWU5OTksImFmdGVyIjoiYSJ9",
    ):
        answer = await hub.http.get(f"{_NAMESPACES}?{query}")
        assert answer.status_code == 400, (query[:40], answer.text)


async def test_whatever_is_stored_can_be_given_in_every_form(hub: HubClient) -> None:
    """Between what is too deep to be stored and what is too deep to be answered there is nothing."""
    stored = 0
    for depth in (150, 200, 225, 230, 235, 240, 245, 250, 252, 254, 300, 1000, 1100):
        spec = b'{"a":' * depth + b"1" + b"}" * depth
        body = b'{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"d%d"},"spec":%b}' % (depth, spec)
        answer = await hub.http.post(_NAMESPACES, content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (201, 400), answer.text
        stored += answer.status_code == 201
    assert stored > 2
    for accept in ("application/json", "application/yaml", "application/json;as=Table;g=meta.k8s.io;v=v1"):
        answer = await hub.http.get(_NAMESPACES, headers={"accept": accept})
        assert answer.status_code == 200, answer.text


async def test_a_body_that_is_wrong_in_everything_is_answered_soon_and_in_short(hub: HubClient) -> None:
    """A hint at what was meant, for a quarter of a million fields, took half a minute."""
    spec = job_spec() | {f"inputz{number}": 1 for number in range(20_000)}
    body = orjson.dumps(manifest("Job", "j", spec, LAB))
    started = time.process_time()
    answer = await hub.http.post(f"{API}/namespaces/{LAB}/jobs", content=body)
    assert time.process_time() - started < 3
    causes = answer.json()["details"]["causes"]
    assert answer.status_code == 422 and len(causes) == 101
    assert causes[0]["field"] == "spec.inputz0" and "did you mean inputs" in causes[0]["message"]
    assert causes[-1] == {
        "reason": "FieldValueInvalid",
        "field": "spec.inputz100",
        "message": "and 19900 more are wrong from here on: mend the others first",
    }


async def test_a_hub_that_enrols_nobody_says_so_to_whoever_asks(hub: HubClient) -> None:
    """The path is open to all; where nothing serves it, it is not found."""
    assert (await hub.http.post("/enrol", json={"token": "x"})).status_code == 404


async def test_lists_that_are_merged_take_as_long_as_they_are(hub: HubClient) -> None:
    """Compared item by item, these took a minute, and the hub lost its lease."""
    assert (await hub.http.post(_NAMESPACES, json={"metadata": {"name": "long"}})).status_code == 201
    strategic = {"content-type": "application/strategic-merge-patch+json"}
    started = time.process_time()
    for letter in "ab":
        body = orjson.dumps({"metadata": {"finalizers": [f"x/{letter}{number}" for number in range(8_000)]}})
        answer = await hub.http.patch(f"{_NAMESPACES}/long", content=body, headers=strategic)
        assert answer.status_code == 200, answer.text
    assert time.process_time() - started < 3
    assert len(answer.json()["metadata"]["finalizers"]) >= 16_000
