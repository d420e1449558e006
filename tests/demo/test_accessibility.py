"""The page as axe-core and a keyboard see it, in every state: light on a laptop, dark on a phone."""

from importlib.resources import files

import pytest
from playwright.sync_api import expect

from tests.demo.conftest import LAPTOP, PHONE, visiting
from tests.fixtures.visitor import assert_fits, result_of, turn_to, unfold

pytestmark = pytest.mark.browser
OF_GRADIO = {
    "nested-interactive": ".toast-header"  # the header of a message is a button around the one that closes it
}
"""Violations of Gradio's own components: rule, and the only element where it may occur."""
STOPS = ["new-recording", "open-settings", "seek", "handle", "play", "tab", "exports"]
FOCUSED = """() => {
    const at = document.activeElement, style = getComputedStyle(at);
    const part = at.closest('#new-recording, #open-settings, .seek, .handle, .play, [role=tab], .exports');
    const name = part && (part.id.startsWith('kuaihl') ? 'tab' : part.id || part.classList[0]);
    return [name, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2];
}"""


@pytest.fixture(params=["laptop", "phone"])
def visitor(request, browser, app_url):
    viewport, theme = {"laptop": (LAPTOP, "light"), "phone": (PHONE, "dark")}[request.param]
    with visiting(browser, app_url, theme=theme, viewport=viewport, reduced_motion="reduce") as page:
        result_of(page, "recording.mp4")
        page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
        yield page


def violations(page):
    """Return serious and critical violations as axe-core finds them: rule, element, summary."""
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        (rule["id"], node["target"][0], node["failureSummary"])
        for rule in result
        if rule["impact"] in {"serious", "critical"}
        for node in rule["nodes"]
        if OF_GRADIO.get(rule["id"]) != node["target"][0]
    ]


def assert_clean(page):
    for _ in range(5):  # what fades in has no contrast at first
        if not (remaining := violations(page)):
            break
    assert remaining == []
    assert_fits(page)


def test_every_state_is_accessible(visitor):
    page = visitor
    page.locator(".cards .play").first.click()
    for tab in ("Chat", "Transcript", "Why", "Data"):
        turn_to(page, tab)
        assert_clean(page)
    page.evaluate("document.querySelector('.stage video').pause()")
    unfold(page, "#inputs")
    unfold(page, "#settings")
    page.locator("#run").click()
    expect(page.locator(".toast-body")).to_be_visible()
    assert_clean(page)  # failed, with all settings
    page.locator(".toast-close").click()


def test_a_keyboard_reaches_all_and_tab_starts_nothing(visitor):
    page = visitor
    page.evaluate("document.body.tabIndex = -1; document.body.focus(); scrollTo(0, 0)")  # from the top of the page
    order, unseen = [], []
    for _ in range(60):
        page.keyboard.press("Tab")
        part, outlined = page.evaluate(FOCUSED)
        if part and part not in order:
            order.append(part)
        if part and not outlined:
            unseen.append(part)
    assert [part for part in order if part in STOPS] == STOPS
    assert not unseen
    assert page.evaluate("document.querySelector('.stage video').paused")


def test_player_curve_and_cards_fit_a_laptop(visitor):
    if visitor.viewport_size == LAPTOP:
        for width, height in ((1366, 768), (1440, 900)):
            visitor.set_viewport_size({"width": width, "height": height})
            for part in (".stage", ".curve", ".cards", "[role=tabpanel]:not([hidden])", ".exports"):
                bottom = visitor.locator(part).evaluate("part => part.getBoundingClientRect().bottom")
                assert bottom <= height, f"{part} at {width} x {height}"
