"""Picture encoder: a picture to one vector (Swin)."""

from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from kuaihl.devices import autocast, choose_device
from kuaihl.errors import CheckpointError
from kuaihl.features.pretrained import COMPACT_SWIN

_COMPACT_SHAPE = {
    "img_size": 128,
    "window_size": 8,  # divides 32, 16 and 8 patches, and is a size that matrix products like
    "embed_dim": 32,
    "depths": (2, 2, 4, 2),
    "num_heads": (1, 2, 4, 8),
}
_PICTURES_PER_BATCH = {"cpu": 32, "cuda": 256}


def swin_names() -> list[str]:
    """Return the names that `build_swin` knows: the compact Swin, for 128 pixels, and timm's Swins for 224."""
    return [COMPACT_SWIN, *(name for name in timm.list_models("swin_*") if name.endswith("_224"))]


def build_swin(name: str, *, strict_img_size: bool = True) -> nn.Module:
    """Build a Swin with random weights that returns (batch, dim) pooled features.

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
    """A timm Swin: one pooled feature per picture.

    Parameters
    ----------
    name
        One of `swin_names`.
    weights
        A .safetensors file with timm's names, in which a classifier is ignored; None for random weights, to train.

    Raises
    ------
    CheckpointError
        The name is unknown, or the file does not hold this Swin.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, *, weights: Path | None, device: str | torch.device | None = None) -> None:
        super().__init__()
        self.swin: Any = build_swin(name)
        if weights is not None:
            _load_swin(self.swin, weights, name=name)
        self.dim: int = self.swin.num_features
        self.size: tuple[int, int] = self.swin.patch_embed.img_size
        for statistic in ("mean", "std"):
            values = 255 * torch.tensor(self.swin.pretrained_cfg[statistic]).view(1, 3, 1, 1)
            self.register_buffer(statistic, values, persistent=False)
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


def _load_swin(swin: nn.Module, weights: Path, *, name: str) -> None:
    try:
        tensors = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{weights} cannot be read as safetensors ({error}); fetch or make it again") from error
    # Files of timm's hub hold a classifier, and older ones buffers that are computed now.
    ignored = ("head.", "relative_position_index", "attn_mask")
    kept = {key: value.float() for key, value in tensors.items() if not any(part in key for part in ignored)}
    try:
        swin.load_state_dict(kept)
    except RuntimeError as error:
        raise CheckpointError(f"{weights} does not hold the weights of {name}: {error}") from error
