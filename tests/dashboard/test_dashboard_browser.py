"""The dashboard in a real Chromium: what a person does with keys and pointer, and what changes by itself."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from benchmarks.dashboard.synthetic import iso, obj

from atoll.hub.dashboard.queues.trend import Sample
from dashboard.accessible import FAULTS
from dashboard.stage import Apart, Stage

PAGES = ("fleet", "clusters/eu-west-000", "queues", "queues/optics", "jobs", "data", "policies", "reach", "audit")
_WORK = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}}


def job(name: str, phase: str, **status: Any) -> dict[str, Any]:
    now = iso(datetime.now(UTC))
    full = {"phase": phase, "startedAt": now, "cluster": "eu-west-000", **status}
    return obj("Job", name, {"queue": "optics.batch", "workload": _WORK}, full, namespace="optics", created=now)


@contextlib.asynccontextmanager
async def opened(browser: Any, *, width: int = 1280, scheme: str = "light") -> AsyncIterator[Any]:
    """Give a page that complains about what its console says, but for an animation that had no time."""
    context = await browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = await context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    await context.close()
    assert not [each for each in problems if not each.startswith("Transition was aborted")]


async def live(page: Any) -> None:
    await page.wait_for_selector("#pulse[data-state=live]")


async def fitting(page: Any, what: str) -> None:
    """Wait until nothing is wider than the window: a chart takes its new width a moment after the window has."""
    end = time.monotonic() + 30
    while too_wide := max(0, await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")):
        assert time.monotonic() < end, f"{what} is {too_wide} px too wide"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_page_fits_its_window_can_be_read_by_all_and_says_nothing_in_the_console(
    width: int, scheme: str, browser: Any, open_stage: Stage, apart: Apart
) -> None:
    async def story() -> None:
        async with opened(browser, width=width, scheme=scheme) as page:
            for path in PAGES:
                answer = await page.goto(f"{open_stage.url}/dashboard/{path}", wait_until="domcontentloaded")
                assert answer.status == 200, path
                for zoomed in {width, max(390, width // 2)}:  # what is zoomed to 200 % is half as wide
                    await page.set_viewport_size({"width": zoomed, "height": 844})
                    await fitting(page, f"{path} at {zoomed}")
                assert await page.locator("h1").count() == 1, path
                assert await page.evaluate(FAULTS) == [], path
                await page.set_viewport_size({"width": width, "height": 844})

    apart.run(story())


def test_a_job_that_changes_is_drawn_anew_without_a_reload(browser: Any, open_stage: Stage, apart: Apart) -> None:
    async def story() -> None:
        await open_stage.change(job("tide", "Running"))
        async with opened(browser) as page:
            await page.goto(f"{open_stage.url}/dashboard/jobs?q=tide")
            await live(page)
            row = page.locator("#job-optics-tide")
            await row.locator("a").first.focus()
            await page.evaluate("window.sameDocument = true")
            await open_stage.change(job("tide", "Failed"))
            await row.get_by_text("Failed").wait_for()
            assert await page.evaluate("window.sameDocument === true")
            assert await page.evaluate("document.activeElement.textContent") == "tide"

    apart.run(story())


def test_a_filter_stands_in_the_url_and_works_while_it_is_typed(browser: Any, open_stage: Stage, apart: Apart) -> None:
    async def story() -> None:
        async with opened(browser) as page:
            await page.goto(f"{open_stage.url}/dashboard/fleet")
            await page.keyboard.press("/")
            await page.keyboard.type("apac-000")
            await page.wait_for_url("**/fleet?q=apac-000*")
            await page.locator("#cluster-eu-west-000").wait_for(state="detached")
            assert await page.locator("tbody tr").count() == 1
            assert await page.evaluate("document.activeElement.name") == "q"
            await page.go_back()
            await page.locator("#cluster-eu-west-000").wait_for()

    apart.run(story())


def test_keys_lead_through_a_table_and_to_what_it_lists(browser: Any, open_stage: Stage, apart: Apart) -> None:
    async def story() -> None:
        async with opened(browser) as page:
            await page.goto(f"{open_stage.url}/dashboard/queues")
            await page.keyboard.press("Tab")
            assert await page.evaluate("document.activeElement.textContent") == "Skip to content"
            for key in ("j", "j", "k", "j"):
                await page.keyboard.press(key)
            names = await page.locator("a[data-row]").all_text_contents()
            assert await page.evaluate("document.activeElement.textContent") == names[1]
            await page.keyboard.press("Enter")
            await page.wait_for_url(f"**/queues/{names[1]}")

    apart.run(story())


def test_the_theme_that_was_chosen_stays(browser: Any, open_stage: Stage, apart: Apart) -> None:
    async def story() -> None:
        async with opened(browser) as page:
            await page.goto(f"{open_stage.url}/dashboard/queues")
            day = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            await page.click("#theme")
            night = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            await page.reload()
            assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == night != day

    apart.run(story())


def test_an_action_is_confirmed_carried_out_and_seen(browser: Any, open_stage: Stage, apart: Apart) -> None:
    async def story() -> None:
        await open_stage.change(job("surge", "Running"))
        async with opened(browser) as page:
            await page.goto(f"{open_stage.url}/dashboard/jobs/optics/surge")
            await live(page)
            button = page.locator("form.act").get_by_role("button", name="Cancel", exact=True)
            asked = page.get_by_role("dialog", name="Cancel surge?")
            await button.click()
            assert await asked.locator("code").text_content() == "atoll job cancel surge -n optics"
            await page.keyboard.press("Enter")  # what is harmless is chosen already
            await asked.wait_for(state="hidden")
            await button.click()
            await asked.get_by_role("button", name="Cancel", exact=True).click()
            await page.get_by_text("Cancel: surge was told so").wait_for()
            await button.wait_for(state="detached")  # what makes no sense any more is gone, without a reload
        stored = open_stage.world.client.store.cache.get("atoll.dev/jobs/", "atoll.dev/jobs/optics/surge")
        assert stored is not None and stored.decode()["spec"]["cancelled"] is True

    apart.run(story())


def test_somebody_signs_in_sees_their_name_and_signs_out(browser: Any, stage: Stage, apart: Apart) -> None:
    async def story() -> None:
        async with opened(browser) as page:
            await page.goto(f"{stage.url}/dashboard/queues")
            await page.get_by_label("Token").fill("token-of-vic")
            await page.keyboard.press("Enter")
            await page.wait_for_url(re.compile("/dashboard/queues$"))
            assert await page.locator(".who").text_content() == "vic"
            await page.get_by_role("button", name="Sign out").click()
            await page.wait_for_url("**/dashboard/login")

    apart.run(story())


def test_a_chart_is_drawn_and_grows_with_what_comes(browser: Any, open_stage: Stage, apart: Apart) -> None:
    async def story() -> None:
        trend, now = open_stage.world.dashboard.sources.trend, datetime.now(UTC)
        for number in range(3):
            trend.take(Sample(now + timedelta(seconds=number), 8, number, 0, 0))
        async with opened(browser) as page:
            await page.goto(f"{open_stage.url}/dashboard/queues")
            await live(page)
            await page.locator("figure.chart canvas").wait_for()
            trend.take(Sample(now + timedelta(seconds=9), 8, 777123, 0, 0))
            await open_stage.change(obj("Queue", "ripple", {}, {}))
            await page.locator('[data-chart*="777123"]').wait_for(state="attached")
            assert await page.locator("figure.chart canvas").count() == 1

    apart.run(story())
