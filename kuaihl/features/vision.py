"""Picture encoder: a frame to one vector (Swin)."""

import logging
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import SwinTransformer
from torch import Tensor, nn

from kuaihl.devices import autocast, choose_device
from kuaihl.errors import CheckpointError
from kuaihl.features.pretrained import COMPACT_SWIN

logger = logging.getLogger(__name__)

_COMPACT_SHAPE = {
    "img_size": 128,
    "window_size": 8,  # divides 32, 16 and 8 patches, and is a size that matrix products like
    "embed_dim": 32,
    "depths": (2, 2, 4, 2),
    "num_heads": (1, 2, 4, 8),
}
_PICTURES_PER_BATCH = {"cpu": 32, "cuda": 256}


def swin_names() -> list[str]:
    """Names that `build_swin` knows: the compact Swin, which reads 128 pixels, and timm's Swins for 224."""
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
        self.size: tuple[int, int] = self.swin.patch_embed.img_size
        cfg = self.swin.pretrained_cfg
        self.register_buffer("mean", 255 * torch.tensor(cfg["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(cfg["std"]).view(1, 3, 1, 1), persistent=False)
        self.to(choose_device(device)).eval()

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (batch, height, width, 3) uint8 RGB, of any size -> features (batch, dim) float32."""
        normalised = (pictures.to(self.mean.device).permute(0, 3, 1, 2).float() - self.mean) / self.std
        if normalised.shape[2:] != self.size:
            normalised = F.interpolate(normalised, self.size, mode="bilinear", antialias=True)
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
