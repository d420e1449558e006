"""Photos and real chat that simulated rooms show."""

import re
import tarfile
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from kuaihl.errors import LabelError
from train.simulator.render.draw import draw
from train.simulator.render.look import STEADY
from train.simulator.render.photo_scenes import read_scenes
from train.simulator.rooms.comment_bank import read_bank
from train.simulator.rooms.room import room
from train.simulator.settings import TALENTS, SimulatorConfig

SMALL = SimulatorConfig(size="small")
TINY = SimulatorConfig(size="tiny")


def make_bank(path, *, vods: int = 10) -> None:
    rows: list[tuple[str, int, str]] = []
    for vod in range(vods):
        # 200 calm windows of 4 lines, and 10 windows of 60
        for window in range(210):
            hot = window % 21 == 20
            rows += [
                (f"v{vod:02d}", 30 * window + k % 30, f"{'hot' if hot else 'cold'} vod {vod}")
                for k in range(60 if hot else 4)
            ]
    np.random.default_rng(0).shuffle(rows)
    vod, time_s, text = zip(*rows, strict=True)
    pq.write_table(pa.table({"vod": vod, "time_s": time_s, "text": text}), path)


def test_the_bank_takes_training_vods_and_bursts_with_hype(tmp_path) -> None:
    make_bank(tmp_path / "chat.parquet")
    bank = read_bank(tmp_path / "chat.parquet")
    assert {line.split()[-1] for line in bank.calm.to_pylist() + bank.burst.to_pylist()} == {str(v) for v in range(7)}
    assert {line.split()[0] for line in bank.burst.to_pylist()} == {"hot"}
    assert {line.split()[0] for line in bank.calm.to_pylist()} == {"cold"}
    drawn, burst = bank.draw(2000, hype=0.7, share=0.8, rng=np.random.default_rng(0))
    taken = [line for line in drawn if line is not None]
    assert len(taken) / 2000 == pytest.approx(0.8, abs=0.04)
    assert np.mean([line.startswith("hot") for line in taken]) == pytest.approx(0.7, abs=0.04)
    assert all(line.startswith("hot") == hot for line, hot in zip(drawn, burst, strict=True) if line is not None)
    assert len(read_bank(tmp_path / "chat.parquet", lines=2400).burst) <= 1260

    written = [c.text for c in room(TINY, 0, bank=bank).comments if c.kind == "message"]
    assert np.mean([bool(re.fullmatch(r"(hot|cold) vod \d", text)) for text in written]) == pytest.approx(0.8, abs=0.05)


def test_a_bank_must_be_chat(tmp_path) -> None:
    pq.write_table(pa.table({"vod": ["a"], "words": ["b"]}), tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    make_bank(tmp_path / "few.parquet", vods=1)
    for name in ("other", "text", "few", "missing"):
        with pytest.raises(LabelError, match=name):
            read_bank(tmp_path / f"{name}.parquet")


def make_photos(path, mode: str) -> dict[str, tuple[int, int, int]]:
    """One class a talent, each photo of its own shade: class -> colour."""
    classes = ("chair", "gramophone", "umbrella", "yin_yang", "laptop", "pizza", "pagoda", "watch")
    colors = {name: (30 * k, 255 - 30 * k, 128) for k, name in enumerate(classes)}
    with tarfile.open(path, mode) as tar:
        for name, color in colors.items():
            for number in range(60):
                data = BytesIO()
                Image.new("RGB", (40, 30), color).save(data, "JPEG")
                member = tarfile.TarInfo(f"{name}/image_{number:04d}.jpg")
                member.size = data.tell()
                data.seek(0)
                tar.addfile(member, data)
    return colors


def test_photos_are_kept_apart_by_split_and_shown_in_half_of_the_rooms(tmp_path) -> None:
    colors = make_photos(tmp_path / "photos.tar", "w")
    scenes = read_scenes(tmp_path / "photos.tar")
    used = {split: {p.offset for (_, s), photos in scenes.photos.items() if s == split for p in photos}
            for split in ("train", "validation", "test")}  # fmt: skip
    assert sum(len(offsets) for offsets in used.values()) == 480 == len(set().union(*used.values()))
    made = [room(SMALL, i, scenes=scenes) for i in range(60, 100)]
    shown = [r for r in made if r.look.photos is not None]
    assert 12 <= len(shown) <= 28
    assert all({p.offset for p in r.look.photos} <= used[r.split] for r in shown)

    talent_class = dict(zip(TALENTS, colors, strict=True))
    one = shown[0]
    index = next(i for i in range(len(one.truth)) if set(one.look.state[3 * i : 3 * i + 3]) == {STEADY})
    middle = draw(one, index)[1, 120:150, 130:160].reshape(-1, 3)
    nearest = min(colors, key=lambda name: np.abs(np.median(middle, axis=0) - colors[name]).sum())
    assert nearest == talent_class[one.truth[index].talent]


def test_photos_must_be_readable_at_random_and_complete(tmp_path) -> None:
    make_photos(tmp_path / "packed.tar.gz", "w:gz")
    with pytest.raises(LabelError, match="uncompressed tar"):
        read_scenes(tmp_path / "packed.tar.gz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelError, match="no photos for chatting/train"):
        read_scenes(tmp_path / "empty")
