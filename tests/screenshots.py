"""Take the screenshots of the README: ``python -m tests.screenshots``."""

import io
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from tests.fixtures.serving import ROOT, browse, find_chromium, serve

MAX_BYTES = 400_000
RUN_MS = 600_000


@dataclass(frozen=True)
class Picture:
    """A screenshot: its file in assets, the window size, light or dark, and the open tab."""

    name: str
    width: int
    height: int
    theme: str
    tab: str


PICTURES = [
    Picture("app.png", 1440, 900, "light", "Chat"),
    Picture("app-dark.png", 1440, 900, "dark", "Why"),
    Picture("app-phone.png", 390, 844, "light", "Chat"),
]


def take(browser: Browser, url: str, wanted: Picture) -> Image.Image:
    """Capture one window of the page, with the example at its best moment."""
    context = browser.new_context(viewport={"width": wanted.width, "height": wanted.height})
    page = context.new_page()
    page.goto(f"{url}/?__theme={wanted.theme}")
    page.locator(".cards li[data-rank]").first.wait_for(timeout=RUN_MS)
    page.locator(".cards .play").first.click()
    page.wait_for_function("document.querySelector('.stage video').currentTime > 80", timeout=RUN_MS)
    page.evaluate("document.querySelector('.stage video').pause()")
    page.get_by_role("tab", name=wanted.tab).click()
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(4000)  # the controls of the player fade
    picture = page.screenshot()
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
