"""Recordings on the web, with a stub of yt-dlp."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kuaihl.cli import main as cli
from kuaihl.cli.download import url_of
from tests.fixtures.stub_predictor import stand_in

URL = "https://example.org/videos/7?t=3"


class DownloadError(Exception):
    """As yt-dlp raises it."""


class Downloader:
    """Writes a recording and its chat as yt-dlp does; a video named 404 does not exist."""

    def __init__(self, options):
        self.folder = Path(options["outtmpl"]).parent

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def extract_info(self, url):
        if url.endswith("404"):
            raise DownloadError("HTTP Error 404")
        assert url == URL
        (self.folder / "stream.mp4").write_text("")
        (self.folder / "stream.live_chat.json").write_text("2,Ann,hi\n")
        return {"id": "7"}

    def prepare_filename(self, _):
        return str(self.folder / "stream.mp4")


@pytest.fixture
def predictor(monkeypatch, tmp_path, short_recording):
    return stand_in(monkeypatch, tmp_path, recording=short_recording)


def test_a_url_is_downloaded_with_its_chat(monkeypatch, predictor):
    monkeypatch.setitem(sys.modules, "yt_dlp", SimpleNamespace(YoutubeDL=Downloader))
    monkeypatch.setitem(sys.modules, "yt_dlp.utils", SimpleNamespace(DownloadError=DownloadError))
    assert cli.run(["predict", URL]) == 0
    (call,) = predictor.calls
    assert [comment.text for comment in call["comments"].comments] == ["hi"]
    assert cli.run(["predict", "https://example.org/404"]) == 2
    assert len(predictor.calls) == 1


def test_without_yt_dlp_a_url_is_an_error_that_names_it(monkeypatch, predictor, capsys):
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    assert cli.run(["predict", URL]) == 2
    error = capsys.readouterr().err
    assert URL in error
    assert "kuaihl[download]" in error


@pytest.mark.parametrize(
    ("given", "url"), [(URL, URL), ("http://a/b.mp4", "http://a/b.mp4"), ("stream.mp4", None), ("/a:/b.mp4", None)]
)
def test_urls_survive_as_paths(given, url):
    assert url_of(Path(given)) == url
