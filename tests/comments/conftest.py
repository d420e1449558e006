import pytest


@pytest.fixture
def log(tmp_path):
    """Write a comment log under a name that says nothing: formats must be known by content."""

    def write(content, encoding="utf-8"):
        path = tmp_path / "download"
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write
