"""The demo as a Gradio Space: the folder that the Hub builds and runs, around any checkpoint."""

import shutil
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import RepoCard

from kuaihl.errors import CheckpointError
from kuaihl.model.config import KuaiHLConfig

ROOT = Path(__file__).parents[2]
CPU_WHEELS = "--extra-index-url https://download.pytorch.org/whl/cpu"
"""Where pip finds torch without CUDA, which saves a Space without a GPU gigabytes and minutes."""
_SHIPPED = ("app.py", "LICENSE", "kuaihl", "assets")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*", "*.part", "checkpoint", "app.png", "truth.json")


def write_space(checkpoint: Path, config: KuaiHLConfig, out: Path, *, repo: str | None, gpu: bool) -> None:
    """Write README.md with the Space's settings, requirements.txt, the app, and the checkpoint that it shows.

    Parameters
    ----------
    checkpoint
        Folder with exactly the files to publish, and the config of its model.
    out
        Folder to fill.
    repo
        The checkpoint's repository on the Hub, to link to.
    gpu
        Whether torch is to be the one for GPUs.

    Raises
    ------
    CheckpointError
        Where the demo is not beside this package.
    """
    if missing := [name for name in (*_SHIPPED, "README.md", "requirements.txt") if not (ROOT / name).exists()]:
        raise CheckpointError(f"{ROOT} has no {', '.join(missing)}: publish the demo from a checkout of the project.")
    out.mkdir(parents=True)
    for name in _SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, out / name, ignore=_LEFT_OUT)
        else:
            shutil.copyfile(ROOT / name, out / name)
    shutil.copytree(checkpoint, out / "assets" / "checkpoint")
    (out / "requirements.txt").write_text(requirements(gpu=gpu), encoding="utf-8")
    RepoCard(card(config, repo=repo)).save(out / "README.md")


def requirements(*, gpu: bool) -> str:
    """The project's, without gradio, which a Space installs in the version that README.md names."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("gradio")]
    return "\n".join([*([] if gpu else [CPU_WHEELS]), *kept]) + "\n"


def card(config: KuaiHLConfig, *, repo: str | None) -> str:
    """README.md of the Space: the settings of the project's own README.md, with the gradio that is installed here."""
    settings = RepoCard.load(ROOT / "README.md", repo_type="space").data
    settings.sdk_version = version("gradio")
    settings.models = [*([repo] if repo else []), config.text_encoder, f"openai/whisper-{config.speech_model}"]
    return f"""---
{settings.to_yaml()}
---

# KuaiHL

Upload the recording of a live stream and its comment log, press Run, click a highlight. From the past ten minutes of
pictures, speech and comments, KuaiHL predicts how many viewers stay for the next 30 seconds.

Trained on {config.targets[0].trained_on}.
What it has learned, how well it predicts, and its limits are in the [model card](assets/checkpoint/README.md).

To run it at home: Python {settings.python_version}, `pip install -r requirements.txt gradio=={settings.sdk_version}`,
`python app.py`.
"""
