"""What the tests of the dashboard share: two federations in memory, and one browser, for the whole session."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dashboard.stage import Apart, Stage, entered

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
