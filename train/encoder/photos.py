"""Photos and drawings in memory: their split for a linear probe, and augmented views."""

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from kuaihl.errors import LabelError
from train.encoder.training_frames import draw_frames
from train.simulator.rooms.photo_scenes import split_of

STORED_SIZE = 256
VIEW_SIZE = 224
IGNORED_FOLDER = "BACKGROUND_Google"
"""Caltech-101's folder of arbitrary pictures, which is not a class."""
PROBE_TRAIN = 30
PROBE_TEST = 20
"""Photos of each class to train and (at most) to test the probe."""
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_WIDE = 16 / 9
_RANDOM_NUMBERS = 13
"""Random numbers of a view."""


@dataclass(frozen=True)
class Pictures:
    """Pictures squashed to squares (pictures, 3, 256, 256) uint8, and their original aspect ratios (pictures,).

    ``names`` ("folder/file") are those of the photos; drawings follow the photos and have no name.
    """

    squares: Tensor
    aspect: Tensor
    names: tuple[str, ...]

    @cached_property
    def halves(self) -> Tensor:
        """The squares at half the side (pictures, 3, 128, 128) uint8."""
        parts = self.squares.split(256)
        return torch.cat([F.avg_pool2d(part.float(), 2).round().byte() for part in parts])

    @property
    def classes(self) -> tuple[str, ...]:
        """The folder of each photo."""
        return tuple(PurePosixPath(name).parent.name for name in self.names)


@dataclass(frozen=True)
class PhotoSplit:
    """Indices of photos: for the distillation, and to train and test the linear probe."""

    distil: np.ndarray
    probe_train: np.ndarray
    probe_test: np.ndarray


def load_pictures(sources: Iterable[Path], *, drawings: int = 0, scenes: Path | None = None) -> Pictures:
    """Read all photos of tar files and folders by name; the class of a photo is its folder.

    ``drawings`` frames of simulated training rooms are added; half of their shots show photos of ``scenes``, except the
    test photos of `split_for_probe`.

    Raises
    ------
    LabelError
        A source is neither a tar file nor a folder, has no photo, or a damaged one.
    """
    files = [item for source in sources for item in _read_files(source)]
    squares = torch.empty((len(files) + drawings, 3, STORED_SIZE, STORED_SIZE), dtype=torch.uint8)
    aspect = torch.full((len(squares),), _WIDE)
    for i, (name, data) in enumerate(files):
        try:
            with Image.open(io.BytesIO(data)) as image:
                aspect[i] = image.width / image.height
                square = image.convert("RGB").resize((STORED_SIZE, STORED_SIZE), Image.Resampling.BICUBIC)
        except OSError as error:
            raise LabelError(f"{name} is damaged ({error}): remove it.") from error
        squares[i] = torch.from_numpy(np.array(square)).permute(2, 0, 1)
    names = tuple("/".join(PurePosixPath(name).parts[-2:]) for name, _ in files)
    tested = frozenset(names[i] for i in split_for_probe(names).probe_test)
    frames = draw_frames(drawings, side=STORED_SIZE, scenes=scenes, without=tested)
    for i, frame in enumerate(frames, start=len(files)):
        squares[i] = torch.from_numpy(frame).permute(2, 0, 1)
    return Pictures(squares, aspect, names)


def _read_files(source: Path) -> list[tuple[str, bytes]]:
    """Read the photos of a tar file or a folder by name."""
    files = []
    if source.is_dir():
        names = {file.relative_to(source.parent).as_posix(): file for file in source.rglob("*") if file.is_file()}
        files = [(name, file.read_bytes()) for name, file in names.items() if _is_photo(name)]
    elif source.is_file() and tarfile.is_tarfile(source):
        with tarfile.open(source) as tar:
            members = [member for member in tar if member.isfile() and _is_photo(member.name)]
            files = [(member.name, tar.extractfile(member).read()) for member in members]
    if not files:
        raise LabelError(f"{source} has no photos: give tar files or folders with .jpg, .png or .webp files.")
    return sorted(files)


def _is_photo(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in _SUFFIXES and IGNORED_FOLDER not in path.parts


def split_for_probe(names: tuple[str, ...]) -> PhotoSplit:
    """Split photos ("folder/file"), in the same way for every run, so that a run can start from another.

    Test photos of the probe and photos of simulated validation and test rooms are not distilled from.
    """
    rng = np.random.default_rng(0)
    classes = np.array([PurePosixPath(name).parent.name for name in names])
    train, test = [], []
    for name in sorted(set(classes)):
        members = rng.permutation(np.flatnonzero(classes == name))
        if len(members) > PROBE_TRAIN:
            train.extend(members[:PROBE_TRAIN])
            test.extend(members[PROBE_TRAIN : PROBE_TRAIN + PROBE_TEST])
    held_out = [i for i, name in enumerate(names) if split_of(name) in ("validation", "test")]
    distil = np.setdiff1d(np.arange(len(names)), [*test, *held_out])
    return PhotoSplit(distil, np.array(sorted(train), dtype=int), np.array(sorted(test), dtype=int))


def sample_views(
    pictures: Pictures,
    indices: np.ndarray,
    variants: np.ndarray,
    *,
    others: np.ndarray | None = None,
    seed: int,
    size: int = VIEW_SIZE,
) -> Tensor:
    """Sample augmented views of pictures: (batch, 3, size, size) float32 in [0, 1].

    The same (seed, picture, variant) gives the same view at every size. 60 % are crops at about their true proportions,
    20 % crops squashed like a frame of a recording, 10 % whole and 10 % whole inside a black 16:9 frame; half are
    mirrored, and brightness, contrast and colour of all are changed. If ``others`` names another picture, the two are
    blended first with a uniform share (mixup; Zhang et al., ICLR 2018).
    """
    keys = zip(indices.tolist(), variants.tolist(), strict=True)
    numbers = np.stack([np.random.default_rng([seed, *key]).random(_RANDOM_NUMBERS, dtype=np.float32) for key in keys])
    stream = iter(torch.from_numpy(numbers).unbind(1))

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * next(stream)

    index = torch.from_numpy(indices)
    # Sampling shrinks by skipping pixels; from half the size it does not have to.
    squares = pictures.halves if size <= STORED_SIZE // 2 else pictures.squares
    aspect = pictures.aspect[index]
    kind = uniform(0, 1)
    squashed = kind > 0.6
    area = torch.where(squashed, uniform(0.5, 1), uniform(0.2, 1))
    reach = torch.where(squashed, torch.tensor(_WIDE), torch.tensor(4 / 3)).log()
    proportion = torch.exp(uniform(-1, 1) * reach)
    # Width and height of the box as shares of the picture; outside of it is black.
    width = (area * proportion / aspect).sqrt().clamp(max=1)
    height = (area * aspect / proportion).sqrt().clamp(max=1)
    letterboxed = kind > 0.9
    width = torch.where(letterboxed, (_WIDE / aspect).clamp(min=1), torch.where(kind > 0.8, 1, width))
    height = torch.where(letterboxed, (aspect / _WIDE).clamp(min=1), torch.where(kind > 0.8, 1, height))
    across = uniform(-1, 1) * (1 - width).clamp(min=0)
    down = uniform(-1, 1) * (1 - height).clamp(min=0)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    zero = torch.zeros(len(index))
    theta = torch.stack([torch.stack([mirror * width, zero, across], 1), torch.stack([zero, height, down], 1)], 1)
    grid = F.affine_grid(theta, [len(index), 3, size, size], align_corners=False)
    pixels = squares[index].float() / 255

    brightness, contrast, colour, grey = uniform(0.6, 1.4), uniform(0.6, 1.4), uniform(0.6, 1.4), uniform(0, 1) < 0.1
    share = uniform(0, 1)
    if others is not None and (others != indices).any():
        pixels = pixels.lerp(squares[torch.from_numpy(others)].float() / 255, _per_picture(share))
    pixels = F.grid_sample(pixels, grid, align_corners=False) * _per_picture(brightness)
    level = pixels.mean(dim=(1, 2, 3), keepdim=True)
    pixels = level + (pixels - level) * _per_picture(contrast)
    lightness = pixels.mean(dim=1, keepdim=True)
    return (lightness + (pixels - lightness) * _per_picture(torch.where(grey, 0.0, colour))).clamp(0, 1)


def _per_picture(factor: Tensor) -> Tensor:
    return factor.view(-1, 1, 1, 1)


def resize_pictures(pictures: Pictures, indices: np.ndarray) -> np.ndarray:
    """Resize pictures to the input of an encoder, as recordings are read: (batch, 224, 224, 3) uint8."""
    squares = pictures.squares[torch.from_numpy(indices)].float()
    scaled = F.interpolate(squares, size=(VIEW_SIZE, VIEW_SIZE), mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
