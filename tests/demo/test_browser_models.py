"""The choice of the model: from the server's list, or by its id on a Hub, here on loopback."""

import json
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.demo.conftest import visiting
from tests.fixtures import hub_server
from tests.fixtures.hub_server import File, Repo
from tests.fixtures.serving import ROOT, serve
from tests.fixtures.visitor import RUN_MS, run, turn_to, unfold

pytestmark = pytest.mark.browser


def checkpoint_trained_on(text: str, folder: Path) -> Path:
    """Copy the shipped checkpoint with another description."""
    copied = Path(shutil.copytree(ROOT / "assets" / "checkpoint", folder))
    config = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    config["targets"][0]["trained_on"] = text
    (copied / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return copied


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A server that offers one checkpoint beside its own, with a Hub that has another one."""
    folder = tmp_path_factory.mktemp("models")
    checkpoint_trained_on("a listed thing", folder / "offered" / "listed")
    pulled = checkpoint_trained_on("a pulled thing", folder / "pulled")
    with hub_server.running() as hub:
        files = {f.name: File(f.read_bytes(), lfs=f.suffix == ".safetensors") for f in pulled.iterdir() if f.is_file()}
        hub.objects |= {file.sha256: file.content for file in files.values()}
        hub.repos.setdefault("owner/pulled", Repo()).commit(files, "main")
        environment = {
            "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "",
            "HF_HOME": str(folder / "hub"), "KUAIHL_CHECKPOINTS": str(folder / "offered"),
        }  # fmt: skip
        with serve(folder, **environment) as url:
            yield url


def test_another_model_predicts_from_what_is_encoded(browser, url, short_recording, short_log):
    with visiting(browser, url) as page:
        run(page, short_recording, short_log)
        unfold(page, "#settings")
        turn_to(page, "Data")
        about, facts = page.locator("#about"), page.locator(".data dl")
        page.locator("#checkpoint input").click()
        page.get_by_role("option", name="listed", exact=True).click()
        for part in (about, facts):
            expect(part).to_contain_text("a listed thing", timeout=RUN_MS)
        for name, part, text in (("owner/pulled", facts, "a pulled thing"), ("no/such", about, "no/such")):
            page.locator("#checkpoint input").fill(name)
            page.locator("#checkpoint input").press("Enter")
            expect(part).to_contain_text(text, timeout=RUN_MS)
        expect(page.locator("#about .wrong")).to_be_visible()
