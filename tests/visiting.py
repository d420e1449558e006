"""What visitors do with the page: give files, press Run, choose, turn to a tab."""

from playwright.sync_api import expect

RUN_MS = 180_000


def upload(page, recording, log=None):
    """Give a recording and its log, and wait until the server has them."""
    for field, file in (("recording", recording), ("comments", log)):
        if file:
            page.locator(f"#{field} input[type=file]").set_input_files(file)
            # its name is there as soon as it is being sent, this when it has come
            expect(page.locator(f"#{field}").get_by_test_id("download-link")).to_have_attribute("download", file.name)


def run(page, recording, log=None):
    """Give files, press Run, and wait for the result."""
    upload(page, recording, log)
    page.locator("#run").click()
    expect(page.locator("#highlights button").first).to_be_visible(timeout=RUN_MS)
    expect(page.locator("#curve .js-plotly-plot")).to_be_visible()


def unfold(page, part):
    """Open a fold, and wait until gradio has made what is in it: what is typed before that is lost."""
    page.locator(f"{part} button").first.click()
    expect(page.locator(f"{part} .block").last).to_be_visible()
    page.evaluate("() => new Promise((made) => requestAnimationFrame(() => setTimeout(made, 100)))")


def turn_to(page, tab):
    """Turn to a tab of the result."""
    page.get_by_role("tab", name=tab).click()


def seconds(clock):
    """Read h:mm:ss."""
    hours, minutes, second = map(int, clock.split(":"))
    return 3600 * hours + 60 * minutes + second


def assert_fits(page):
    """The page is no wider than its window."""
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def choose(page, part, option):
    """Choose from a list."""
    page.locator(f"{part} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def options(page, part):
    """What a list offers."""
    page.locator(f"{part} input").click()
    expect(page.get_by_role("option").first).to_be_visible()
    offered = page.get_by_role("option").all_inner_texts()
    page.locator(f"{part} input").blur()
    return [option.removeprefix("✓").strip() for option in offered]
