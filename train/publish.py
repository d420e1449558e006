"""Publish a checkpoint and the demo on the Hub: `python -m train.publish --checkpoint DIR [--repo ID] [--space ID]`."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import tyro
from huggingface_hub import HfApi

from kuaihl.errors import CheckpointError
from kuaihl.model.hub import CHECKPOINT_FILES, HUB_ERRORS, reason
from kuaihl.model.kuaihl import load
from train.command import plain_errors
from train.release.card import write_card
from train.release.space import write_space


@dataclass(frozen=True, slots=True)
class PublishConfig:
    """What to publish, and where. Nothing is uploaded without --push."""

    checkpoint: Path
    """Folder that train.fit wrote, with the evaluation-TARGET.json of train.evaluate."""
    repo: str | None = None
    """Repository for the checkpoint, as owner/name."""
    space: str | None = None
    """Space for the demo with this checkpoint, as owner/name."""
    out: Path | None = None
    """Folder for a copy of what is uploaded: out/model and, with --space, out/space."""
    push: bool = False
    """Upload. A repository or Space that does not exist is created."""
    private: bool = False
    """Create it as private."""
    revision: str | None = None
    """Branch to push to; created if needed."""
    tag: str | None = None
    """Tag for this version."""
    gpu: bool = False
    """Install torch with CUDA in the Space."""


def publish(config: PublishConfig) -> list[str]:
    """Write the model card and the folders of model and Space, and push them; return the URLs of the commits.

    Raises
    ------
    CheckpointError
        The checkpoint lacks something, a folder exists already, or the Hub refuses.
    """
    if config.push and not (config.repo or config.space):
        raise CheckpointError("--push needs --repo, --space or both, as owner/name.")
    model, _ = load(config.checkpoint)
    print(f"wrote {write_card(config.checkpoint)}")
    with nullcontext(config.out) if config.out else tempfile.TemporaryDirectory() as folder:
        out, urls = Path(folder), []
        with _new_folder(out / "model") as part:
            _copy_checkpoint(config.checkpoint, part)
        if config.space:
            with _new_folder(out / "space") as part:
                write_space(out / "model", model.config, part, repo=config.repo, gpu=config.gpu)
        for kind, repo in (("model", config.repo), ("space", config.space)):
            if (out / kind).exists():
                _print_files(out / kind, repo)
            if repo and config.push:
                urls.append(push(out / kind, repo, kind, config))
    return urls


def push(folder: Path, repo: str, kind: str, config: PublishConfig) -> str:
    """Make a repository of the ``kind`` "model" or "space" equal to the folder; return the URL of the commit.

    Raises
    ------
    CheckpointError
        The Hub refuses or cannot be reached.
    """
    api, names = HfApi(), {"repo_id": repo, "repo_type": kind}
    is_space = kind == "space"
    try:
        sdk = "gradio" if is_space else None
        api.create_repo(**names, private=config.private or None, exist_ok=True, space_sdk=sdk)
        if config.revision:
            api.create_branch(**names, branch=config.revision, exist_ok=True)
        commit = api.upload_folder(
            **names,
            folder_path=folder,
            revision=config.revision,
            commit_message=f"Publish KuaiHL's {kind}",
            delete_patterns="*" if is_space else list(CHECKPOINT_FILES),
        )
        if config.tag:
            api.create_tag(**names, tag=config.tag, revision=commit.oid)
    except HUB_ERRORS as error:
        raise CheckpointError(f"{repo} was not published: {reason(error, revision=config.revision)}") from error
    return commit.commit_url


def _copy_checkpoint(checkpoint: Path, out: Path) -> None:
    for file in {file for pattern in CHECKPOINT_FILES for file in checkpoint.rglob(pattern)}:
        name = file.relative_to(checkpoint)
        if not any(folder.startswith(".") for folder in name.parts):  # such as the cache of huggingface_hub
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, out / name)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Fill a folder under a temporary name, so that it is complete or not there at all."""
    if folder.exists():
        raise CheckpointError(f"{folder} exists already: remove it, or give another --out.")
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    yield part
    part.rename(folder)


def _print_files(folder: Path, repo: str | None) -> None:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    size_mb = sum(file.stat().st_size for file in files) / 1e6
    print(f"{folder.name} {repo or '(no --repo)'}: {len(files)} files, {size_mb:.1f} MB, in {folder}")
    for file in files:
        print(f"  {file.relative_to(folder)}")


def main() -> None:
    """Run the command line."""
    config = tyro.cli(PublishConfig, description=__doc__)
    with plain_errors():
        for url in publish(config):
            print(f"pushed {url}")
        if not config.push:
            print("Nothing was uploaded. Add --push to upload.")


if __name__ == "__main__":
    main()
