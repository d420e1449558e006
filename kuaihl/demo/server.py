"""Start the page and its API."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout
from gradio.themes import Base
from gradio.utils import get_upload_folder

from kuaihl.demo.layout import ASSETS
from kuaihl.demo.model_cache import ModelCache
from kuaihl.demo.page import Page
from kuaihl.demo.service import Service
from kuaihl.demo.zero_gpu import ZeroGpuEncoder, is_zero_gpu
from kuaihl.errors import KuaiHLError


def serve(*, mcp: bool = False, local_paths: bool = False) -> None:
    """Serve the page until the process is stopped, and load the model meanwhile.

    The environment variables of the README configure it; Gradio's own, such as GRADIO_SERVER_PORT, work too.

    Parameters
    ----------
    mcp
        Offer the API as an MCP server too. KUAIHL_MCP=1 does the same.
    local_paths
        Let all visitors name recordings and checkpoints by their paths on this machine. KUAIHL_LOCAL_PATHS=1 does the
        same.

    Raises
    ------
    KuaiHLError
        The MCP server is not installed, or a limit is not a number.
    """
    local_paths = local_paths or os.environ.get("KUAIHL_LOCAL_PATHS") == "1"
    mcp = mcp or os.environ.get("KUAIHL_MCP") == "1"
    if mcp and find_spec("mcp") is None:
        raise KuaiHLError("The MCP server needs the package mcp: pip install 'kuaihl[mcp]'")
    logging.basicConfig(level=logging.INFO)
    on_space = "SPACE_ID" in os.environ
    host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if on_space else "127.0.0.1")  # noqa: S104 - a container
    folder = os.environ.get("KUAIHL_CHECKPOINTS")
    checkpoints = Path(folder) if folder else None
    if is_zero_gpu(os.environ):  # this process has no GPU
        models = ModelCache(checkpoints, device="cpu")
        encode = ZeroGpuEncoder(ModelCache(checkpoints), allow_any=local_paths)
    else:
        models, encode = ModelCache(checkpoints), None
    with _own_folder():
        service = Service(models, local_paths=local_paths, encode=encode)
        page = Page(service).blocks
        page.launch(
            server_name=host,
            share=False,
            run_history=False,
            prevent_thread_lock=True,
            mcp_server=mcp,
            max_file_size=service.limits.max_upload,
            app_kwargs={"lifespan": service.jobs.sweeping},
            theme=Base(
                primary_hue="teal",
                secondary_hue="teal",
                neutral_hue="slate",
                font=["system-ui", "sans-serif"],  # the page loads nothing from other hosts
                font_mono=["ui-monospace", "monospace"],
            ),
            # Not as css_paths, whose selectors Gradio changes.
            head="".join(f"<style>{(ASSETS / name).read_text('utf-8')}</style>" for name in ("player.css", "app.css")),
            footer_links=["api", "settings"],
        )
        with suppress(KuaiHLError):  # the page shows it
            service.run_example()  # after the launch, since the model takes longer to load than the page
        page.block_thread()


@contextmanager
def _own_folder() -> Iterator[Path]:
    """Let Gradio keep the files of visitors in a folder of this process, which is removed in the end.

    Folders of processes that were killed are removed now: their locks are free.
    """
    parent = Path(get_upload_folder())
    parent.mkdir(parents=True, exist_ok=True)
    for file in parent.glob("server-*.lock"):
        with suppress(Timeout), FileLock(file, timeout=0):
            shutil.rmtree(file.with_suffix(""), ignore_errors=True)
            file.unlink(missing_ok=True)
    folder = parent / f"server-{uuid4().hex}"
    with FileLock(lock := folder.with_suffix(".lock")):
        folder.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
