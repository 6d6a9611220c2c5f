"""The pages data, policies and audit in a real browser: they fit, they move, they can be used without a mouse."""

import contextlib

import pytest

from atoll.federation.resources import Dataset
from dashboard.accessible import FAULTS
from dashboard.lagoon import made

PAGES = ("data", "data/datasets", "data/transfers", "data/datasets/seismology/shots.2026-11-23",
         "data/gateways/microscopes", "policies", "policies/campus", "reach?cluster=onprem", "audit")  # fmt: skip
# What moves, though less motion was asked for.
_MOVES = "() => document.getAnimations().map((each) => `moves: ${each.animationName}`)"
# What sticks out of the window, but for what scrolls in a frame of its own.
_STICKS_OUT = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
  [...document.querySelectorAll("main *")].filter(each => !each.closest(".scroll, .tabs")
    && each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 90))"""


@contextlib.asynccontextmanager
async def opened(board, browser, **options):
    """Give a page of a browser in which an Admin is signed in."""
    context = await browser.new_context(**options)
    await context.add_cookies([{"name": "atoll-session.0", "value": "admin", "url": board.url}])
    yield await context.new_page()
    await context.close()


@pytest.mark.parametrize(
    ("width", "scheme", "paths"), [(1280, "light", ("data", "policies/campus")), (390, "dark", PAGES)]
)
def test_every_page_fits_its_window_can_be_read_by_all_and_breaks_no_rule_of_the_browser(
    board, apart, browser, width, scheme, paths
):
    async def look():
        said, wrong = [], {}
        window = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme, "reduced_motion": "reduce"}
        async with opened(board, browser, **window) as page:
            page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: said.append(str(error)))
            for path in paths:
                await page.goto(f"{board.url}/dashboard/{path}", wait_until="domcontentloaded")
                found = [fault for check in (_STICKS_OUT, _MOVES, FAULTS) for fault in await page.evaluate(check)]
                wrong |= {path: found} if found else {}
        return wrong, said

    assert apart.run(look()) == ({}, [])


def test_what_changes_is_drawn_anew_without_a_reload_and_what_one_has_opened_stays_open(board, apart, browser):
    def written(last):
        span, feed = {"first": 1, "last": last}, {"gateway": "balances", "stream": "imaging/fresh", "outbox": "one"}
        feeds = [{**feed, "received": last, "intervals": [span], "intervalCount": 1}]
        return made("Dataset", "fresh", "imaging", {}, {"version": 1, "ledger": {"received": last, "feeds": feeds}})

    async def look():
        await board.client.create(written(9))
        async with opened(board, browser) as page:
            await page.goto(f"{board.url}/dashboard/data/datasets/imaging/fresh")
            await page.evaluate("() => { window.stayed = true }")
            await page.click("#ledger summary")
            await page.wait_for_selector("#pulse[data-state=live]")
            await board.client.update_status(written(4321))
            await page.wait_for_selector("#ledger table td:has-text('4\u202f321')")
            return await page.evaluate("() => [window.stayed, document.querySelector('#ledger details').open]")

    assert apart.run(look()) == [True, True]


def test_who_deletes_a_dataset_sees_the_command_and_has_to_type_its_name(board, apart, browser):
    status = {"version": 1, "complete": True, "versions": [{"version": 1, "complete": True, "clusters": ["lab-a"]}]}

    async def look():
        await board.client.create(made("Dataset", "spare", "imaging", {"home": "lab-a"}, status))
        async with opened(board, browser) as page:
            await page.goto(f"{board.url}/dashboard/data/datasets/imaging/spare")
            await page.locator("select[name=choice]").select_option("hpc")
            copied = await page.locator(".command code", has_text="replicate").text_content()
            await page.locator("button.danger").click()
            dialog = page.get_by_role("dialog", name="Delete spare, with its files in every cluster?")
            go = dialog.get_by_role("button", name="Delete")
            assert await go.is_disabled()
            await page.keyboard.type("spare")
            await go.click()
            await page.get_by_text("Delete: spare was told so").wait_for()
        return copied, await board.client.get(Dataset, "imaging", "spare")

    assert apart.run(look()) == ("atoll dataset replicate spare -n imaging --to hpc", None)


def test_without_scripts_a_page_is_read_filtered_and_acted_on(board, apart, browser):
    async def look():
        await board.client.create(made("Dataset", "plain", "imaging", {"home": "lab-a"}, {"version": 1}))
        async with opened(board, browser, java_script_enabled=False) as page:
            await page.goto(f"{board.url}/dashboard/data/datasets")
            await page.get_by_role("searchbox").fill("imaging/plain")
            await page.keyboard.press("Enter")
            await page.get_by_role("link", name="plain").click()
            await page.locator("button.danger").click()
            await page.get_by_label("Type plain to go on").fill("plain")
            await page.locator("button.danger").click()
            await page.get_by_role("heading", name="Not here").wait_for()
        return await board.client.get(Dataset, "imaging", "plain")

    assert apart.run(look()) is None


def test_a_list_is_gone_through_and_filtered_by_keys_alone(board, apart, browser):
    async def look():
        async with opened(board, browser) as page:
            await page.goto(f"{board.url}/dashboard/data/datasets")
            await page.keyboard.press("/")
            await page.keyboard.type("slides")
            await page.wait_for_url("**q=slides**")
            await page.keyboard.press("Escape")
            await page.keyboard.press("j")
            await page.keyboard.press("Enter")
            await page.wait_for_url("**/imaging/slides.6")
            return await page.title()

    assert apart.run(look()) == "slides.6 · Atoll"
