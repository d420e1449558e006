"""Photos as scenes: a folder or a tar of photos, one folder per class, disjoint between splits."""

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
# A few classes of Caltech-101 for each talent.
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
    """Location of a photo: ``size`` bytes at ``offset`` of ``path``."""

    path: Path
    offset: int
    size: int

    def open(self, size: tuple[int, int]) -> Image.Image:
        """Read the photo in RGB, reduced to no less than ``size`` (width, height)."""
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

    def sample(self, talent: str, split: Split, count: int, *, rng: np.random.Generator) -> list[Photo]:
        """Choose ``count`` photos of a talent and split, with replacement."""
        photos = self.photos[talent, split]
        return [photos[i] for i in rng.integers(len(photos), size=count)]


def split_of(name: str) -> Split | None:
    """Return the split of a photo by a hash of its name (80, 10 and 10 %), or None if no talent uses its class."""
    if _talent(PurePosixPath(name).parent.name) is None:
        return None
    bucket = zlib.crc32(_short(name).encode()) % 10
    return "train" if bucket < 8 else "validation" if bucket == 8 else "test"


def read_scenes(path: Path, *, without: frozenset[str] = frozenset()) -> Scenes:
    """Index the photos of a folder or an uncompressed tar, except those ``without`` ("folder/file").

    Raises
    ------
    LabelError
        A talent has no photo in some split.
    """
    photos: dict[tuple[str, str], list[Photo]] = defaultdict(list)
    for name, photo in sorted(_members(path).items()):
        split = split_of(name)
        if split is not None and _short(name) not in without:
            photos[_talent(PurePosixPath(name).parent.name), split].append(photo)
    missing = [f"{t}/{s}" for t in TALENTS for s in ("train", "validation", "test") if not photos.get((t, s))]
    if missing:
        raise LabelError(
            f"{path} has no photos for {', '.join(missing)}: give photos in one folder per class, as in Caltech-101."
        )
    return Scenes({key: tuple(group) for key, group in photos.items()})


def _members(path: Path) -> dict[str, Photo]:
    """Find photos by name (class folder and file)."""
    if path.is_dir():
        files = [p for p in path.rglob("*") if p.suffix.lower() in _ENDINGS]
        return {p.relative_to(path).as_posix(): Photo(p, 0, p.stat().st_size) for p in files}
    try:
        # "r:" refuses compressed tars, which allow no random access.
        with tarfile.open(path, "r:") as tar:
            members = [m for m in tar if m.isfile() and m.name.lower().endswith(_ENDINGS)]
    except (OSError, tarfile.TarError) as error:
        raise LabelError(f"{path} is neither a folder nor an uncompressed tar of photos ({error}).") from error
    return {m.name: Photo(path, m.offset_data, m.size) for m in members}


def _short(name: str) -> str:
    return "/".join(PurePosixPath(name).parts[-2:])


def _talent(folder: str) -> str | None:
    """Return the talent that shows photos of a class, or None."""
    return next((talent for talent, classes in _CLASSES.items() if folder in classes), None)
