"""The page as axe-core and a keyboard see it: every state, light and dark, on a laptop and on a phone."""

from importlib.resources import files

import pytest
from playwright.sync_api import expect

from tests.fixtures.visitor import upload

pytestmark = pytest.mark.browser
RUN_MS = 240_000

SIZES = {"laptop": (1440, 900), "phone": (390, 844)}
OF_GRADIO = {
    "nested-interactive": ".toast-header",  # the header of a message is a button around the one that closes it
}
"""What gradio's own parts do that neither our HTML nor our CSS can mend: rule and the only place where it may occur."""


@pytest.fixture(params=[(size, theme) for size in SIZES for theme in ("light", "dark")], ids="-".join)
def page(request, browser, app_url):
    size, theme = request.param
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    context.set_default_timeout(RUN_MS)
    page = context.new_page()
    page.goto(f"{app_url}/?__theme={theme}")
    expect(page.locator("#head .model b")).to_be_visible(timeout=RUN_MS)
    yield page
    context.close()


def violations(page):
    """Serious and critical violations as axe-core finds them: rule, place, what is wrong."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        (rule["id"], node["target"][0], node["failureSummary"])
        for rule in found
        if rule["impact"] in {"serious", "critical"}
        for node in rule["nodes"]
        if OF_GRADIO.get(rule["id"]) != node["target"][0]
    ]


def assert_clean(page):
    for _ in range(5):  # what fades in has no contrast yet, and each look takes a while
        if not (found := violations(page)):
            break
    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_no_state_of_the_page_has_a_serious_violation(page, short_recording, short_log):
    assert_clean(page)  # empty

    page.locator("#run").click()
    expect(page.locator(".toast-body")).to_contain_text("Choose a recording first")
    assert_clean(page)  # failed
    page.locator(".toast-close").click()

    upload(page, short_recording, short_log)
    page.locator("#run").click()
    expect(page.locator("#cancel")).to_be_visible()
    assert_clean(page)  # at work
    expect(page.locator("#highlights button").first).to_be_visible(timeout=RUN_MS)
    expect(page.locator("#curve .js-plotly-plot")).to_be_visible()
    expect(page.locator("#status .pending")).to_have_count(0)
    for tab in ("Live", "Alignment", "Segments", "Why", "Curve"):
        page.get_by_role("tab", name=tab).click()
        assert_clean(page)  # with a result
    for name in page.locator("#inputs button.label-wrap").all():
        name.click()
    expect(page.get_by_text("Highlights at most")).to_be_visible()
    assert_clean(page)  # with all settings open


FOCUSED = """() => {
    const at = document.activeElement, style = getComputedStyle(at);
    const part = at.closest('#recording, #path, #comments, #run, #highlights, #downloads, #curve, [role=tab]');
    const name = part && (part.id && part.role !== 'tab' ? part.id : 'tab');
    return [name, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2];
}"""


def test_a_keyboard_reaches_everything_in_order_and_shows_where_it_is(page, short_recording):
    page.locator("#recording input[type=file]").set_input_files(short_recording)
    expect(page.locator("#recording")).to_contain_text("short")
    page.locator("#run").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#highlights button").first).to_be_visible(timeout=RUN_MS)
    expect(page.locator("#curve .js-plotly-plot")).to_be_visible()
    page.evaluate("document.body.tabIndex = -1; document.body.focus()")  # from the top of the page
    order, unseen = [], []
    for _ in range(60):
        page.keyboard.press("Tab")
        part, visible = page.evaluate(FOCUSED)
        if part and part not in order:
            order.append(part)
        if part and not visible:
            unseen.append(part)
    wanted = ["recording", "path", "comments", "run", "highlights", "tab", "downloads"]
    assert [part for part in order if part in wanted] == wanted
    assert not unseen


def test_a_result_fits_one_screen_of_a_laptop(browser, app_url, short_recording, short_log):
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(RUN_MS)
    page = context.new_page()
    page.goto(app_url)
    upload(page, short_recording, short_log)
    page.locator("#run").click()
    expect(page.locator("#curve .js-plotly-plot")).to_be_visible(timeout=RUN_MS)
    parts = {"Curve": "#curve", "Why": "#why", "Live": "#live-curve", "Alignment": "#alignment", "Segments": "#table"}
    for tab, part in parts.items():
        page.get_by_role("tab", name=tab).click()
        if tab == "Live":
            page.locator("#play").click()
            expect(page.locator("#arrived")).to_contain_text("0:02:00 – 0:02:20 has come")
        expect(page.locator(part)).to_be_visible()
        for width, height in ((1366, 768), (1440, 900)):
            page.set_viewport_size({"width": width, "height": height})
            for seen in ("#player", "#highlights", part, "#downloads"):
                bottom = page.locator(seen).evaluate("part => part.getBoundingClientRect().bottom")
                assert bottom <= height, f"{seen} beside {tab} at {width} x {height}"
    context.close()
