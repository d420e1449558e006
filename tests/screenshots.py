"""Take the screenshots of the README: ``python -m tests.screenshots``."""

import io
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.fixtures.serving import ROOT, browse, find_chromium, serve

MAX_BYTES = 400_000
RUN_MS = 600_000


@dataclass(frozen=True)
class Picture:
    """A screenshot: its file in assets, the window size, and light or dark."""

    name: str
    width: int
    height: int
    theme: str


PICTURES = [
    Picture("app.png", 1440, 900, "light"),
    Picture("app-dark.png", 1440, 900, "dark"),
    Picture("app-phone.png", 390, 844, "light"),
]


def run_example(page: Page) -> None:
    page.locator("#head .model b").wait_for(timeout=RUN_MS)
    page.get_by_text("A simulated stream and its chat").click()
    page.locator("#comments", has_text="comments").wait_for()
    page.locator("#run").click()
    page.locator("#highlights button").first.wait_for(timeout=RUN_MS)
    page.locator("#curve .js-plotly-plot").wait_for()
    page.wait_for_function("document.querySelector('#player video').readyState >= 3")
    page.wait_for_timeout(1000)  # the curve has an animation


def edge(page: Page, part: str, side: str) -> float:
    return page.locator(part).evaluate(f"element => element.getBoundingClientRect().{side} + scrollY")


def take(browser: Browser, url: str, wanted: Picture) -> Image.Image:
    """Capture the page down to the end of the highlights; on a phone, from the result on."""
    context = browser.new_context(viewport={"width": wanted.width, "height": wanted.height})
    page = context.new_page()
    page.goto(f"{url}/?__theme={wanted.theme}")
    run_example(page)
    top = edge(page, "#status", "top") if wanted.width < 640 else 12
    bottom = edge(page, "#result", "bottom")
    area = {"x": 0, "y": top - 12, "width": wanted.width, "height": bottom - top + 24}
    picture = page.screenshot(full_page=True, clip=area)
    context.close()
    return Image.open(io.BytesIO(picture)).convert("RGB")


def save(picture: Image.Image, file: Path) -> None:
    for colours in (256, 128, 64):
        picture.quantize(colours).save(file, optimize=True)
        if (size := file.stat().st_size) <= MAX_BYTES:
            break
    sys.stdout.write(f"{file.relative_to(ROOT)}: {picture.width} x {picture.height}, {size / 1000:.0f} kB\n")


def main() -> None:
    chromium = find_chromium() or sys.exit("chromium is not installed")
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as url, browse(chromium) as browser:
        for wanted in PICTURES:
            save(take(browser, url, wanted), ROOT / "assets" / wanted.name)


if __name__ == "__main__":
    main()
