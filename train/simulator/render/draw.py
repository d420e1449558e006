"""Pictures of a room at any time: the scene, or a photo, under the platform's overlays."""

from bisect import bisect_left, bisect_right
from operator import attrgetter

import numpy as np
from PIL import Image, ImageDraw

from kuaihl.records import SEGMENT_S
from train.simulator.render import overlays, places, stage
from train.simulator.render.canvas import HEIGHT, WIDTH, Canvas
from train.simulator.render.look import STUCK, TRANSITION
from train.simulator.render.moment import ACCENTS, Moment, guest
from train.simulator.render.people import Person
from train.simulator.rooms.room import Room
from train.simulator.settings import PICTURE_SLOT_S

_SETS = {
    "chatting": stage.chatting,
    "singing": stage.singing,
    "dancing": stage.dancing,
    "pk": stage.pk,
    "gaming": places.gaming,
    "eating": places.eating,
    "outdoors": places.outdoors,
    "selling": places.selling,
}
_TRANSITION_S = 3.0
_RAMP_S = 5.0
_BUBBLES_S = 8.0
_MAX_BUBBLES = 5
_start_s = attrgetter("start_s")
_time_s = attrgetter("time_s")


def draw(room: Room, index: int, *, size: tuple[int, int] = (224, 224)) -> np.ndarray:
    """Draw the three pictures of segment ``index``, at 5, 15 and 25 s: (3, height, width, 3) uint8 RGB.

    The whole scene fills ``size`` (width, height), squashed where that is not 16:9, as recordings are read.
    """
    start_s = room.segments[index].start_s
    return np.stack([frame(room, start_s + offset_s, size) for offset_s in (5.0, 15.0, 25.0)])


def frame(room: Room, time_s: float, size: tuple[int, int], *, smooth: int = 1) -> np.ndarray:
    """Draw the room at ``time_s``: (height, width, 3) uint8 RGB; ``smooth`` times larger first, for soft edges."""
    image = _picture(room, time_s, (size[0] * smooth, size[1] * smooth))
    return np.asarray(image if smooth == 1 else image.reduce(smooth))


def _picture(room: Room, time_s: float, size: tuple[int, int]) -> Image.Image:
    look = room.look
    slot = min(int(time_s // PICTURE_SLOT_S), len(look.state) - 1)
    if look.state[slot] == STUCK:
        while look.state[slot] == STUCK:
            slot -= 1
        image = _moving(room, slot, (slot + 1) * PICTURE_SLOT_S - 0.1, size)
        image = image.reduce(max(1, size[0] // 75)).resize(size, Image.Resampling.NEAREST)
        overlays.spinner(Canvas(image), time_s)
        return image
    return _moving(room, slot, time_s, size)


def _moving(room: Room, slot: int, time_s: float, size: tuple[int, int]) -> Image.Image:
    """Draw a slot that is not stuck, in transition from the shot before where it is that."""
    if room.look.state[slot] != TRANSITION or slot == 0:
        return _shot(room, slot, time_s, size)
    progress = 0.5 + (time_s - (slot + 0.5) * PICTURE_SLOT_S) / _TRANSITION_S
    if progress <= 0.0:
        return _shot(room, slot - 1, time_s, size)
    image = _shot(room, slot, time_s, size)
    if progress < 1.0:
        mask = Image.new("L", size, 255)
        top, bottom = (x / WIDTH * size[0] for x in overlays.wipe_edge(progress))
        ImageDraw.Draw(mask).polygon([(-9, -1), (top, -1), (bottom, size[1]), (-9, size[1])], fill=0)
        image.paste(_shot(room, slot - 1, time_s, size), mask=mask)
        overlays.wipe(Canvas(image), progress, ACCENTS[room.look.theme])
    return image


def _shot(room: Room, slot: int, time_s: float, size: tuple[int, int]) -> Image.Image:
    """Draw the shot of ``slot`` as it is at ``time_s``, overlays included."""
    look = room.look
    index = min(int(slot * PICTURE_SLOT_S // SEGMENT_S), len(room.truth) - 1)
    now = _moment(room, slot, index, time_s)
    if look.photos is None:
        image = Image.new("RGB", size)
        # a closer or wider shot from cut to cut, about the room's own framing
        zoom = look.zoom * (1.0, 1.06, 1.0, 1.12)[now.shot % 4]
        canvas = Canvas(image, tint=look.tint, zoom=zoom, shift=look.shift)
        scene = stage.idle if room.truth[index].idle else _SETS[room.truth[index].talent]
        scene(canvas, now)
    else:
        image = _photo(room, slot, size)
    above = Canvas(image)
    if look.photos is not None and room.truth[index].talent == "pk" and not room.truth[index].idle:
        stage.points(above, now)
    overlays.header(above, room.streamer, time_s)
    first = bisect_left(room.comments, time_s - _BUBBLES_S, key=_time_s)
    last = bisect_right(room.comments, time_s, key=_time_s)
    recent = room.comments[first:last]
    overlays.gifts(above, look.gifts[slot], [c.user for c in recent if c.user is not None], time_s)
    overlays.bubbles(above, recent[-_MAX_BUBBLES:])
    return image


def _moment(room: Room, slot: int, index: int, time_s: float) -> Moment:
    look, host = room.look, room.host
    # from the segment before over its first five seconds, and never from the next: pictures do not tell the future
    felt = np.concatenate([room.plan.intensity[:1], room.plan.intensity])
    before, here = felt[index], felt[index + 1]
    into_s = time_s - index * SEGMENT_S
    share = min(1.0, max(0.0, into_s / _RAMP_S))
    ramp_s = into_s * share / 2 if share < 1.0 else into_s - _RAMP_S / 2
    full_s = SEGMENT_S - _RAMP_S / 2
    whole_s = float((felt[:index] * (SEGMENT_S - full_s) + felt[1 : index + 1] * full_s).sum())
    return Moment(
        host=Person(host.skin, host.hair, host.shirt, host.hair_style),
        guest=guest(np.random.default_rng([look.seed, room.plan.episode_at(index).start])),
        theme=look.theme,
        time_s=time_s,
        felt_s=whole_s + float(before * (into_s - ramp_s) + here * ramp_s),
        intensity=float(share * here + (1.0 - share) * before),
        mouth=_mouth(room, time_s),
        shot=look.shot[slot],
        lead=look.lead[slot],
    )


def _mouth(room: Room, time_s: float) -> float:
    """How far the mouth is open: it moves while the streamer speaks."""
    last = bisect_right(room.speech, time_s, key=_start_s) - 1
    if last < 0 or time_s > room.speech[last].end_s:
        return 0.0
    return 0.5 + 0.5 * float(np.sin(time_s * 17.0))


def _photo(room: Room, slot: int, size: tuple[int, int]) -> Image.Image:
    """Read the slot's photo, cut to the room's framing and coloured by it."""
    look = room.look
    photo = look.photos[slot].open(size)
    width, height = photo.size
    share = 1.0 / max(1.0, look.zoom)
    left = (1.0 - share) * width * (0.5 + look.shift[0] / WIDTH)
    top = (1.0 - share) * height * (0.5 + look.shift[1] / HEIGHT)
    image = photo.resize(size, Image.Resampling.BILINEAR, box=(left, top, left + share * width, top + share * height))
    if look.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return Image.blend(image, Image.new("RGB", size, ACCENTS[look.theme]), 0.12)
