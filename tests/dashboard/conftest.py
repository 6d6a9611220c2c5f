"""What the tests of the dashboard share: three federations in memory, and one browser, for the whole session."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from atoll.hub.access import roles
from atoll.hub.access.grant import Grant
from atoll.kubeapi.http.access import Access, User
from dashboard.lagoon import Lagoon, lagoon
from dashboard.stage import Apart, Stage, entered
from dashboard.visiting import SAME, Visit

_GRANTS = {
    "admin": (Grant("Admin"),),
    "viewer": (Grant("Viewer"),),
    "chemist": (Grant("Submitter", namespaces=("chemistry",)),),
    "grace": (Grant("Submitter", namespaces=("imaging",)), Grant("Viewer")),
}

# Software rendering on loopback: no GPU, no service of the browser's maker.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def apart() -> Iterator[Apart]:
    """A loop that lives as long as the session."""
    found = Apart()
    yield found
    found.close()


@pytest.fixture(scope="session")
def open_stage(apart: Apart) -> Iterator[Stage]:
    """A federation that lets everybody in; tests leave its objects as they are, or use names of their own."""
    with entered(apart, lambda: Stage(signs_in=False).served()) as stage:
        yield stage


@pytest.fixture(scope="session")
def stage(apart: Apart) -> Iterator[Stage]:
    """One where people sign in."""
    with entered(apart, lambda: Stage(signs_in=True).served()) as found:
        yield found


class _ByGrants:
    """Knows some users by their tokens, which are their names, and decides by their roles."""

    async def authenticate(self, request: Any) -> User | None:
        name = request.headers.get("authorization", "").removeprefix("Bearer ")
        return User(name) if name in _GRANTS else None

    async def authorize(self, user: User, action: Any) -> Any:
        return roles.allowed(_GRANTS[user.name], action)

    async def rules(self, user: User, namespace: str) -> Any:
        return roles.rules(_GRANTS[user.name], namespace)


@pytest.fixture(scope="session")
def board(apart: Apart) -> Iterator[Lagoon]:
    """One with labs, datasets, policies and audit records, where people sign in by their name as the cookie."""
    access = _ByGrants()
    with entered(apart, lambda: lagoon(access=Access(access, access))) as found:
        yield found


@pytest.fixture
def anybody(open_stage: Stage) -> Iterator[httpx.Client]:
    """A browser where nobody signs in."""
    with httpx.Client(base_url=open_stage.url, timeout=30, headers={"accept": "text/html,*/*"}) as http:
        yield http


@pytest.fixture
def visit(stage: Stage) -> Iterator[Visit]:
    """Sign somebody in, as a browser does."""
    opened: list[httpx.Client] = []

    def sign_in(name: str) -> httpx.Client:
        http = httpx.Client(base_url=stage.url, timeout=30, headers={"accept": "text/html,*/*", **SAME})
        opened.append(http)
        answer = http.post("/dashboard/login", data={"token": f"token-of-{name}", "next": "/dashboard/jobs"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/jobs"), answer.text
        return http

    yield sign_in
    for http in opened:
        http.close()


@pytest.fixture(scope="session")
def browser(apart: Apart) -> Iterator[Any]:
    """A Chromium; its pages are used in `apart`."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("needs Debian's chromium (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.async_api")

    @contextlib.asynccontextmanager
    async def launched() -> AsyncIterator[Any]:
        async with playwright.async_playwright() as driver:
            chromium = await driver.chromium.launch(executable_path=found, args=list(_FLAGS))
            yield chromium
            await chromium.close()

    with entered(apart, launched) as chromium:
        yield chromium
