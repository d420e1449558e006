"""Pages of the running app, each as a new visitor sees it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.fixtures.visitor import run, unfold

LAPTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@contextmanager
def visiting(browser: Browser, url: str, *, theme: str = "light", **options: object) -> Iterator[Page]:
    """Open the page in a fresh context. Errors, and requests to other hosts, fail the test."""
    context = browser.new_context(**{"viewport": LAPTOP} | options)
    context.set_default_timeout(30_000)
    problems = []
    context.on("request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else problems.append(r.url))
    context.on("response", lambda r: problems.append(f"{r.status} {r.url}") if r.status == 500 else None)
    context.on("weberror", lambda error: problems.append(str(error.error)))
    ignored = ("Failed to load resource", "AbortError", "errored out")  # of Gradio, when a visitor cancels or leaves

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(text in message.text for text in ignored):
            problems.append(message.text)

    context.on("console", hear)
    page = context.new_page()
    page.goto(f"{url}/?__theme={theme}")
    page.wait_for_selector("#new-recording")
    yield page
    context.close()
    assert problems == []


def rank_by_reaction(page: Page) -> None:
    """Find the highlight of the short recording with `burst_log`, whose forecast has none."""
    unfold(page, "#settings")
    page.get_by_label("Reaction", exact=True).check()
    expect(page.locator(".cards li[data-rank]")).to_have_count(1)


BURST_S = (1.0, 2.0, 35.0, *(61.0 + k / 8 for k in range(24)), 125.0)


@pytest.fixture(scope="session")
def burst_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log of the short recording with a burst: 2, 1, 24, 0 and 1 comments in its segments."""
    path = tmp_path_factory.mktemp("burst") / "burst.csv"
    rows = [f"{time_s},viewer{number},LUL nice" for number, time_s in enumerate(BURST_S)]
    path.write_text("\n".join(["time,user,text", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, app_url: str) -> Iterator[Page]:
    """A visitor with a laptop."""
    with visiting(browser, app_url) as page:
        yield page


@pytest.fixture(scope="module")
def result(browser: Browser, app_url: str, short_recording, burst_log) -> Iterator[Page]:
    """A page with a highlight and open settings, which the tests of a module share. They restore the settings."""
    with visiting(browser, app_url) as page:
        run(page, short_recording, burst_log)
        rank_by_reaction(page)
        yield page


@pytest.fixture
def phone(browser: Browser, app_url: str) -> Iterator[Page]:
    """A visitor with a phone, in dark mode."""
    with visiting(browser, app_url, theme="dark", viewport=PHONE) as page:
        yield page
