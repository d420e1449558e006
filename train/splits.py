"""Which rooms of a dataset train, validate and test."""

from collections.abc import Sequence
from dataclasses import replace

from kuaihl.errors import LabelError
from train.dataset import Room, Segments

SPLITS = ("train", "validation", "test")


def split_by_date(count: int) -> list[str]:
    """Return the split of each of ``count`` recordings in order of date: 70 % train, 10 % validation, 20 % test.

    Bounds are rounded down. A single recording trains; the second validates, the third tests.
    """
    first_test = max(int(0.8 * count), 2)
    first_validation = max(min(int(0.7 * count), first_test - 1), 1)
    return ["train" if k < first_validation else "validation" if k < first_test else "test" for k in range(count)]


def select_rooms(segments: Segments, split: str, *, left_out: Sequence[str] = ()) -> list[Room]:
    """Return the rooms of a split, or of ``"all"``.

    Parameters
    ----------
    split
        ``"train"``, ``"validation"``, ``"test"`` or ``"all"``.
    left_out
        Streamers to hold out. If there are any, the split of the dataset is replaced by that of `leave_out`.

    Raises
    ------
    LabelError
        There is no such room or streamer.
    """
    rooms = leave_out(segments, left_out) if left_out else segments.rooms
    selected = [room for room in rooms if split in ("all", room.split)]
    if not selected:
        raise LabelError(f"The dataset has no {split!r} rooms; its splits are {sorted({r.split for r in rooms})}.")
    return selected


def leave_out(segments: Segments, streamers: Sequence[str]) -> list[Room]:
    """Split anew: rooms of ``streamers`` test, the newest tenth of the others validates, the rest trains.

    Raises
    ------
    LabelError
        A streamer has no room, or the others have fewer than two.
    """
    rooms = sorted(segments.rooms, key=lambda room: int(segments.column("day", room)[0]))
    known = {room.streamer for room in rooms}
    if unknown := set(streamers) - known:
        raise LabelError(
            f"The dataset has no rooms of {', '.join(sorted(unknown))}; its streamers are {', '.join(sorted(known))}."
        )
    others = [room for room in rooms if room.streamer not in streamers]
    if len(others) < 2:
        raise LabelError("Without these streamers nothing is left to train and to validate with.")
    first_validation = len(others) - max(1, len(others) // 10)
    kept = [replace(room, split="train" if k < first_validation else "validation") for k, room in enumerate(others)]
    return kept + [replace(room, split="test") for room in rooms if room.streamer in streamers]
