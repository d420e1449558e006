"""The command line of train.prepare."""

from pathlib import Path

import pytest

from train.prepare import main


@pytest.mark.parametrize(
    "command",
    [
        "recordings {missing} --out {out}",
        "chat --logs {missing} --out {out}",
        "rooms --scenes {missing} --out {out}",
        "phd --training {missing} --testing {missing} --videos {missing} --out {out}",
    ],
)
def test_a_missing_file_is_named_in_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, out = tmp_path / "missing", tmp_path / "out"
    monkeypatch.setattr("sys.argv", ["train.prepare", *command.format(missing=missing, out=out).split()])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert str(missing) in printed
    assert printed.count("\n") == 1
    assert not out.exists()
