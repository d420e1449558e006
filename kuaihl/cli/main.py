"""The command line: ``python -m kuaihl predict | watch | why | comments | info | pull``; see ``--help``.

A command is a function; its heavy imports are inside, so that ``--help`` answers at once.
"""

import contextlib
import functools
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from json import dumps as to_json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from kuaihl.cli.explain import why
from kuaihl.cli.options import Kind, check_file, check_seconds, hint, switch
from kuaihl.cli.predict import predict
from kuaihl.cli.watch import watch
from kuaihl.errors import KuaiHLError

if TYPE_CHECKING:
    from kuaihl.model.config import KuaiHLConfig

_ABOUT = "KuaiHL: predict from the past ten minutes of a live stream how many viewers will stay."
_USER_MISTAKE, _STOPPED = 2, 130  # exit codes; 130 is what a shell reports for Ctrl-C
_JSON_BINS = 100

app = tyro.extras.SubcommandApp()


def command(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Make a function a subcommand. Parsing only binds its arguments, so that its own errors are not the parser's."""

    @functools.wraps(function)
    def bind(*args: object, **kwargs: object) -> Callable[[], int | None]:
        return functools.partial(function, *args, **kwargs)

    app.command(bind)
    return function


command(predict)
command(watch)
command(why)


@command
def comments(
    log: Annotated[tyro.conf.Positional[Path], hint("", "LOG")],
    *,
    recording: Annotated[Path | None, hint("", "FILE")] = None,
    comment_offset_s: Annotated[float, hint("(default: 0)", "S"), tyro.conf.arg(aliases=["--offset"])] = 0.0,
    stream_start: Annotated[str | None, hint("", "TIME")] = None,
    counted: Annotated[tuple[Kind, ...], hint("(default: all)", "KIND [KIND ...]")] = (),
    json: Annotated[bool, switch()] = False,
) -> None:
    """Tell what is understood of a comment log, and whether it fits its recording.

    Parameters
    ----------
    log
        The comment log, in any format that KuaiHL reads.
    recording
        Its recording, to compare with.
    comment_offset_s
        Seconds added to the time of every comment.
    stream_start
        When the recording starts, for logs by the wall clock: date, time and time zone, as in
        2024-05-01T20:00:00+02:00.
    counted
        What of the log counts as a comment: message, command (!...), paid, gift, bot, notice.
    json
        Tell it as JSON.
    """
    for path in (log, recording):
        if path is not None:
            check_file(path)
    check_seconds("--comment-offset-s", comment_offset_s)
    from kuaihl.cli.console import comments_text, rate_width, warning_text
    from kuaihl.comments.reader import read
    from kuaihl.comments.selection import select_kinds
    from kuaihl.sync import check_log, lag_text

    found = read(log, offset_s=comment_offset_s, stream_start=stream_start)
    found = select_kinds(found, counted) if counted else found
    opened = None
    if recording is not None:
        from kuaihl.media.recording import open_recording

        opened = open_recording(recording)
    check = check_log(log.name, found, recording=opened, bins=_JSON_BINS if json else rate_width())
    if json:
        print(to_json(check.as_dict(), indent=2, ensure_ascii=False))
        return
    warning = warning_text(check.mismatch, option="--comment-offset-s", given_s=comment_offset_s)
    sound = None if opened is None else lag_text(check.lag, current_s=comment_offset_s)
    print(comments_text(log.name, check.summary, duration_s=check.recording_s, warning=warning, sound=sound))


@command
def info(
    checkpoint: Annotated[
        tyro.conf.Positional[str | None], hint("(default: the one that comes with KuaiHL)", "[PATH_OR_REPO]")
    ] = None,
) -> None:
    """Tell what a checkpoint is.

    Parameters
    ----------
    checkpoint
        Folder of a checkpoint, or its id on the Hub.
    """
    from kuaihl.cli.console import rows
    from kuaihl.model.kuaihl import load, sha256_of
    from kuaihl.predictor import DEFAULT_CHECKPOINT
    from kuaihl.records import SEGMENT_S

    model, folder = load(checkpoint or DEFAULT_CHECKPOINT)
    config = model.config
    parameters = sum(p.numel() for p in model.parameters())
    told = rows(
        [
            ("checkpoint", f"{folder} (SHA-256 {sha256_of(folder)[:12]}…)"),
            *(("predicts", f"{target.name}, learned from {target.trained_on}") for target in config.targets),
            ("pictures by", config.visual_encoder),
            ("text by", config.text_encoder),
            ("speech by", f"Whisper {config.speech_model}"),
            *(("streamers", told) for told in _streamers(config)),
            (
                "model",
                f"{parameters:,} parameters; width {config.dim}, {config.perceiver_layers} perceiver and "
                f"{config.decoder_layers} decoder layers",
            ),
            ("looks back on", f"{config.window} segments ({config.window * SEGMENT_S / 60:g} min)"),
            *(
                ("file", f"{file.name} ({file.stat().st_size / 1000:,.1f} kB)")
                for file in sorted(folder.iterdir())
                if file.is_file()
            ),
        ]
    )
    print(told)


@command
def pull(
    repo: Annotated[tyro.conf.Positional[str], hint("", "REPO")],
    *,
    revision: Annotated[str | None, hint("(default: the newest)", "NAME")] = None,
) -> None:
    """Fetch a checkpoint from the Hub into its cache.

    Parameters
    ----------
    repo
        Id of the repository, as in owner/name.
    revision
        Branch, tag or commit.
    """
    from kuaihl.model.hub import fetch

    if Path(repo).exists():
        raise KuaiHLError(f"{repo} is a path here, not the id of a repository on the Hub")
    print(fetch(repo, revision=revision))


def _streamers(config: "KuaiHLConfig") -> list[str]:
    """Name the streamers that a checkpoint knows, by target where it tells them apart."""
    from kuaihl.model.targets import streamers_of

    known = {target.name: streamers_of(config, target.name) for target in config.targets}
    if set(known.values()) == {config.streamers}:
        return [f"{len(config.streamers):,} known{': ' if config.streamers else ''}{', '.join(config.streamers)}"]
    return [f"{len(names):,} known for {target}: {', '.join(names)}" for target, names in known.items() if names]


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 2 for a user's mistake, told in one line on stderr, 130 for Ctrl-C.

    A command that did a part of its work may return another one.
    """
    try:
        return _parse(arguments)() or 0
    except KuaiHLError as error:
        print(f"kuaihl: {' '.join(str(error).split())}", file=sys.stderr)
        return _USER_MISTAKE
    except KeyboardInterrupt:
        print("kuaihl: stopped", file=sys.stderr)
        return _STOPPED


def main() -> None:
    """Run the command line of this process and end it."""
    # Libraries warn and log about what a user cannot mend; what they can is in KuaiHLError and in the results.
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for stream in (sys.stdout, sys.stderr):
        # Speech and names may have letters that the terminal's encoding lacks.
        stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def _parse(arguments: Sequence[str]) -> Callable[[], int | None]:
    """Turn arguments into a bound command; tyro's box about a wrong flag is cut down to a line."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return app.cli(
                prog="kuaihl",
                description=_ABOUT,
                args=arguments,
                config=(tyro.conf.DisallowNone, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as end:
        if not end.code:  # --help
            raise
        told, *more = _sections(box.getvalue())
        guess = next((words[3] for words in more if words[:3] == ["Perhaps", "you", "meant:"]), None)
        hint = f" (perhaps {guess}?)" if guess else ""
        name = "".join(f" {name}" for name in arguments[:1] if not name.startswith("-") and name not in told)
        raise KuaiHLError(f"{' '.join(told).rstrip('.')}{hint}; see kuaihl{name} --help") from None


def _sections(box: str) -> list[list[str]]:
    """Words of a box under its title, drawn with lines or, for terminals without them, ASCII; rules divide it."""
    sections: list[list[str]] = [[]]
    for line in box.splitlines()[1:]:
        inner = line.strip(" │")
        if inner and set(inner) <= set("─-╰╯"):
            sections.append([])
        else:
            sections[-1].extend(inner.split())
    return [words for words in sections if words]


if __name__ == "__main__":
    main()
