"""What the commands share: the command line of a configuration, and errors in one line."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import tyro

from kuaihl.errors import LabelError
from train.command import command_line, plain_errors
from train.data.labels import LabelOptions
from train.data.recordings import RecordingsConfig
from train.distill import DistillConfig
from train.fit import FitConfig

FIT = FitConfig(
    (Path("rooms"), Path("chats of mine")),
    Path("run"),
    init=Path("checkpoint"),
    activity=False,
    without=("streamer", "speech"),
    epoch_share=(1.0, 0.125),
    left_out=("Ann Other", "bo"),
    window=7,
    learning_rate=0.125,
    region="under",
    bf16=True,
)
RECORDINGS = RecordingsConfig(Path("my list.csv"), Path("out"), labels=LabelOptions(long_view_s=30.0))
DISTILL = DistillConfig((Path("a.tar"), Path("b")), Path("out"), init=Path("first/visual.safetensors"))


@pytest.mark.parametrize("config", [FIT, RECORDINGS, DISTILL], ids=lambda config: type(config).__name__)
def test_the_command_line_gives_the_configuration(config: object) -> None:
    elsewhere = {name: Path("elsewhere") / value for name, value in vars_of(config) if isinstance(value, Path)}
    elsewhere.pop("init", None)  # weights keep the name of their folder
    words = shlex.split(command_line("python -m train", replace(config, **elsewhere)))
    assert words[:3] == ["python", "-m", "train"]
    assert tyro.cli(type(config), args=words[3:]) == config


def vars_of(config: object) -> list[tuple[str, object]]:
    return [(name, getattr(config, name)) for name in type(config).__dataclass_fields__]


def test_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for error, code, line in ((LabelError("No labels."), 2, "error: No labels.\n"), (KeyboardInterrupt(), 130, None)):
        with pytest.raises(SystemExit) as stopped, plain_errors():
            raise error
        assert stopped.value.code == code
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert line in (None, printed)
