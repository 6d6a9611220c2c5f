"""Other ways to the same servers, as `--connect-to` names them."""

import pytest

from atoll.federation.bus.routes import DIRECT, Routes
from atoll.federation.errors import InvalidInput

ROUTES = Routes.parse(["hub.example.org:8700=127.0.0.1:1001", "10.0.0.1:4222=127.0.0.1:1002"])
CASES = {
    "a port that is named": ("https://hub.example.org:8700/enrol", "https://127.0.0.1:1001/enrol"),
    "a port that the scheme implies": ("nats://10.0.0.1", "nats://127.0.0.1:1002"),
    "another port of the host": ("https://hub.example.org:443", "https://hub.example.org:443"),
    "another host": ("tls://10.0.0.2:4222", "tls://10.0.0.2:4222"),
    "several servers": ("tls://10.0.0.1:4222,tls://10.0.0.2:4222", "tls://127.0.0.1:1002,tls://10.0.0.2:4222"),
    "letters of either case": ("https://HUB.example.org:8700", "https://127.0.0.1:1001"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_url_leads_where_its_address_is_routed(case: str) -> None:
    """Only the address changes, and only where exactly it is routed."""
    told, dialled = CASES[case]
    assert ROUTES.url(told) == dialled
    assert DIRECT.url(told) == told


@pytest.mark.parametrize(
    "text", ["", "a:1", "a=b", "a:1=b", "a:1=b:0", "a:1=b:70000", ":1=b:2", "a:1=b:2=c:3", "a:x=b:2"]
)
def test_a_route_of_another_form_is_refused(text: str) -> None:
    """The message shows the form."""
    with pytest.raises(InvalidInput, match="should be HOST:PORT=HOST:PORT"):
        Routes.parse([text])
