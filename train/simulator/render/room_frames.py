"""Frames of a room: a drawn scene or a photo under the overlays of the platform."""

from bisect import bisect_left, bisect_right
from operator import attrgetter

import numpy as np
from PIL import Image, ImageDraw

from kuaihl.records import SEGMENT_S
from train.simulator.render import overlays, places, stage
from train.simulator.render.canvas import HEIGHT, WIDTH, Canvas
from train.simulator.render.moment import ACCENTS, Moment, make_guest
from train.simulator.render.people import Person
from train.simulator.rooms.room import Room
from train.simulator.rooms.visuals import DRAWING, PHOTO, STUCK, TRANSITION
from train.simulator.settings import PICTURE_SLOT_S

_SCENES = {
    "chatting": stage.draw_chatting,
    "singing": stage.draw_singing,
    "dancing": stage.draw_dancing,
    "pk": stage.draw_pk,
    "gaming": places.draw_gaming,
    "eating": places.draw_eating,
    "outdoors": places.draw_outdoors,
    "selling": places.draw_selling,
}
_TRANSITION_S = 3.0
_RAMP_S = 5.0
_BUBBLES_S = 8.0
_MAX_BUBBLES = 5
_start_s = attrgetter("start_s")
_time_s = attrgetter("time_s")


def draw_segment(room: Room, index: int, *, size: tuple[int, int] = (224, 224)) -> np.ndarray:
    """Draw the three pictures of segment ``index``, at 5, 15 and 25 s: (3, height, width, 3) uint8 RGB.

    The whole scene fills ``size`` (width, height), squashed unless that is 16:9, as recordings are read.
    """
    start_s = room.segments[index].start_s
    return np.stack([draw_frame(room, start_s + offset_s, size) for offset_s in (5.0, 15.0, 25.0)])


def draw_frame(room: Room, time_s: float, size: tuple[int, int], *, supersample: int = 1) -> np.ndarray:
    """Draw the room at ``time_s``: (height, width, 3) uint8 RGB; ``supersample`` times larger first, for soft edges."""
    image = _draw_image(room, time_s, (size[0] * supersample, size[1] * supersample))
    return np.asarray(image if supersample == 1 else image.reduce(supersample))


def _draw_image(room: Room, time_s: float, size: tuple[int, int]) -> Image.Image:
    visuals = room.visuals
    slot = min(int(time_s // PICTURE_SLOT_S), len(visuals.state) - 1)
    if visuals.state[slot] == STUCK:
        while visuals.state[slot] == STUCK:
            slot -= 1
        image = _draw_slot(room, slot, (slot + 1) * PICTURE_SLOT_S - 0.1, size)
        image = image.reduce(max(1, size[0] // 75)).resize(size, Image.Resampling.NEAREST)
        overlays.draw_spinner(Canvas(image), time_s)
        return image
    return _draw_slot(room, slot, time_s, size)


def _draw_slot(room: Room, slot: int, time_s: float, size: tuple[int, int]) -> Image.Image:
    """Draw a slot that is not stuck; it may be in transition from the shot before."""
    if room.visuals.state[slot] != TRANSITION or slot == 0:
        return _draw_shot(room, slot, time_s, size)
    progress = 0.5 + (time_s - (slot + 0.5) * PICTURE_SLOT_S) / _TRANSITION_S
    if progress <= 0.0:
        return _draw_shot(room, slot - 1, time_s, size)
    image = _draw_shot(room, slot, time_s, size)
    if progress < 1.0:
        mask = Image.new("L", size, 255)
        top, bottom = (x / WIDTH * size[0] for x in overlays.wipe_edge(progress))
        ImageDraw.Draw(mask).polygon([(-9, -1), (top, -1), (bottom, size[1]), (-9, size[1])], fill=0)
        image.paste(_draw_shot(room, slot - 1, time_s, size), mask=mask)
        overlays.draw_wipe(Canvas(image), progress, ACCENTS[room.visuals.theme])
    return image


def _draw_shot(room: Room, slot: int, time_s: float, size: tuple[int, int]) -> Image.Image:
    """Draw the shot of ``slot`` at ``time_s`` with overlays."""
    visuals = room.visuals
    index = min(int(slot * PICTURE_SLOT_S // SEGMENT_S), len(room.truth) - 1)
    now = _make_moment(room, slot, index, time_s)
    framing, truth = visuals.framing[slot], room.truth[index]
    image = Image.new("RGB", size) if framing == DRAWING else _draw_photo(room, slot, size)
    if framing != PHOTO:
        scene = Image.new("RGB", size if framing == DRAWING else (size[0] // 2, size[1] // 2))
        # Shots differ in distance around the framing of the room.
        zoom = visuals.zoom * (1.0, 1.06, 1.0, 1.12)[now.shot % 4]
        canvas = Canvas(scene, tint=visuals.tint, zoom=zoom, shift=visuals.shift)
        (stage.draw_idle if truth.idle else _SCENES[truth.talent])(canvas, now)
        image.paste(scene, (size[0] - scene.width, size[1] - scene.height))
    above = Canvas(image)
    if framing != DRAWING and truth.idle:
        stage.draw_pause(above, time_s)
    elif framing != DRAWING and truth.talent == "pk":
        stage.draw_points(above, now)
    overlays.draw_header(above, room.streamer, time_s)
    first = bisect_left(room.comments, time_s - _BUBBLES_S, key=_time_s)
    last = bisect_right(room.comments, time_s, key=_time_s)
    recent = room.comments[first:last]
    overlays.draw_gifts(above, visuals.gifts[slot], [c.user for c in recent if c.user is not None], time_s)
    overlays.draw_bubbles(above, recent[-_MAX_BUBBLES:])
    return image


def _make_moment(room: Room, slot: int, index: int, time_s: float) -> Moment:
    visuals, host = room.visuals, room.host
    # Ramps from the intensity of the segment before, never towards the next: pictures must not show the future.
    intensity = np.concatenate([room.plan.intensity[:1], room.plan.intensity])
    before, here = intensity[index], intensity[index + 1]
    into_s = time_s - index * SEGMENT_S
    share = min(1.0, max(0.0, into_s / _RAMP_S))
    ramp_s = into_s * share / 2 if share < 1.0 else into_s - _RAMP_S / 2
    full_s = SEGMENT_S - _RAMP_S / 2
    earlier_s = float((intensity[:index] * (SEGMENT_S - full_s) + intensity[1 : index + 1] * full_s).sum())
    return Moment(
        host=Person(host.skin, host.hair, host.shirt, host.hair_style),
        guest=make_guest(np.random.default_rng([visuals.seed, room.plan.episode_at(index).start])),
        theme=visuals.theme,
        time_s=time_s,
        intensity_s=earlier_s + float(before * (into_s - ramp_s) + here * ramp_s),
        intensity=float(share * here + (1.0 - share) * before),
        mouth=_mouth_opening(room, time_s),
        shot=visuals.shot[slot],
        lead=visuals.lead[slot],
    )


def _mouth_opening(room: Room, time_s: float) -> float:
    """Return the opening of the mouth in [0, 1]; it moves while the streamer speaks."""
    last = bisect_right(room.speech, time_s, key=_start_s) - 1
    if last < 0 or time_s > room.speech[last].end_s:
        return 0.0
    return 0.5 + 0.5 * float(np.sin(time_s * 17.0))


def _draw_photo(room: Room, slot: int, size: tuple[int, int]) -> Image.Image:
    """Read the photo of a slot; crop it as the shot is framed, and tint and blur it as in all of the room."""
    visuals = room.visuals
    photo = visuals.photos[slot].open(size).reduce(visuals.blur)
    width, height = photo.size
    share = (1.0, 0.8, 0.65, 0.9)[visuals.shot[slot] % 4] / max(1.0, visuals.zoom)
    left = (1.0 - share) * width * (0.5 + visuals.shift[0] / WIDTH)
    top = (1.0 - share) * height * (0.5 + visuals.shift[1] / HEIGHT)
    image = photo.resize(size, Image.Resampling.BILINEAR, box=(left, top, left + share * width, top + share * height))
    if visuals.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return Image.blend(image, Image.new("RGB", size, ACCENTS[visuals.theme]), 0.12)
