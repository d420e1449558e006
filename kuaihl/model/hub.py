"""Find a checkpoint's folder: a local path, or a repository on the Hub, through the Hub's cache."""

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
CHECKPOINT_FILES = ["*.safetensors", "*.json", "README.md"]
"""Patterns of all that is published, downloaded and read of a checkpoint: nothing that can run code."""
HUB_ERRORS = (HTTPError, OSError, RuntimeError, ValueError)
"""What huggingface_hub and its transfers raise. A wrong id is a ValueError, a failed Xet transfer a RuntimeError."""

_LOG_IN = "log in with `hf auth login` (or set HF_TOKEN) as a user who may do this"


def fetch(path_or_repo: str | Path, *, revision: str | None = None) -> Path:
    """Return the folder of a checkpoint: the path itself, or the Hub's repository at a branch, tag or commit.

    A repository is downloaded once, and then found without a network. An interrupted download leaves whole files only,
    and continues with the others the next time.

    Raises
    ------
    CheckpointError
        There is no such folder, and the Hub has none or cannot be reached; or the folder holds no checkpoint.
    """
    folder = Path(path_or_repo)
    if folder.is_file():
        raise CheckpointError(f"{folder} is a file: a checkpoint is a folder with {CONFIG_FILE} and {MODEL_FILE}.")
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(str(path_or_repo), revision=revision, allow_patterns=CHECKPOINT_FILES))
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


def reason(error: BaseException, *, revision: str | None = None) -> str:
    """Return a sentence that says why the Hub refused a request, and what to do about it."""
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # why the Hub was not reached, before its cache was searched
    known = {
        HFValidationError: "the id of a repository is written owner/name",
        GatedRepoError: f"the repository is gated: ask for access on its page, then {_LOG_IN}",
        RepositoryNotFoundError: f"there is no such repository, or it is private: check the id, or {_LOG_IN}",
        RevisionNotFoundError: f"the repository has no branch, tag or commit {revision!r}",
        OfflineModeIsEnabled: "it is not whole in the cache, and HF_HUB_OFFLINE forbids downloads: unset that once",
    }
    message = next((text for kind, text in known.items() if isinstance(error, kind)), None)
    if message is None and isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        advice = _LOG_IN if status in {401, 403} else error.server_message or "try again later"
        message = f"it answered HTTP {status}: {advice}"
    if message is None:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        message = f"{first_line}. Check the network and the free space, then try again"
    return f"{message}."
