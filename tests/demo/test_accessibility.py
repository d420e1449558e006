"""The page as axe-core and a keyboard see it, in every state: light on a laptop, dark on a phone."""

from importlib.resources import files

import pytest
from playwright.sync_api import expect

from tests.demo.conftest import LAPTOP, PHONE, rank_by_reaction, visiting
from tests.fixtures.visitor import RUN_MS, assert_fits, turn_to, unfold, upload

pytestmark = pytest.mark.browser
OF_GRADIO = {
    "nested-interactive": ".toast-header"  # the header of a message is a button around the one that closes it
}
"""Violations of Gradio's own components: rule, and the only element where it may occur."""
TABS = {
    "Live": "#live-curve",
    "Alignment": "#alignment",
    "Segments": "#table",
    "Why": "#explanation",
    "Curve": "#curve",
}
FOCUSED = """() => {
    const at = document.activeElement, style = getComputedStyle(at);
    const part = at.closest('#recording, #path, #comments, #run, #highlights, #downloads, #curve, [role=tab]');
    const name = part && (part.id && part.role !== 'tab' ? part.id : 'tab');
    return [name, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2];
}"""


@pytest.fixture(params=["laptop", "phone"])
def visitor(request, browser, app_url):
    viewport, theme = {"laptop": (LAPTOP, "light"), "phone": (PHONE, "dark")}[request.param]
    with visiting(browser, app_url, theme=theme, viewport=viewport, reduced_motion="reduce") as page:
        expect(page.locator("#head .model b")).to_be_visible(timeout=RUN_MS)
        page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
        yield page


def violations(page):
    """Return serious and critical violations as axe-core finds them: rule, element, summary."""
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        (rule["id"], node["target"][0], node["failureSummary"])
        for rule in found
        if rule["impact"] in {"serious", "critical"}
        for node in rule["nodes"]
        if OF_GRADIO.get(rule["id"]) != node["target"][0]
    ]


def assert_clean(page):
    for _ in range(5):  # what fades in has no contrast at first
        if not (found := violations(page)):
            break
    assert found == []
    assert_fits(page)


def assert_fits_one_screen(page, part):
    for width, height in ((1366, 768), (1440, 900)):
        page.set_viewport_size({"width": width, "height": height})
        for visible in ("#player", "#highlights", part, "#downloads"):
            bottom = page.locator(visible).evaluate("part => part.getBoundingClientRect().bottom")
            assert bottom <= height, f"{visible} beside {part} at {width} x {height}"


def test_every_state_is_accessible_and_a_result_fits_a_laptop(visitor, short_recording, short_log):
    page = visitor
    assert_clean(page)  # empty

    page.locator("#run").click()
    expect(page.locator(".toast-body")).to_be_visible()
    assert_clean(page)  # failed
    page.locator(".toast-close").click()

    upload(page, short_recording, short_log)
    page.locator("#run").click()
    expect(page.locator("#cancel")).to_be_visible()
    assert_clean(page)  # running
    expect(page.locator("#curve .js-plotly-plot")).to_be_visible(timeout=RUN_MS)
    expect(page.locator("#status .pending")).to_have_count(0)
    unfold(page, "#settings")
    rank_by_reaction(page)
    page.locator("#settings button").first.click()
    for tab, part in TABS.items():
        turn_to(page, tab)
        if tab == "Live":
            page.locator("#replay").click()
            expect(page.locator("#live-text")).to_contain_text("0:02:00 – 0:02:20")
        expect(page.locator(part)).to_be_visible()
        assert_clean(page)
        if page.viewport_size == LAPTOP:
            assert_fits_one_screen(page, part)

    page.evaluate("document.body.tabIndex = -1; document.body.focus(); scrollTo(0, 0)")  # from the top of the page
    order, unseen = [], []
    for _ in range(60):
        page.keyboard.press("Tab")
        part, outlined = page.evaluate(FOCUSED)
        if part and part not in order:
            order.append(part)
        if part and not outlined:
            unseen.append(part)
    expected = ["recording", "path", "comments", "run", "highlights", "tab", "downloads"]
    assert [part for part in order if part in expected] == expected
    assert not unseen

    for name in page.locator("#inputs button.label-wrap").all():
        name.click()
    expect(page.get_by_role("slider", name="Padding")).to_be_visible()
    assert_clean(page)  # with all settings open
