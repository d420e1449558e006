"""Start the page and its API."""

import logging
import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from gradio.themes import Base

from kuaihl.demo.forms import LOOPBACK
from kuaihl.demo.layout import ASSETS
from kuaihl.demo.model_cache import ModelCache
from kuaihl.demo.page import Page
from kuaihl.demo.service import Service
from kuaihl.demo.zero_gpu import ZeroGpuEncoder, is_zero_gpu
from kuaihl.errors import KuaiHLError


def serve(*, mcp: bool = False) -> None:
    """Serve the page until the process is stopped, and load the model meanwhile.

    The environment variables of the README configure it; Gradio's own, such as GRADIO_SERVER_PORT, work too.

    Parameters
    ----------
    mcp
        Offer the API as an MCP server too. KUAIHL_MCP=1 does the same.

    Raises
    ------
    KuaiHLError
        The MCP server is not installed.
    """
    mcp = mcp or os.environ.get("KUAIHL_MCP") == "1"
    if mcp and find_spec("mcp") is None:
        raise KuaiHLError("The MCP server needs the package mcp: pip install 'kuaihl[mcp]'")
    logging.basicConfig(level=logging.INFO)
    on_space = "SPACE_ID" in os.environ
    host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if on_space else "127.0.0.1")  # noqa: S104 - a container
    own_machine = not on_space and host in LOOPBACK
    folder = os.environ.get("KUAIHL_CHECKPOINTS")
    checkpoints = Path(folder) if folder else None
    if is_zero_gpu(os.environ):  # this process has no GPU
        models = ModelCache(checkpoints, device="cpu")
        encode = ZeroGpuEncoder(ModelCache(checkpoints), allow_any=own_machine)
    else:
        models, encode = ModelCache(checkpoints), None
    service = Service(models, own_machine=own_machine, encode=encode)
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
