"""The pages data, policies and audit in a real browser: they fit, they move, they can be used without a mouse."""

from collections.abc import Iterator

import pytest

from dashboard.lagoon import Lagoon, lagoon, made
from dashboard.stage import Apart, entered

PAGES = ("data", "data/datasets", "data/transfers", "data/datasets/seismology/shots.2026-11-23",
         "data/gateways/microscopes", "policies", "policies/campus", "reach?cluster=onprem", "audit")  # fmt: skip
# What sticks out of the window, but for what scrolls in a frame of its own.
_STICKS_OUT = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
  [...document.querySelectorAll("main *")].filter(each => !each.closest(".scroll, .tabs")
    && each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 90))"""
# Pictures that say nothing to who cannot see them.
_UNNAMED = """() => [...document.querySelectorAll("main svg")].filter(each => !each.getAttribute("aria-label")
    && each.getAttribute("aria-hidden") !== "true").map(each => each.outerHTML.slice(0, 90))"""


@pytest.fixture(scope="module")
def board(apart: Apart) -> Iterator[Lagoon]:
    with entered(apart, lagoon) as found:
        yield found


@pytest.mark.parametrize(
    ("width", "scheme", "paths"), [(1280, "light", ("data", "policies/campus")), (390, "dark", PAGES)]
)
def test_every_page_fits_its_window_names_its_pictures_and_breaks_no_rule_of_the_browser(
    board, apart, browser, width, scheme, paths
):
    async def look():
        context = await browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page, said, wrong = await context.new_page(), [], {}
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        for path in paths:
            await page.goto(f"{board.url}/dashboard/{path}", wait_until="domcontentloaded")
            found = [*await page.evaluate(_STICKS_OUT), *await page.evaluate(_UNNAMED)]
            wrong |= {path: found} if found else {}
        await context.close()
        return wrong, said

    assert apart.run(look()) == ({}, [])


def test_what_changes_is_drawn_anew_without_a_reload_and_what_one_has_opened_stays_open(board, apart, browser):
    def written(last):
        span, feed = {"first": 1, "last": last}, {"gateway": "balances", "stream": "imaging/fresh", "outbox": "one"}
        feeds = [{**feed, "received": last, "intervals": [span], "intervalCount": 1}]
        return made("Dataset", "fresh", "imaging", {}, {"version": 1, "ledger": {"received": last, "feeds": feeds}})

    async def look():
        await board.client.create(written(9))
        page = await browser.new_page()
        await page.goto(f"{board.url}/dashboard/data/datasets/imaging/fresh")
        await page.evaluate("() => { window.stayed = true }")
        await page.click("#ledger summary")
        await page.wait_for_selector("#pulse[data-state=live]")
        await board.client.update_status(written(4321))
        await page.wait_for_selector("#ledger table td:has-text('4\u202f321')")
        seen = await page.evaluate("() => [window.stayed, document.querySelector('#ledger details').open]")
        await page.close()
        return seen

    assert apart.run(look()) == [True, True]


def test_a_list_is_gone_through_and_filtered_by_keys_alone(board, apart, browser):
    async def look():
        page = await browser.new_page()
        await page.goto(f"{board.url}/dashboard/data/datasets")
        await page.keyboard.press("/")
        await page.keyboard.type("slides")
        await page.wait_for_url("**q=slides**")
        await page.keyboard.press("Escape")
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/imaging/slides.6")
        title = await page.title()
        await page.close()
        return title

    assert apart.run(look()) == "slides.6 · Atoll"
