"""Publishes a checkpoint and the demo on the Hub. Run as `python -m train.publish --checkpoint C [--repo ID] ...`."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
    """What to publish, and where. Without --push nothing leaves this machine."""

    checkpoint: Path
    """Folder that train.fit wrote, with the evaluation.json of train.evaluate."""
    repo: str | None = None
    """Repository for the checkpoint, as owner/name."""
    space: str | None = None
    """Space for the demo with this checkpoint, as owner/name."""
    out: Path | None = None
    """Folder to write what would be pushed into: out/model and, with --space, out/space."""
    push: bool = False
    """Upload, and make the repository or the Space where there is none."""
    private: bool = False
    """What is made is private."""
    revision: str | None = None
    """Branch to push to, made where there is none, in place of main."""
    tag: str | None = None
    """Tag for what is pushed."""
    gpu: bool = False
    """The Space will have a GPU: torch with CUDA."""


@dataclass(frozen=True, slots=True)
class Package:
    """A folder, and the repository that it becomes; without one it only is written."""

    folder: Path
    repo: str | None
    kind: str


def publish(config: PublishConfig) -> list[str]:
    """Write the model card, then every folder whole, then push them; returns addresses of the commits.

    Raises
    ------
    CheckpointError
        The checkpoint lacks something, a folder is there already, or the Hub refuses.
    """
    if config.push and not (config.repo or config.space):
        raise CheckpointError("--push needs --repo, --space or both, as owner/name.")
    model, _ = load(config.checkpoint)
    print(f"wrote {write_card(config.checkpoint)}")
    with _folder(config.out) as out:
        packages = [Package(out / "model", config.repo, "model")]
        with _appearing_whole(out / "model") as part:
            _copy_published(config.checkpoint, part)
        if config.space:
            packages.append(Package(out / "space", config.space, "space"))
            with _appearing_whole(out / "space") as part:
                write_space(out / "model", model.config, part, repo=config.repo, gpu=config.gpu)
        for package in packages:
            _print_files(package, kept=config.out is not None)
        return [push(package, config) for package in packages if package.repo] if config.push else []


def push(package: Package, config: PublishConfig) -> str:
    """Make the repository equal to the folder in one commit; returns the commit's address.

    Raises
    ------
    CheckpointError
        The Hub refuses or cannot be reached.
    """
    api, where = HfApi(), {"repo_id": package.repo, "repo_type": package.kind}
    try:
        api.create_repo(
            **where,
            private=config.private or None,
            exist_ok=True,
            space_sdk="gradio" if package.kind == "space" else None,
        )
        if config.revision:
            api.create_branch(**where, branch=config.revision, exist_ok=True)
        commit = api.upload_folder(
            **where,
            folder_path=package.folder,
            revision=config.revision,
            commit_message=f"Publish KuaiHL's {package.kind}",
            delete_patterns="*" if package.kind == "space" else list(CHECKPOINT_FILES),
        )
        if config.tag:
            api.create_tag(**where, tag=config.tag, revision=commit.oid)
    except HUB_ERRORS as error:
        raise CheckpointError(f"{package.repo} was not published: {reason(error, revision=config.revision)}") from error
    return commit.commit_url


def _copy_published(checkpoint: Path, out: Path) -> None:
    for file in sorted({file for pattern in CHECKPOINT_FILES for file in checkpoint.rglob(pattern)}):
        name = file.relative_to(checkpoint)
        if any(part.startswith(".") for part in name.parts):  # such as the notes of huggingface_hub on downloads
            continue
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """Open the given folder, or one that is gone afterwards."""
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


@contextmanager
def _appearing_whole(folder: Path) -> Iterator[Path]:
    """Fill a folder under another name, so that it is there whole or not at all."""
    if folder.exists():
        raise CheckpointError(f"{folder} is there already: remove it, or give another --out.")
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # what an interrupted run left
    yield part
    part.rename(folder)


def _print_files(package: Package, *, kept: bool) -> None:
    files = [file for file in package.folder.rglob("*") if file.is_file()]
    size_mb = sum(file.stat().st_size for file in files) / 1e6
    print(f"{package.kind} {package.repo or '(no --repo)'}: {len(files)} files, {size_mb:.1f} MB", end="")
    print(f", in {package.folder}" if kept else "")
    for file in sorted(files):
        print(f"  {file.relative_to(package.folder)}")


def main() -> None:
    """Run from the command line."""
    config = tyro.cli(PublishConfig, description=__doc__)
    with plain_errors():
        for address in publish(config):
            print(f"pushed {address}")
        if not config.push:
            print("nothing was uploaded; --push does that")


if __name__ == "__main__":
    main()
