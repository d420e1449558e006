"""Photos as scenes: a folder or a tar of photos, folders = classes, read at random and kept apart by split."""

import tarfile
import zlib
from collections import defaultdict
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from kuaihl.errors import LabelError
from train.simulator.settings import TALENTS, Split

_ENDINGS = (".jpg", ".jpeg", ".png")
# a few of Caltech-101's folders for each talent; the others are not used
_CLASSES = {
    "chatting": ("Faces", "chair", "lamp", "ceiling_fan"),
    "singing": ("electric_guitar", "accordion", "grand_piano", "saxophone", "gramophone"),
    "dancing": ("chandelier", "butterfly", "umbrella", "inline_skate"),
    "pk": ("soccer_ball", "yin_yang", "stop_sign", "cannon"),
    "gaming": ("laptop", "headphone", "garfield", "snoopy", "stegosaurus"),
    "eating": ("pizza", "crab", "lobster", "strawberry", "cup"),
    "outdoors": ("airplanes", "schooner", "pagoda", "sunflower", "car_side", "ferry"),
    "selling": ("watch", "cellphone", "camera", "stapler", "dollar_bill"),
}


@dataclass(frozen=True, slots=True)
class Photo:
    """Where a photo's bytes lie: ``size`` bytes at ``offset`` of ``path``."""

    path: Path
    offset: int
    size: int

    def open(self, size: tuple[int, int]) -> Image.Image:
        """Read it as an RGB picture of at least ``size`` (width, height) where it has that many pixels."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        photo = Image.open(BytesIO(data))
        photo.draft("RGB", size)
        return photo.convert("RGB")


@dataclass(frozen=True, slots=True)
class Scenes:
    """Photos of each talent and split."""

    photos: dict[tuple[str, str], tuple[Photo, ...]]

    def draw(self, talent: str, split: Split, count: int, *, rng: np.random.Generator) -> list[Photo]:
        """Choose ``count`` photos of a talent among those of a split."""
        photos = self.photos[talent, split]
        return [photos[i] for i in rng.integers(len(photos), size=count)]


def split_of(name: str) -> Split | None:
    """Which split a photo is a scene of, by a hash of its folder and file: 80, 10 and 10 %; ``None`` if of none."""
    if _talent(PurePosixPath(name).parent.name) is None:
        return None
    bucket = zlib.crc32(_short(name).encode()) % 10
    return "train" if bucket < 8 else "validation" if bucket == 8 else "test"


def read_scenes(path: Path, *, without: frozenset[str] = frozenset()) -> Scenes:
    """Index the photos of a folder or an uncompressed tar; pictures are read when they are drawn.

    Photos ``without`` ("folder/file") are left out.

    Raises
    ------
    LabelError
        If there is no photo for some talent and split.
    """
    found: dict[tuple[str, str], list[Photo]] = defaultdict(list)
    for name, photo in sorted(_members(path).items()):
        split = split_of(name)
        if split is not None and _short(name) not in without:
            found[_talent(PurePosixPath(name).parent.name), split].append(photo)
    missing = [f"{t}/{s}" for t in TALENTS for s in ("train", "validation", "test") if not found.get((t, s))]
    if missing:
        raise LabelError(
            f"{path}: no photos for {', '.join(missing)}; folders of photos are classes, as in Caltech-101."
        )
    return Scenes({key: tuple(photos) for key, photos in found.items()})


def _members(path: Path) -> dict[str, Photo]:
    """Photos by name: class folder and file."""
    if path.is_dir():
        files = [p for p in path.rglob("*") if p.suffix.lower() in _ENDINGS]
        return {p.relative_to(path).as_posix(): Photo(p, 0, p.stat().st_size) for p in files}
    try:
        # "r:" takes no compressed tar: in one, nothing can be read at random
        with tarfile.open(path, "r:") as tar:
            members = [m for m in tar if m.isfile() and m.name.lower().endswith(_ENDINGS)]
    except (OSError, tarfile.TarError) as error:
        raise LabelError(f"{path}: neither a folder nor an uncompressed tar of photos: {error}") from error
    return {m.name: Photo(path, m.offset_data, m.size) for m in members}


def _short(name: str) -> str:
    return "/".join(PurePosixPath(name).parts[-2:])


def _talent(folder: str) -> str | None:
    """Which talent a class of photos stands for; the classes of Caltech-101 that are not listed stand for none."""
    return next((talent for talent, classes in _CLASSES.items() if folder in classes), None)
