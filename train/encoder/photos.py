"""Photos and drawings in memory: read once, split for a linear probe, seen through views that a key determines."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from kuaihl.errors import LabelError
from train.simulator.render.photo_scenes import read_scenes, split_of

STORED_SIZE = 256
VIEW_SIZE = 224
LEFT_OUT = "BACKGROUND_Google"
"""Caltech-101's folder of pictures of anything: no class, and left out of its usual tests."""
PROBE_TRAIN = 30
PROBE_TEST = 20
"""Photos of each class, for the probe's test at most so many."""
FRAMES_PER_ROOM = 24
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_WIDE = 16 / 9
_CHANCES = 13


@dataclass(frozen=True)
class Pictures:
    """Pictures squashed to squares (pictures, 3, 256, 256) uint8, and aspect ratios (pictures,) of the originals.

    ``names`` ("folder/file") are those of the photos; drawings come after the photos and have none.
    """

    squares: Tensor
    aspect: Tensor
    names: tuple[str, ...]

    @cached_property
    def halves(self) -> Tensor:
        """The squares at half their side (pictures, 3, 128, 128) uint8."""
        parts = self.squares.split(256)
        return torch.cat([F.avg_pool2d(part.float(), 2).round().byte() for part in parts])

    @property
    def classes(self) -> tuple[str, ...]:
        """The folder of each photo."""
        return tuple(PurePosixPath(name).parent.name for name in self.names)


@dataclass(frozen=True)
class Split:
    """Indices of photos: to distil from, and to train and test the linear probe on."""

    distil: np.ndarray
    probe_train: np.ndarray
    probe_test: np.ndarray


def load_pictures(sources: Iterable[Path], *, drawings: int = 0, scenes: Path | None = None) -> Pictures:
    """Read every photo of tar files and folders, in order of their names; a photo's class is its folder.

    ``drawings`` frames of simulated training rooms are added; half of those rooms show photos of ``scenes``, but none
    that `split_for_probe` holds out for its test.

    Raises
    ------
    LabelError
        A source is neither a tar file nor a folder, holds no photo, or a damaged one.
    """
    found = [item for source in sources for item in _files(source)]
    squares = torch.empty((len(found) + drawings, 3, STORED_SIZE, STORED_SIZE), dtype=torch.uint8)
    aspect = torch.full((len(squares),), _WIDE)
    for i, (name, data) in enumerate(found):
        try:
            with Image.open(io.BytesIO(data)) as image:
                aspect[i] = image.width / image.height
                square = image.convert("RGB").resize((STORED_SIZE, STORED_SIZE), Image.Resampling.BICUBIC)
        except OSError as error:
            raise LabelError(f"{name} is not a whole picture ({error}): remove it") from error
        squares[i] = torch.from_numpy(np.array(square)).permute(2, 0, 1)
    names = tuple("/".join(PurePosixPath(name).parts[-2:]) for name, _ in found)
    tested = frozenset(names[i] for i in split_for_probe(names).probe_test)
    for i, frame in enumerate(_drawings(drawings, scenes, without=tested), start=len(found)):
        squares[i] = torch.from_numpy(frame).permute(2, 0, 1)
    return Pictures(squares, aspect, names)


def _files(source: Path) -> list[tuple[str, bytes]]:
    """Names and bytes of the photos of a tar file or a folder, sorted by name."""
    found = []
    if source.is_dir():
        names = {file.relative_to(source.parent).as_posix(): file for file in source.rglob("*") if file.is_file()}
        found = [(name, file.read_bytes()) for name, file in names.items() if _wanted(name)]
    elif source.is_file() and tarfile.is_tarfile(source):
        with tarfile.open(source) as tar:
            members = [member for member in tar if member.isfile() and _wanted(member.name)]
            found = [(member.name, tar.extractfile(member).read()) for member in members]
    if not found:
        raise LabelError(f"{source} holds no photos: give tar files or folders with .jpg, .png or .webp in them")
    return sorted(found)


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in _SUFFIXES and LEFT_OUT not in path.parts


def _drawings(count: int, scenes: Path | None, *, without: frozenset[str]) -> Iterator[np.ndarray]:
    """Draw ``count`` frames (256, 256, 3) uint8 of simulated rooms, evenly over each of the first training rooms."""
    # Late, since photos alone need no simulator.
    from train.simulator.render.draw import draw
    from train.simulator.rooms.room import room
    from train.simulator.settings import SimulatorConfig

    photos = None if scenes is None else read_scenes(scenes, without=without)
    for first in range(0, count, FRAMES_PER_ROOM):
        drawn = room(SimulatorConfig(size="base"), first // FRAMES_PER_ROOM, scenes=photos)
        if drawn.split != "train":
            raise LabelError(f"{count} drawings are more than the training rooms hold; ask for {first} at most")
        wanted = min(FRAMES_PER_ROOM, count - first)
        segments = np.linspace(0, len(drawn.segments) - 1, -(-wanted // 3)).astype(int)
        frames = np.concatenate([draw(drawn, int(i), size=(STORED_SIZE, STORED_SIZE)) for i in segments])
        yield from frames[:wanted]


def split_for_probe(names: tuple[str, ...]) -> Split:
    """Hold photos ("folder/file") out of distillation; the same for every run, so that runs can start from runs.

    Those are the probe's test photos, and those that simulated validation and test rooms show.
    """
    rng = np.random.default_rng(0)
    classes = np.array([PurePosixPath(name).parent.name for name in names])
    train, test = [], []
    for name in sorted(set(classes)):
        members = rng.permutation(np.flatnonzero(classes == name))
        if len(members) > PROBE_TRAIN:
            train.extend(members[:PROBE_TRAIN])
            test.extend(members[PROBE_TRAIN : PROBE_TRAIN + PROBE_TEST])
    shown = [i for i, name in enumerate(names) if split_of(name) in ("validation", "test")]
    distil = np.setdiff1d(np.arange(len(names)), [*test, *shown])
    return Split(distil, np.array(sorted(train), dtype=int), np.array(sorted(test), dtype=int))


def views(
    pictures: Pictures,
    chosen: np.ndarray,
    variants: np.ndarray,
    *,
    others: np.ndarray | None = None,
    seed: int,
    size: int = VIEW_SIZE,
) -> Tensor:
    """See pictures at random -> (batch, 3, size, size) float32 in [0, 1].

    The same (seed, picture, variant) gives the same view at every size. 60 % are crops at about their true proportions,
    20 % crops squashed as a recording's frame is, 10 % whole and 10 % whole inside a black 16:9 frame; half are
    mirrored, and all get their brightness, contrast and colour changed. Where ``others`` names another picture, the
    two are blended first, by a share drawn evenly (mixup; Zhang et al., ICLR 2018).
    """
    keys = zip(chosen.tolist(), variants.tolist(), strict=True)
    drawn = np.stack([np.random.default_rng([seed, *key]).random(_CHANCES, dtype=np.float32) for key in keys])
    chances = iter(torch.from_numpy(drawn).unbind(1))

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * next(chances)

    where = torch.from_numpy(chosen)
    # Sampling shrinks by leaving pixels out; half the size first, it need not.
    squares = pictures.halves if size <= STORED_SIZE // 2 else pictures.squares
    aspect = pictures.aspect[where]
    kind = uniform(0, 1)
    squashed = kind > 0.6
    area = torch.where(squashed, uniform(0.5, 1), uniform(0.2, 1))
    reach = torch.where(squashed, torch.tensor(_WIDE), torch.tensor(4 / 3)).log()
    proportion = torch.exp(uniform(-1, 1) * reach)
    # Width and height of the box as shares of the picture; what is beyond the picture is black.
    width = (area * proportion / aspect).sqrt().clamp(max=1)
    height = (area * aspect / proportion).sqrt().clamp(max=1)
    letterboxed = kind > 0.9
    width = torch.where(letterboxed, (_WIDE / aspect).clamp(min=1), torch.where(kind > 0.8, 1, width))
    height = torch.where(letterboxed, (aspect / _WIDE).clamp(min=1), torch.where(kind > 0.8, 1, height))
    across = uniform(-1, 1) * (1 - width).clamp(min=0)
    down = uniform(-1, 1) * (1 - height).clamp(min=0)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    none = torch.zeros(len(where))
    theta = torch.stack([torch.stack([mirror * width, none, across], 1), torch.stack([none, height, down], 1)], 1)
    grid = F.affine_grid(theta, [len(where), 3, size, size], align_corners=False)
    taken = squares[where].float() / 255

    brightness, contrast, colour, grey = uniform(0.6, 1.4), uniform(0.6, 1.4), uniform(0.6, 1.4), uniform(0, 1) < 0.1
    share = uniform(0, 1)
    if others is not None and (others != chosen).any():
        taken = taken.lerp(squares[torch.from_numpy(others)].float() / 255, _shaped(share))
    seen = F.grid_sample(taken, grid, align_corners=False) * _shaped(brightness)
    level = seen.mean(dim=(1, 2, 3), keepdim=True)
    seen = level + (seen - level) * _shaped(contrast)
    lightness = seen.mean(dim=1, keepdim=True)
    return (lightness + (seen - lightness) * _shaped(torch.where(grey, 0.0, colour))).clamp(0, 1)


def _shaped(factor: Tensor) -> Tensor:
    return factor.view(-1, 1, 1, 1)


def whole(pictures: Pictures, chosen: np.ndarray) -> np.ndarray:
    """Scale pictures to what an encoder takes, as recordings are read: (batch, 224, 224, 3) uint8."""
    squares = pictures.squares[torch.from_numpy(chosen)].float()
    scaled = F.interpolate(squares, size=(VIEW_SIZE, VIEW_SIZE), mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
