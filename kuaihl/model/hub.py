"""A checkpoint's folder: a path here, else a repository on the Hub, through the Hub's cache."""

from pathlib import Path

from httpx import HTTPError
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from kuaihl.errors import CheckpointError

CONFIG_FILE = "config.json"
MODEL_FILE = "model.safetensors"
CHECKPOINT_FILES = ("*.safetensors", "*.json", "README.md")
"""Patterns of all that is published, downloaded and read of a checkpoint: nothing that can run code."""
HUB_ERRORS = (HTTPError, OSError, RuntimeError, ValueError)
"""What huggingface_hub and its transfers raise; a wrong id is a ValueError, a failed Xet transfer a RuntimeError."""

_LOG_IN = "log in with `hf auth login` (or set HF_TOKEN) as a user who may do this"


def fetch(path_or_repo: str | Path, *, revision: str | None = None) -> Path:
    """Folder of a checkpoint: the path itself, else the Hub's repository at a branch, tag or commit.

    What was fetched once is found again without a network, and is not downloaded twice. A download that breaks off
    leaves whole files only, and goes on with the others the next time.

    Raises
    ------
    CheckpointError
        Where there is no such folder and the Hub has none or cannot be reached, or where it holds no checkpoint.
    """
    folder = Path(path_or_repo)
    if folder.is_file():
        raise CheckpointError(f"{folder} is a file: a checkpoint is a folder with {CONFIG_FILE} and {MODEL_FILE}.")
    if not folder.is_dir():
        try:
            patterns = list(CHECKPOINT_FILES)
            folder = Path(snapshot_download(str(path_or_repo), revision=revision, allow_patterns=patterns))
        except HUB_ERRORS as error:
            raise CheckpointError(
                f"No checkpoint at {str(path_or_repo)!r}: it is not a folder here, and the Hub gave none: "
                f"{reason(error, revision=revision)}"
            ) from error
    missing = [name for name in (CONFIG_FILE, MODEL_FILE) if not (folder / name).is_file()]
    if missing:
        hint = " Only safetensors are read: pickled weights (.bin, .pt, .ckpt) can run code." * (MODEL_FILE in missing)
        raise CheckpointError(f"{path_or_repo} is not a checkpoint: it has no {' and no '.join(missing)}.{hint}")
    return folder


def reason(error: Exception, *, revision: str | None = None) -> str:
    """Say in a sentence what kept the Hub from doing as it was asked, and what to do about it."""
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # only after that the cache was looked through
    known = {
        HFValidationError: "the id of a repository is written owner/name",
        GatedRepoError: f"the repository is gated: ask for access on its page, then {_LOG_IN}",
        RepositoryNotFoundError: f"there is no such repository, or it is private: check the id, or {_LOG_IN}",
        RevisionNotFoundError: f"the repository has no branch, tag or commit {revision!r}",
        OfflineModeIsEnabled: "it is not whole in the cache, and HF_HUB_OFFLINE forbids to ask: unset that once",
    }
    told = next((text for kind, text in known.items() if isinstance(error, kind)), None)
    if told is None and isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        advice = _LOG_IN if status in {401, 403} else error.server_message or "try again later"
        told = f"it answered HTTP {status}: {advice}"
    if told is None:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        told = f"{first_line}. Check the network and the free space, then try again"
    return f"{told}."
