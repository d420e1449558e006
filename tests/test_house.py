"""The house: who may import whom, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kuaihl

ROOT = Path(__file__).parent.parent

# In the order of the data's way; each may import the rooms named and nothing else of kuaihl.
ROOMS = {
    "errors": set(),
    "records": set(),
    "comments": {"errors", "records"},
    "containers": {"errors", "records"},
    "sound": {"containers", "records"},
    "pictures": {"containers", "records"},
    "decord_worker": set(),
    "remux": {"containers"},
    "recording": {"errors", "records", "containers", "sound", "pictures", "decord_worker", "remux"},
    "lag": {"recording", "sound"},
    "check": {"records", "comments", "recording", "lag"},
    "whisper_files": {"errors"},
    "weights": {"errors", "whisper_files"},
    "voice": {"errors"},
    "devices": set(),
    "greedy": set(),
    "transcripts": {"errors", "records"},
    "speech": {"errors", "records", "weights", "whisper_files", "voice", "devices", "greedy", "transcripts"},
    "words": {"records"},
    "activity": {"records", "words"},
    "encoders": {"errors", "weights", "devices"},
    "encoded": {"records", "encoders"},
    "perceiver": set(),
    "decoder": set(),
    "hub": {"errors"},
    "features": set(),
    "config": {"errors"},
    "model": {"config", "activity", "words", "perceiver", "decoder", "errors", "hub", "features"},
    "alignment": set(),
    "ranking": set(),
    "highlights": {"records"},
    "targets": {"errors", "encoded", "config"},
    "scoring": {"activity", "words", "encoded", "features", "config", "model"},
    "predictor": {
        "errors", "records", "comments", "recording", "weights", "speech", "devices", "activity", "encoders", "encoded",
        "features", "config", "model", "scoring", "alignment", "highlights",
    },
    "session": {"records", "comments", "activity", "words", "encoded", "features", "predictor"},
    "explain": {"errors", "records", "encoded", "features", "scoring", "predictor"},
    "plots": {"records", "activity"},
    "page": {"records", "config", "plots", "explain", "check"},
    "folders": {"errors"},
    "clips": {"errors", "records", "folders", "containers", "pictures", "recording"},
    "export": {"records", "recording", "plots", "page", "folders", "clips"},
    "layout": {"comments"},
    "checkpoints": {"errors", "predictor"},
    "runs": {
        "errors", "records", "comments", "encoded", "explain", "export", "highlights", "predictor", "session",
        "checkpoints",
    },
    "reasons": {"plots", "page", "predictor", "runs"},
    "given": {"errors", "comments", "config", "targets", "highlights", "layout", "checkpoints", "runs"},
    "choosing": {"errors", "targets", "predictor", "layout", "given", "page"},
    "jobs": set(),
    "visits": {"layout", "runs", "jobs"},
    "zero_gpu": {"errors", "checkpoints", "runs", "jobs"},
    "fitting": {"errors", "comments", "recording", "lag", "check", "plots", "page", "given", "jobs"},
    "endpoints": {
        "errors", "comments", "recording", "check", "predictor", "explain", "export", "layout", "checkpoints", "runs",
        "given", "jobs",
    },
    "console": {"records", "comments"},
    "options": {"errors"},
    "batch": {
        "errors", "records", "comments", "recording", "model", "targets", "highlights", "predictor", "folders",
        "export", "console", "options",
    },
    "watch": {
        "errors", "records", "comments", "containers", "sound", "pictures", "console", "activity", "encoded",
        "features", "targets", "predictor", "session", "options",
    },
    "why": {"comments", "targets", "predictor", "explain", "console", "options"},
    "__main__": {
        "errors", "records", "comments", "recording", "config", "model", "predictor", "console", "options", "batch",
        "watch", "check", "targets", "why",
    },
}  # fmt: skip
APP = {
    "errors", "comments", "predictor", "plots", "page", "layout", "checkpoints", "runs", "given", "fitting",
    "endpoints", "visits", "choosing", "reasons", "jobs", "zero_gpu",
}  # fmt: skip


def rooms_imported(file: Path) -> set[str]:
    """Rooms of kuaihl that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    parts = [name.split(".") for name in found]
    return {name[1] for name in parts if name[0] == "kuaihl" and len(name) > 1}


def files_of(room: str) -> list[Path]:
    folder = ROOT / "kuaihl" / room
    return sorted(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def test_every_file_is_a_room() -> None:
    there = {p.stem for p in (ROOT / "kuaihl").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert there - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_they_may(room: str) -> None:
    known = set(ROOMS)
    for file in files_of(room):
        assert (rooms_imported(file) & known) - {room} <= ROOMS[room], f"{file.name}"


def test_the_table_has_no_cycle() -> None:
    before: set[str] = set()
    for room, imports in ROOMS.items():
        assert imports <= before, f"{room} imports a later room"
        before.add(room)


def test_app_and_train_stay_outside() -> None:
    assert rooms_imported(ROOT / "app.py") & set(ROOMS) <= APP
    for file in (ROOT / "kuaihl").rglob("*.py"):
        assert "train" not in {n.split(".")[0] for n in imported_modules(file)}, f"{file} imports train"


def imported_modules(file: Path) -> set[str]:
    tree = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return {n.module or "" if isinstance(n, ast.ImportFrom) else n.names[0].name
            for n in tree if isinstance(n, ast.Import | ast.ImportFrom)}  # fmt: skip


def test_importing_is_light() -> None:
    code = "import sys, kuaihl; print(sorted({'torch', 'transformers', 'gradio', 'numpy', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there() -> None:
    assert sorted(kuaihl.__all__) == sorted(kuaihl._HOMES)
    assert all(getattr(kuaihl, name).__name__ == name for name in kuaihl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Oracle'"):
        _ = kuaihl.Oracle


def test_files_stay_small() -> None:
    for file in [*(ROOT / "kuaihl").rglob("*.py"), *(ROOT / "train").rglob("*.py"), ROOT / "app.py"]:
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 350, f"{file} wants splitting"
