"""Pretrained encoders: pictures -> one vector each (Swin), a segment's texts -> one vector (BERT)."""

import logging
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import SwinTransformer
from torch import Tensor, nn

from kuaihl.errors import CheckpointError

logger = logging.getLogger(__name__)

COMPACT_SWIN = "swin_compact_224"
_COMPACT_SHAPE = {"embed_dim": 32, "depths": (2, 2, 4, 2), "num_heads": (1, 2, 4, 8)}
_PICTURES_PER_BATCH = {"cpu": 32, "cuda": 256}


def autocast(device: torch.device) -> AbstractContextManager[None]:
    """Lower precision where it is faster: bf16 on CPUs with AVX512-BF16 or AMX and on GPUs from 8.0, fp16 before."""
    if device.type == "cuda":
        dtype = torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
        return torch.autocast("cuda", dtype)
    gains = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cpu" and gains)


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """Take the device asked for; else the first GPU where there is one, else the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def swin_names() -> list[str]:
    """Names that `build_swin` knows: the compact Swin and timm's Swins for pictures of 224 pixels."""
    return [COMPACT_SWIN, *(name for name in timm.list_models("swin_*") if name.endswith("_224"))]


def build_swin(name: str, *, strict_img_size: bool = True) -> SwinTransformer:
    """Build a Swin with random weights that gives (batch, dim) pooled features.

    Raises
    ------
    CheckpointError
        The name is unknown.
    """
    if name not in swin_names():
        raise CheckpointError(f"unknown visual encoder {name!r}; known are: {', '.join(swin_names())}")
    shape = _COMPACT_SHAPE if name == COMPACT_SWIN else {}
    base = "swin_tiny_patch4_window7_224" if name == COMPACT_SWIN else name
    return timm.create_model(
        base, pretrained=False, num_classes=0, drop_path_rate=0.0, strict_img_size=strict_img_size, **shape
    )


class VisualEncoder(nn.Module):
    """A timm Swin: one pooled feature a picture.

    Parameters
    ----------
    name
        One of `swin_names`.
    weights
        A .safetensors file with timm's names, a classifier in it is passed over; None for random weights, to train.

    Raises
    ------
    CheckpointError
        The name is unknown, or the file does not hold this Swin.
    """

    def __init__(self, name: str, *, weights: Path | None, device: str | torch.device | None = None) -> None:
        super().__init__()
        self.swin = build_swin(name)
        if weights is not None:
            _load_swin(self.swin, weights, name=name)
        self.dim: int = self.swin.num_features
        cfg = self.swin.pretrained_cfg
        self.register_buffer("mean", 255 * torch.tensor(cfg["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(cfg["std"]).view(1, 3, 1, 1), persistent=False)
        self.to(choose_device(device)).eval()

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (batch, height, width, 3) uint8 RGB -> features (batch, dim) float32."""
        normalised = (pictures.to(self.mean.device).permute(0, 3, 1, 2).float() - self.mean) / self.std
        with autocast(self.mean.device):
            return self.swin(normalised).float()

    @torch.inference_mode()
    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """Encode pictures (batch, height, width, 3) uint8 in batches -> features (batch, dim) float16.

        Rounded to float16 here, so that a live stream and a dataset on disk hold the same numbers.
        """
        size = _PICTURES_PER_BATCH[self.mean.device.type]
        out = np.empty((len(pictures), self.dim), dtype=np.float16)
        for start in range(0, len(pictures), size):
            batch = torch.from_numpy(np.ascontiguousarray(pictures[start : start + size]))
            out[start : start + size] = self(batch).half().cpu().numpy()
        return out


def _load_swin(swin: SwinTransformer, weights: Path, *, name: str) -> None:
    try:
        tensors = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{weights} cannot be read as safetensors ({error}); fetch or make it again") from error
    # Files of timm's hub hold a classifier, and older ones buffers that are computed now.
    passed_over = ("head.", "relative_position_index", "attn_mask")
    kept = {key: value.float() for key, value in tensors.items() if not any(part in key for part in passed_over)}
    try:
        swin.load_state_dict(kept)
    except RuntimeError as error:
        raise CheckpointError(f"{weights} does not hold the weights of {name}: {error}") from error
