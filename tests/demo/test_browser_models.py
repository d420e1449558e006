"""Which model predicts, as a visitor chooses it: from the server's list, or by its id on a Hub, here on loopback."""

import json
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.fixtures import hub_server as loopback
from tests.fixtures.hub_server import File, Repo
from tests.fixtures.serving import ROOT, browse, serve
from tests.fixtures.visitor import unfold, upload

pytestmark = pytest.mark.browser
RUN_MS = 240_000
TOLD = {"listed": "what the list says", "pulled": "what the Hub says"}


def checkpoint_that(says: str, folder: Path) -> Path:
    """Copy the shipped checkpoint, and let it have learned something else."""
    copied = Path(shutil.copytree(ROOT / "assets" / "checkpoint", folder))
    config = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    config["targets"][0]["trained_on"] = says
    (copied / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return copied


@pytest.fixture(scope="module")
def page(chromium, tmp_path_factory):
    """A visitor of a server that offers one checkpoint beside its own, with a Hub that has another one."""
    folder = tmp_path_factory.mktemp("models")
    checkpoint_that(TOLD["listed"], folder / "offered" / "listed")
    pulled = checkpoint_that(TOLD["pulled"], folder / "pulled")
    with loopback.running() as hub:
        large = {".safetensors"}
        files = {f.name: File(f.read_bytes(), lfs=f.suffix in large) for f in pulled.iterdir() if f.is_file()}
        hub.objects |= {file.sha256: file.content for file in files.values()}
        hub.repos.setdefault("owner/pulled", Repo()).commit(files, "main")
        known = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": ""}
        places = {"HF_HOME": str(folder / "hub"), "KUAIHL_CHECKPOINTS": str(folder / "offered")}
        with serve(folder, **known, **places) as url, browse(chromium) as browser:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(url)
            expect(page.locator("#head .model")).to_contain_text("simulated rooms", timeout=RUN_MS)
            unfold(page, "#more")
            yield page


def test_a_checkpoint_of_the_list_is_chosen(page) -> None:
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name="listed", exact=True).click()
    expect(page.locator("#head .model")).to_contain_text(f"trained on {TOLD['listed']}", timeout=RUN_MS)


def test_a_checkpoint_of_a_hub_is_pulled_by_its_id(page, short_recording, short_log) -> None:
    model = page.get_by_label("Model", exact=True)
    model.fill("owner/pulled")
    model.press("Enter")
    expect(page.locator("#head .model")).to_contain_text(f"trained on {TOLD['pulled']}", timeout=RUN_MS)
    upload(page, short_recording, short_log)
    page.locator("#run").click()
    expect(page.locator("#curve")).to_contain_text(f"Learned from: {TOLD['pulled']}", timeout=RUN_MS)
