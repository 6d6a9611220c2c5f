"""A server that asks nobody who they are serves the programs of its machine, and no page of another site."""

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from atoll.kubeapi.http.local_only import LocalOnly, why_not

NAMES = ("kubernetes", "kubernetes.default.svc")
HERE = "127.0.0.1:8001"
SERVED = {
    "by its address": {"host": HERE},
    "by its address of six": {"host": "[::1]:8001"},
    "by another address that was forwarded to it": {"host": "10.1.2.3"},
    "as localhost": {"host": "LocalHost:8001"},
    "as localhost, written to its end": {"host": "localhost.:8001"},
    "by a name below localhost": {"host": "atoll.localhost:8001"},
    "by a name that it was given": {"host": "kubernetes.default.svc"},
    "a program that names no host": {},
    "a page of its own": {"host": HERE, "origin": f"http://{HERE}"},
    "a page of its own behind a proxy": {"host": HERE, "origin": "https://lab", "sec-fetch-site": "same-origin"},
    "a link on another site": {"host": HERE, "sec-fetch-site": "cross-site"},
}
REFUSED = {
    "a name that leads here": {"host": "evil.example:8001"},
    "a name that leads here, with its own page": {"host": "evil.example", "origin": "http://evil.example"},
    "a name that ends like ours": {"host": "evillocalhost"},
    "a name that begins like ours": {"host": "localhost.evil.example"},
    "a name with an address in it": {"host": "127.0.0.1.evil.example"},
    "user and password before a name": {"host": "127.0.0.1@evil.example"},
    "a host that is none": {"host": "[::1"},
    "no name": {"host": ""},
    "a page of another site": {"host": HERE, "origin": "https://evil.example"},
    "a page of another program here": {"host": HERE, "origin": "http://127.0.0.1:3000"},
    "a page without a site": {"host": HERE, "origin": "null"},
    "a page that says where it is from": {"host": HERE, "origin": "http://[", "sec-fetch-site": "cross-site"},
}


@pytest.mark.parametrize("who", SERVED)
def test_what_a_program_or_a_page_of_ours_sends_is_served(who: str) -> None:
    assert why_not(Headers(SERVED[who]), NAMES) == ""


@pytest.mark.parametrize("who", REFUSED)
def test_what_a_page_of_another_site_can_send_is_refused(who: str) -> None:
    assert "asks nobody who they are" in why_not(Headers(REFUSED[who]), NAMES)


def test_one_good_host_beside_a_bad_one_does_not_help() -> None:
    assert why_not(Headers(raw=[(b"host", b"localhost"), (b"host", b"evil.example")]), NAMES)


def test_with_a_certificate_the_browser_looks_at_the_name_and_we_at_the_page() -> None:
    assert why_not(Headers({"host": "hub.lab"}), None) == ""
    assert why_not(Headers({"host": "hub.lab", "origin": "https://evil.example"}), None)


async def test_a_refusal_is_an_answer_that_kubectl_can_show() -> None:
    transport = httpx.ASGITransport(LocalOnly(PlainTextResponse("secret")))
    async with httpx.AsyncClient(transport=transport) as http:
        assert (await http.get(f"http://{HERE}/x")).text == "secret"
        refused = await http.get("http://evil.example/x")
    assert refused.status_code == 403
    assert (refused.json()["kind"], refused.json()["reason"]) == ("Status", "Forbidden")
    assert "use 127.0.0.1 or localhost" in refused.json()["message"]
