"""Distillation: photos and their views, the teacher, and a student that learns and can be resumed."""

import io
import json
import tarfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional

from kuaihl.errors import LabelError
from kuaihl.features.vision import VisualEncoder
from tests.fixtures.training_runs import equal
from train.distill import DistillConfig, distill, learning_rate, probe, start, take_step, train
from train.encoder.photos import PhotoSplit, Pictures, load_pictures, resize_pictures, sample_views, split_for_probe
from train.encoder.teacher import Teacher, run_teacher
from train.simulator.rooms.photo_scenes import split_of

pytestmark = pytest.mark.usefixtures("one_thread")
COLOURS = {"red": (200, 40, 30), "blue": (30, 60, 210)}


def draw_picture(colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """A flat colour with noise, of (width, height)."""
    noise = np.random.default_rng(seed).integers(-20, 20, (size[1], size[0], 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for i in range(3):
            draw_picture(colour, i).save(folder / name / f"{i}.png")
    (folder / "BACKGROUND_Google").mkdir()
    draw_picture((0, 0, 0), 0).save(folder / "BACKGROUND_Google" / "0.png")
    (folder / "red" / "notes.txt").write_text("not a photo")
    return folder


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher()


def test_photos_of_a_folder_and_of_a_tar(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for file in sorted(folder.rglob("*.png"), reverse=True):
            tar.add(file, f"photos/{file.relative_to(folder)}")
    for source in (folder, tmp_path / "photos.tar"):
        result = load_pictures([source])
        assert result.classes == ("blue",) * 3 + ("red",) * 3
        assert result.squares.shape == (6, 3, 256, 256)
        assert result.aspect.tolist() == [1.5] * 6
        means = result.squares.float().mean(dim=(2, 3))
        torch.testing.assert_close(means[0], torch.tensor([30.0, 60.0, 210.0]), atol=3, rtol=0)
        torch.testing.assert_close(means[5], torch.tensor([200.0, 40.0, 30.0]), atol=3, rtol=0)


def test_drawings_come_after_the_photos(folder: Path) -> None:
    pictures = load_pictures([folder], drawings=4)
    assert pictures.squares.shape[0] == 10
    assert len(pictures.classes) == 6
    torch.testing.assert_close(pictures.aspect[6:], torch.full((4,), 16 / 9))
    assert pictures.squares[6:].float().std(dim=(1, 2, 3)).min() > 5
    assert len({drawing.numpy().tobytes() for drawing in pictures.squares[6:]}) == 4


def test_files_without_photos_are_refused(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("no tar")
    for name in (".", "log.txt", "missing"):
        with pytest.raises(LabelError, match="has no photos"):
            load_pictures([tmp_path / name])
    data = io.BytesIO()
    draw_picture((1, 2, 3), 0).save(data, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(data.getvalue()[:300])
    with pytest.raises(LabelError, match=r"cut\.jpg"):
        load_pictures([tmp_path])


def test_split_keeps_test_photos_out() -> None:
    files = tuple(f"{name}/{i}.jpg" for name, count in (("a", 60), ("b", 33), ("c", 30)) for i in range(count))
    split = split_for_probe(files)
    names = np.array([file[0] for file in files])
    assert not set(split.distil) & set(split.probe_test)
    assert not set(split.probe_train) & set(split.probe_test)
    assert set(split.distil) | set(split.probe_test) == set(range(len(files)))
    assert [(names[split.probe_train] == name).sum() for name in "abc"] == [30, 30, 0]
    assert [(names[split.probe_test] == name).sum() for name in "abc"] == [20, 3, 0]
    np.testing.assert_array_equal(split_for_probe(files).probe_test, split.probe_test)


def test_photos_of_simulated_test_rooms_are_kept_out() -> None:
    files = tuple(f"chair/{i}.jpg" for i in range(200))
    split = split_for_probe(files)
    assert {split_of(files[i]) for i in split.distil} == {"train"}
    kept = set(split.distil) | set(split.probe_test)
    assert {split_of(files[i]) for i in set(range(200)) - kept} == {"validation", "test"}


@pytest.fixture(scope="module")
def ramp() -> Pictures:
    """A wide picture whose red grows to the right and whose green grows downwards."""
    across, down = np.meshgrid(np.linspace(60, 200, 256), np.linspace(60, 200, 256))
    square = torch.from_numpy(np.stack([across, down, np.full_like(across, 120)]).astype(np.uint8))
    return Pictures(square[None], torch.tensor([2.0]), ("ramp/0.jpg",))


def many_views(pictures: Pictures, count: int, size: int = 224) -> torch.Tensor:
    return sample_views(pictures, np.zeros(count, dtype=int), np.arange(count), seed=0, size=size)


def test_views_are_keyed(ramp: Pictures) -> None:
    seen = many_views(ramp, 8)
    assert seen.shape == (8, 3, 224, 224)
    assert 0 <= seen.min() < seen.max() <= 1
    for i in range(8):
        torch.testing.assert_close(sample_views(ramp, np.zeros(1, dtype=int), np.array([i]), seed=0)[0], seen[i])
        assert i == 0 or not torch.equal(seen[i], seen[0])
    assert not torch.equal(sample_views(ramp, np.zeros(1, dtype=int), np.zeros(1, dtype=int), seed=1)[0], seen[0])


def test_small_views_show_the_same(ramp: Pictures) -> None:
    large = functional.interpolate(many_views(ramp, 40), size=(112, 112), mode="bilinear", antialias=True)
    small = many_views(ramp, 40, size=112)
    # The last row and column of a box may see black beyond the picture's edge.
    difference = (large - small).abs()[:, :, 4:-4, 4:-4].mean(dim=(1, 2, 3))
    assert difference.quantile(0.9) < 0.02


def test_views_mirror_crop_and_frame(ramp: Pictures) -> None:
    seen = many_views(ramp, 200)
    middle = seen[:, :, 112, :]
    coloured = (seen[:, :, 112, 112].amax(1) - seen[:, :, 112, 112].amin(1)) > 0.02
    rightwards = (middle[:, 0, 150] - middle[:, 0, 74]) > 0
    assert 0.35 < rightwards.float().mean() < 0.65
    assert 0.05 < (~coloured).float().mean() < 0.4  # grey ones, and centres that are grey anyway
    # 2:1 inside 16:9 leaves 11 % of the height to bars of one tone, where any crop shows some of the ramp.
    tops, bottoms = (part.amax(dim=(2, 3)) - part.amin(dim=(2, 3)) for part in (seen[:, :, :8], seen[:, :, -8:]))
    bars = (tops.amax(1) < 0.01) & (bottoms.amax(1) < 0.01)
    assert 0.05 < bars.float().mean() < 0.17


def test_whole_is_the_photo_scaled(ramp: Pictures) -> None:
    result = resize_pictures(ramp, np.array([0]))
    assert (result.shape, result.dtype) == ((1, 224, 224, 3), np.uint8)
    expected = np.asarray(
        Image.fromarray(ramp.squares[0].permute(1, 2, 0).numpy()).resize((224, 224), Image.Resampling.BILINEAR)
    )
    assert np.abs(result[0].astype(int) - expected).max() <= 1


def test_teacher_knows_a_colour_from_another(teacher: Teacher) -> None:
    """Its weights fit: features are finite, sparse as after a ReLU, and logits are not flat."""
    noise = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    features, logits = teacher(noise)
    assert features.shape == (2, 1280)
    assert logits.shape == (2, 1000)
    assert features.min() >= 0
    assert 0.01 < features.mean() < 2
    assert logits.std() > 0.5
    assert not features.requires_grad


def test_learning_rate_rises_and_falls() -> None:
    rates = [learning_rate(progress) for progress in np.linspace(0, 1, 101)]
    assert rates[0] == pytest.approx(0.02)
    assert max(rates) == pytest.approx(1)
    assert rates[-1] == pytest.approx(0)
    assert int(np.argmax(rates)) == 5
    assert all(later <= earlier for earlier, later in pairwise(rates[5:]))


def test_a_resumed_run_gives_the_same_weights(folder: Path, tmp_path: Path, teacher: Teacher) -> None:
    config = DistillConfig((folder,), tmp_path / "whole", steps=3, batch_size=4, variants=2, blends=1, threads=1)
    distill(config)
    report = json.loads((config.out / "distill.json").read_text())
    assert (report["steps"], report["photos"], report["losses"][-1][0], report["probe"]) == (3, 6, 3, None)
    assert report["command"].startswith(f"python -m train.distill --images {folder.name} --out whole --steps 3")
    weights = load_file(config.out / "visual.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    encoder = VisualEncoder(config.student, weights=config.out / "visual.safetensors", device="cpu")
    pictures = load_pictures([folder])
    assert np.isfinite(encoder.encode(resize_pictures(pictures, np.arange(2)))).all()

    stopped = replace(config, out=tmp_path / "stopped")
    stopped.out.mkdir()
    outputs = run_teacher(teacher, pictures, np.arange(6), out=stopped.out, variants=2, blends=1, seed=0)
    run = start(stopped)
    untrained = run.student.swin.state_dict()["norm.weight"].clone()
    take_step(run, stopped, pictures, outputs)
    run.save(stopped.out)
    distill(stopped)
    assert json.loads((stopped.out / "distill.json").read_text())["steps"] == 3
    assert equal(load_file(stopped.out / "visual.safetensors"), weights)
    assert not torch.equal(weights["norm.weight"], untrained.half())
    with pytest.raises(LabelError, match="other pictures"):
        run_teacher(teacher, pictures, np.arange(5), out=stopped.out, variants=2, blends=1, seed=0)


def test_blends_show_two_pictures(teacher: Teacher, tmp_path: Path) -> None:
    levels = torch.tensor([0, 90, 255], dtype=torch.uint8)
    names = ("a/0.jpg", "a/1.jpg", "a/2.jpg")
    flat = Pictures(levels[:, None, None, None].expand(3, 3, 256, 256), torch.ones(3), names)
    chosen, variants = np.zeros(400, dtype=int), np.arange(400)
    pure = sample_views(flat, chosen, variants, others=chosen, seed=0, size=32)
    assert (pure == 0).all()
    blended = sample_views(flat, chosen, variants, others=np.full(400, 2), seed=0, size=32).amax(dim=(1, 2, 3))
    assert 0.1 < (blended < 0.25).float().mean() < 0.4  # the share is even, brightness scales it
    assert 0.1 < (blended > 0.75).float().mean() < 0.4

    outputs = run_teacher(teacher, flat, np.array([0, 2]), out=tmp_path, variants=2, blends=30, seed=0)
    assert outputs.pictures.tolist() == [0, 2] * 32
    assert outputs.others[:4].tolist() == [0, 2, 0, 2]
    assert set(outputs.others) == {0, 2}  # picture 1 was not chosen
    assert (outputs.others[4:] != outputs.pictures[4:]).any()
    assert outputs.variants.tolist() == [variant for variant in range(32) for _ in range(2)]
    more = run_teacher(teacher, flat, np.array([0, 2]), out=tmp_path, variants=3, blends=29, seed=0)
    assert more.others[:6].tolist() == [0, 2] * 3
    torch.testing.assert_close(more.features[6:], outputs.features[6:], atol=0, rtol=0)


def test_the_student_learns(folder: Path, tmp_path: Path, teacher: Teacher) -> None:
    config = DistillConfig((folder,), tmp_path, steps=40, batch_size=8, variants=1, threads=1)
    pictures = load_pictures([folder])
    outputs = run_teacher(teacher, pictures, np.arange(6), out=tmp_path, variants=1, blends=0, seed=0)
    torch.testing.assert_close(outputs.mean, outputs.features.float().mean(0))
    run = start(config)
    first = take_step(run, config, pictures, outputs)
    train(run, config, pictures, outputs)
    (step, *losses) = run.losses[-1]
    assert (step, len(losses)) == (40, 2)
    assert sum(losses) < 0.8 * sum(first)


def test_a_run_starts_from_weights(folder: Path, tmp_path: Path) -> None:
    before = DistillConfig((folder,), tmp_path / "before", steps=1, batch_size=4, variants=1, seed=1, threads=1)
    distill(before)
    init = before.out / "visual.safetensors"
    config = replace(before, out=tmp_path / "after", steps=2, init=init)
    old = load_file(init)
    for name, value in start(config).student.swin.state_dict().items():
        torch.testing.assert_close(value, old[name].float())
    distill(config)
    report = json.loads((config.out / "distill.json").read_text())
    assert report["before"]["steps"] == 1
    assert not equal(old, load_file(config.out / "visual.safetensors"))


def test_probe_tells_colours_apart(tmp_path: Path, teacher: Teacher) -> None:
    config = DistillConfig((), tmp_path)
    start(config).save(tmp_path)
    images = [draw_picture(colour, seed, size=(256, 256)) for colour in COLOURS.values() for seed in range(6)]
    squares = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
    pictures = Pictures(squares, torch.ones(12), tuple(f"{name}/{i}.jpg" for name in COLOURS for i in range(6)))
    odd = np.arange(12) % 2 == 1
    result = probe(config, teacher, pictures, PhotoSplit(np.arange(12), np.flatnonzero(odd), np.flatnonzero(~odd)))
    assert (result.classes, result.train_photos, result.test_photos) == (2, 6, 6)
    assert result.teacher_accuracy == 1
    assert result.student_accuracy == 1
