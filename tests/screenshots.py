"""Take the README's picture of the running app: ``python -m tests.screenshots``."""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.serving import ROOT, browse, find_chromium, serve

PICTURE = ROOT / "assets" / "app.png"
WIDTH, HEIGHT = 1440, 900
MAX_BYTES = 400_000
RUN_MS = 600_000


def take(url: str, chromium: str) -> Image.Image:
    """Run the example and take the page down to the end of the curve."""
    with browse(chromium) as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"{url}/?__theme=light")
        page.locator("#head .model b").wait_for(timeout=RUN_MS)
        page.get_by_text("A simulated stream and its chat").click()
        page.locator("#comments", has_text="comments").wait_for()
        page.locator("#run").click()
        page.locator("#highlights button").first.wait_for(timeout=RUN_MS)
        page.locator("#curve .js-plotly-plot").wait_for()
        page.wait_for_function("document.querySelector('#player video').readyState >= 3")
        page.wait_for_timeout(1000)  # the curve has an animation
        bottom = page.locator("#curve").evaluate("element => element.getBoundingClientRect().bottom + scrollY")
        picture = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": bottom + 12})
    return Image.open(io.BytesIO(picture)).convert("RGB")


def main() -> None:
    chromium = find_chromium() or sys.exit("chromium is not installed")
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as url:
        picture = take(url, chromium)
    for colours in (256, 128, 64):
        picture.quantize(colours).save(PICTURE, optimize=True)
        if (size := PICTURE.stat().st_size) <= MAX_BYTES:
            break
    sys.stdout.write(f"{PICTURE.relative_to(ROOT)}: {picture.width} x {picture.height}, {size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
