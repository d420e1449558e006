"""Photos in memory: read once from tar files and folders, split for a linear probe, seen through random views."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from kuaihl.errors import LabelError

STORED_SIZE = 256
VIEW_SIZE = 224
LEFT_OUT = "BACKGROUND_Google"
"""Caltech-101's folder of anything: no class to probe, and no licence to speak of."""
PROBE_TRAIN = 30
PROBE_TEST = 20
"""Photos per class; a class with too few for both is tested on what is left."""
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_WIDE = 16 / 9


@dataclass(frozen=True)
class Photos:
    """Photos squashed to squares: pictures (photos, 3, 256, 256) uint8, aspect (photos,) of the originals."""

    pictures: Tensor
    aspect: Tensor
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """Indices of photos: to distil from, and to train and test the linear probe on."""

    distil: np.ndarray
    probe_train: np.ndarray
    probe_test: np.ndarray


def load_photos(sources: Iterable[Path]) -> Photos:
    """Read every photo of tar files and folders, in order of their names; a photo's class is its folder.

    Raises
    ------
    LabelError
        A source is neither, or holds no photo.
    """
    squares, aspects, classes = [], [], []
    for source in sources:
        found = sorted(_files(source), key=lambda item: item[0])
        if not found:
            raise LabelError(f"{source} holds no photo (.jpg, .png or .webp): give tar files or folders of photos")
        for name, data in found:
            with Image.open(io.BytesIO(data)) as image:
                aspects.append(image.width / image.height)
                square = image.convert("RGB").resize((STORED_SIZE, STORED_SIZE), Image.Resampling.BICUBIC)
            squares.append(torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous())
            classes.append(PurePosixPath(name).parent.name)
    return Photos(torch.stack(squares), torch.tensor(aspects), tuple(classes))


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the photos of a tar file or a folder."""
    if source.is_dir():
        for file in source.rglob("*"):
            name = file.relative_to(source.parent).as_posix()
            if _wanted(name):
                yield name, file.read_bytes()
    elif source.is_file() and tarfile.is_tarfile(source):
        with tarfile.open(source) as tar:
            for member in tar:
                if member.isfile() and _wanted(member.name):
                    yield member.name, tar.extractfile(member).read()
    else:
        raise LabelError(f"{source} is neither a folder nor a tar file of photos")


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in _SUFFIXES and LEFT_OUT not in path.parts


def split_for_probe(classes: tuple[str, ...]) -> Split:
    """Hold the probe's test photos out of distillation; the same for every run, so that runs can start from runs."""
    rng = np.random.default_rng(0)
    train, test = [], []
    for name in sorted(set(classes)):
        members = rng.permutation([i for i, other in enumerate(classes) if other == name])
        if len(members) > PROBE_TRAIN:
            train.extend(members[:PROBE_TRAIN])
            test.extend(members[PROBE_TRAIN:][:PROBE_TEST])
    distil = np.setdiff1d(np.arange(len(classes)), test)
    return Split(distil, np.array(sorted(train), dtype=int), np.array(sorted(test), dtype=int))


def views(pictures: Tensor, aspect: Tensor, generator: torch.Generator) -> Tensor:
    """See squashed pictures (batch, 3, 256, 256) uint8 as (batch, 3, 224, 224) float32 in [0, 1], at random.

    60 % are crops at about their true proportions, 20 % crops squashed as a recording's frame is, 10 % whole and 10 %
    whole inside a black 16:9 frame; half are mirrored, and all get their brightness, contrast and colour changed.
    """
    batch = len(pictures)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, generator=generator)

    kind = uniform(0, 1)
    squashed = kind > 0.6
    area = torch.where(squashed, uniform(0.5, 1), uniform(0.2, 1))
    reach = torch.where(squashed, torch.tensor(_WIDE), torch.tensor(4 / 3)).log()
    proportion = torch.exp(uniform(-1, 1) * reach)
    # Width and height of the box as shares of the picture; above 1, the rest is black.
    width = (area * proportion / aspect).sqrt().clamp(max=1)
    height = (area * aspect / proportion).sqrt().clamp(max=1)
    letterboxed = kind > 0.9
    width = torch.where(letterboxed, (_WIDE / aspect).clamp(min=1), torch.where(kind > 0.8, 1, width))
    height = torch.where(letterboxed, (aspect / _WIDE).clamp(min=1), torch.where(kind > 0.8, 1, height))
    across = uniform(-1, 1) * (1 - width).clamp(min=0)
    down = uniform(-1, 1) * (1 - height).clamp(min=0)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    none = torch.zeros(batch)
    theta = torch.stack([torch.stack([mirror * width, none, across], 1), torch.stack([none, height, down], 1)], 1)
    grid = F.affine_grid(theta, [batch, 3, VIEW_SIZE, VIEW_SIZE], align_corners=False)
    seen = F.grid_sample(pictures.float() / 255, grid, align_corners=False)

    def shaped(factor: Tensor) -> Tensor:
        return factor.view(-1, 1, 1, 1)

    seen = seen * shaped(uniform(0.6, 1.4))
    level = seen.mean(dim=(1, 2, 3), keepdim=True)
    seen = level + (seen - level) * shaped(uniform(0.6, 1.4))
    grey = seen.mean(dim=1, keepdim=True)
    colour = torch.where(uniform(0, 1) < 0.1, 0.0, uniform(0.6, 1.4))
    return (grey + (seen - grey) * shaped(colour)).clamp(0, 1)


def whole(pictures: Tensor) -> np.ndarray:
    """Scale squares (batch, 3, 256, 256) uint8 to what an encoder takes: (batch, 224, 224, 3) uint8."""
    scaled = F.interpolate(pictures.float(), size=(VIEW_SIZE, VIEW_SIZE), mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
