"""Structure: which package may import which, unique file names, and what importing costs."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import kuaihl

ROOT = Path(__file__).parent.parent

# Packages and top-level modules from the bottom up. Each may import those above it in this list, never one below.
LAYERS = [
    {"errors"},
    {"records", "progress", "devices", "atomic", "dtw", "paths", "engine"},
    {"media", "comments"},
    {"lexicon"},
    {"evidence", "reaction_counts"},
    {"reaction"},
    {"features"},
    {"speech", "model"},
    {"sync", "highlights"},
    {"request"},
    {"predictor"},
    {"session", "attribution"},
    {"plots"},
    {"export"},
    {"demo", "watch"},
    {"cli"},
    {"__main__"},
]
LAYER = {name: level for level, names in enumerate(LAYERS) for name in names}
TRAIN = ["simulator", "data", "encoder", "baselines", "experiments", "release"]
"""Packages of train, from the bottom up; its modules may be imported by all but the simulator."""


def imported_modules(file: Path) -> set[str]:
    """Return the modules that a file imports anywhere; names imported from a package count as its modules."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return modules


def parts_imported(file: Path, package: str) -> set[str]:
    """Return the direct children of ``package`` that a file imports."""
    parts = (name.split(".") for name in imported_modules(file))
    return {part[1] for part in parts if part[0] == package and len(part) > 1}


def part_of(file: Path, package: str) -> str:
    return file.relative_to(ROOT / package).parts[0].removesuffix(".py")


def sources(*packages: str) -> list[Path]:
    return [file for package in packages for file in sorted((ROOT / package).rglob("*.py"))]


def test_every_part_has_a_layer() -> None:
    assert {part_of(file, "kuaihl") for file in sources("kuaihl")} - {"__init__"} <= set(LAYER)


@pytest.mark.parametrize("file", sources("kuaihl"), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_down(file: Path) -> None:
    part = part_of(file, "kuaihl")
    assert "train" not in {name.split(".")[0] for name in imported_modules(file)}
    if part != "__init__":
        imported = (parts_imported(file, "kuaihl") & set(LAYER)) - {part}
        assert all(LAYER[name] < LAYER[part] for name in imported), imported


def test_packages_of_train_have_no_cycle() -> None:
    edges = {name: set() for name in TRAIN}
    for file in sources("train"):
        if (part := part_of(file, "train")) in edges:
            edges[part] |= parts_imported(file, "train") & set(TRAIN) - {part}
    for name in TRAIN:
        assert edges[name] <= set(TRAIN[: TRAIN.index(name)]), f"{name} imports {edges[name]}"


def test_names_come_from_their_owner() -> None:
    """No file imports a name from a module that has itself imported it."""
    defined = {}
    for file in sources("kuaihl", "train"):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(file.read_text(encoding="utf-8"))
        defined[module] = {
            alias.asname or alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in {"kuaihl", "train"}
            for alias in node.names
        }
    for file in [*sources("kuaihl", "train", "tests"), ROOT / "app.py"]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                again = {alias.name for alias in node.names} & defined.get(node.module, set())
                assert not again, f"{file.relative_to(ROOT)} imports {again} through {node.module}"


def test_no_two_files_share_a_name() -> None:
    names = Counter(file.name for file in sources("kuaihl", "train", "tests"))
    assert [name for name, count in names.items() if count > 1 and not name.startswith(("__", "conftest"))] == []


def test_importing_is_light() -> None:
    code = "import sys, kuaihl; print(sorted({'torch', 'transformers', 'gradio', 'numpy', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there() -> None:
    assert sorted(kuaihl.__all__) == sorted(kuaihl._HOMES)
    assert all(callable(getattr(kuaihl, name)) for name in kuaihl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Oracle'"):
        _ = kuaihl.Oracle
