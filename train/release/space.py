"""The demo with a checkpoint as a Gradio Space: the folder that the Hub builds and runs."""

import shutil
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import RepoCard

from kuaihl.errors import CheckpointError
from kuaihl.model.config import KuaiHLConfig

ROOT = Path(__file__).parents[2]
CPU_WHEELS = "--extra-index-url https://download.pytorch.org/whl/cpu"
"""torch without CUDA, which saves gigabytes on a Space without a GPU."""
_COPIED = ("app.py", "LICENSE", "kuaihl", "assets")
_IGNORED = shutil.ignore_patterns("__pycache__", ".*", "*.part", "checkpoint", "app.png", "truth.json")


def write_space(checkpoint: Path, config: KuaiHLConfig, out: Path, *, repo: str | None, gpu: bool) -> None:
    """Write README.md with the settings of the Space, requirements.txt, the app and the checkpoint.

    Parameters
    ----------
    checkpoint, config
        Folder with exactly the files to publish, and the config of its model.
    out
        Folder to create.
    repo
        Repository of the checkpoint on the Hub, to link to.
    gpu
        Install torch with CUDA.

    Raises
    ------
    CheckpointError
        The demo is not beside this package.
    """
    if missing := [name for name in (*_COPIED, "README.md", "requirements.txt") if not (ROOT / name).exists()]:
        raise CheckpointError(f"{ROOT} has no {', '.join(missing)}: run from a checkout of the project.")
    out.mkdir(parents=True)
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, out / name, ignore=_IGNORED)
        else:
            shutil.copyfile(ROOT / name, out / name)
    shutil.copytree(checkpoint, out / "assets" / "checkpoint")
    (out / "requirements.txt").write_text(make_requirements(gpu=gpu), encoding="utf-8")
    RepoCard(make_readme(config, repo=repo)).save(out / "README.md")


def make_requirements(*, gpu: bool) -> str:
    """Return the project's requirements without gradio, which a Space installs by the version in README.md."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("gradio")]
    return "\n".join([*([] if gpu else [CPU_WHEELS]), *kept]) + "\n"


def make_readme(config: KuaiHLConfig, *, repo: str | None) -> str:
    """Return README.md of the Space: the settings of the project's README.md, with the installed version of gradio."""
    settings = RepoCard.load(ROOT / "README.md", repo_type="space").data
    settings.sdk_version = version("gradio")
    settings.models = [*([repo] if repo else []), config.text_encoder, f"openai/whisper-{config.speech_model}"]
    return f"""---
{settings.to_yaml()}
---

# KuaiHL

KuaiHL finds the best moments of a live stream. Upload a recording and its chat log, press Run, click a highlight.

Trained on {config.targets[0].trained_on}. The [model card](assets/checkpoint/README.md) has its scores and limits.

To run it on your machine: Python {settings.python_version},
`pip install -r requirements.txt gradio=={settings.sdk_version}`, `python app.py`.
"""
