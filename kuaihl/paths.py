"""Where the checkpoint, the example and the files of the page are."""

from pathlib import Path


def assets_folder() -> Path:
    """Return the folder of the assets: in the package of an installed wheel, beside the package in a checkout."""
    package = Path(__file__).parent
    installed = package / "assets"
    return installed if installed.is_dir() else package.parent / "assets"
