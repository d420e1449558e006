"""The command line: ``python -m kuaihl predict | info | pull``; see ``--help``.

A command is a function; its heavy imports are inside, so that ``--help`` answers at once.
"""

import contextlib
import functools
import io
import logging
import math
import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from kuaihl.errors import KuaiHLError
from kuaihl.records import Highlight, Prediction

if TYPE_CHECKING:
    from kuaihl.predictor import Predictor, ProgressCallback

_ABOUT = "KuaiHL: predict from the past ten minutes of a live stream how many viewers will stay."
_USER_MISTAKE, _STOPPED = 2, 130  # exit codes; 130 is what a shell reports for Ctrl-C

app = tyro.extras.SubcommandApp()


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function a subcommand. Parsing only binds its arguments, so that its own errors are not the parser's."""

    @functools.wraps(function)
    def bind(*args: object, **kwargs: object) -> Callable[[], None]:
        return functools.partial(function, *args, **kwargs)

    app.command(bind)
    return function


def _hint(text: str, metavar: str) -> object:
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=text)


@command
def predict(
    recording: Annotated[tyro.conf.Positional[Path], _hint("", "RECORDING")],
    *,
    comments: Annotated[Path | None, _hint("", "LOG")] = None,
    comment_offset_s: Annotated[float, _hint("(default: 0)", "S")] = 0.0,
    transcript: Annotated[Path | None, _hint("", "SUB")] = None,
    streamer: Annotated[str | None, _hint("(default: an unknown one)", "NAME")] = None,
    checkpoint: Annotated[str | None, _hint("(default: the one that comes with KuaiHL)", "PATH_OR_REPO")] = None,
    top: Annotated[int, _hint("(default: 5)", "K")] = 5,
    out: Annotated[Path | None, _hint("(default: NAME-kuaihl here, for a recording NAME.mp4)", "DIR")] = None,
) -> None:
    """Predict a recording's LVTR curve and its highlights.

    Writes prediction.json, segments.csv, curve.html and alignment.html, and prints a summary.

    Parameters
    ----------
    recording
        Video or sound file: MP4, MOV, MKV, WebM, FLV, MPEG-TS.
    comments
        Its comment log, in any format that KuaiHL reads.
    comment_offset_s
        Seconds added to the time of every comment; negative where the log started first.
    transcript
        Subtitles (SRT, VTT, ASS) to use instead of speech recognition.
    streamer
        Whose stream it is, if the checkpoint knows them.
    checkpoint
        Folder of a checkpoint, or its id on the Hub.
    top
        How many highlights at most.
    out
        Folder for the results; other files in it stay.
    """
    for path in (recording, comments, transcript):
        if path is not None and not path.is_file():
            raise KuaiHLError(f"{path} is {'a folder, not a file' if path.is_dir() else 'not there'}")
    if top < 1:
        raise KuaiHLError(f"--top must be at least 1, not {top}")
    if not math.isfinite(comment_offset_s):
        raise KuaiHLError(f"--comment-offset-s must be a number of seconds, not {comment_offset_s}")
    out_dir = out or Path(f"{recording.stem}-kuaihl")

    with _progress_bar() as progress:
        from kuaihl.export import check_writable, write_prediction
        from kuaihl.highlights import HighlightOptions
        from kuaihl.predictor import Predictor

        check_writable(out_dir)
        predictor = Predictor.from_pretrained(checkpoint) if checkpoint else Predictor.from_pretrained()
        prediction = predictor.predict(
            recording,
            comments,
            transcript=transcript,
            streamer=streamer,
            comment_offset_s=comment_offset_s,
            progress=progress,
            options=HighlightOptions(top_k=top),
        )
        files = write_prediction(prediction, out_dir)
    _print_summary(prediction, predictor, streamer=streamer)
    _print_rows([("written to", f"{out_dir}: {', '.join(file.name for file in files)}")])


@command
def info(
    checkpoint: Annotated[
        tyro.conf.Positional[str | None], _hint("(default: the one that comes with KuaiHL)", "[PATH_OR_REPO]")
    ] = None,
) -> None:
    """Tell what a checkpoint is.

    Parameters
    ----------
    checkpoint
        Folder of a checkpoint, or its id on the Hub.
    """
    from kuaihl.model import load, sha256_of
    from kuaihl.predictor import DEFAULT_CHECKPOINT
    from kuaihl.records import SEGMENT_S

    model, folder = load(checkpoint or DEFAULT_CHECKPOINT)
    config = model.config
    parameters = sum(p.numel() for p in model.parameters())
    _print_rows(
        [
            ("checkpoint", f"{folder} (SHA-256 {sha256_of(folder)[:12]}…)"),
            ("target", config.target),
            ("trained on", config.trained_on),
            ("pictures by", config.visual_encoder),
            ("text by", config.text_encoder),
            ("speech by", f"Whisper {config.speech_model}"),
            ("streamers", f"{len(config.streamers):,} known"),
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


@command
def pull(
    repo: Annotated[tyro.conf.Positional[str], _hint("", "REPO")],
    *,
    revision: Annotated[str | None, _hint("(default: the newest)", "NAME")] = None,
) -> None:
    """Fetch a checkpoint from the Hub into its cache.

    Parameters
    ----------
    repo
        Id of the repository, as in owner/name.
    revision
        Branch, tag or commit.
    """
    from kuaihl.model import fetch

    if Path(repo).exists():
        raise KuaiHLError(f"{repo} is a path here, not the id of a repository on the Hub")
    print(fetch(repo, revision=revision))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 2 for a user's mistake, told in one line on stderr, 130 for Ctrl-C."""
    try:
        _parse(arguments)()
    except KuaiHLError as error:
        print(f"kuaihl: {' '.join(str(error).split())}", file=sys.stderr)
        return _USER_MISTAKE
    except KeyboardInterrupt:
        print("kuaihl: stopped", file=sys.stderr)
        return _STOPPED
    return 0


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


def _parse(arguments: Sequence[str]) -> Callable[[], None]:
    """Turn arguments into a bound command; tyro's box about a wrong flag is cut down to a line."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return app.cli(
                prog="kuaihl",
                description=_ABOUT,
                args=arguments,
                config=(tyro.conf.DisallowNone, tyro.conf.FlagConversionOff),
            )
    except SystemExit as end:
        if not end.code:  # --help
            raise
        told, *more = _sections(box.getvalue())
        guess = next((words[3] for words in more if words[:3] == ["Perhaps", "you", "meant:"]), None)
        hint = f" (perhaps {guess}?)" if guess else ""
        raise KuaiHLError(f"{' '.join(told).rstrip('.')}{hint}; see kuaihl --help") from None


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


@contextlib.contextmanager
def _progress_bar() -> "Iterator[ProgressCallback]":
    """Show stage and share done on a terminal, and nothing elsewhere."""
    from tqdm import tqdm

    form = "{desc:<10} {percentage:3.0f}% |{bar}| {elapsed}"
    with tqdm(desc="loading", total=1.0, bar_format=form, disable=None, leave=False, file=sys.stderr) as bar:

        def tell(stage: str, fraction: float) -> None:
            bar.n = min(fraction, 1.0)
            bar.set_description_str(stage)

        yield tell


def _print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Print labelled lines, broken to fit the terminal."""
    for label, text in rows:
        print(textwrap.fill(f"{label:<15}{_printable(text)}", _columns(), subsequent_indent=" " * 15))


def _print_summary(prediction: Prediction, predictor: "Predictor", *, streamer: str | None) -> None:
    from kuaihl.plots import clock

    recording, took_s = prediction.recording, sum(prediction.timings_s.values())
    size = f" {recording.width}x{recording.height}" if recording.width else ""
    codecs = [f"{recording.video_codec}{size}" if recording.video_codec else "", recording.audio_codec or ""]
    comments = sum(segment.comments for segment in prediction.segments)
    sources = {
        "pictures": prediction.modalities.pictures,
        "speech": prediction.modalities.speech,
        f"{comments:,} comments": prediction.modalities.comments,
    }
    target = prediction.target.upper() if prediction.target == "lvtr" else prediction.target
    known = "known" if streamer in predictor.config.streamers else "unknown to the checkpoint: treated as a new one"
    _print_rows(
        [
            (
                "recording",
                f"{recording.name}: {clock(recording.duration_s)}, {recording.container}, "
                f"{' + '.join(codec for codec in codecs if codec)}",
            ),
            ("rests on", ", ".join(name for name, present in sources.items() if present)),
            *([("streamer", f"{streamer} ({known})")] if streamer else []),
            ("checkpoint", f"{prediction.checkpoint.name}, which learned {target} from {prediction.trained_on}"),
        ]
    )
    print(f"\n{'rank':<6}{'highlight':<21}{'predicted ' + target:<17} what was said")
    for highlight in prediction.highlights:
        span = f"{clock(highlight.start_s)}–{clock(highlight.end_s)}"
        line = f"{highlight.rank:<6}{span:<21}{highlight.lvtr:<17.1%} "
        print(line + textwrap.shorten(_said(prediction, highlight), max(_columns() - len(line), 20), placeholder=" …"))
    if not prediction.highlights:
        print("-     no part of the curve stands out")
    print()
    _print_rows(
        [
            ("forecast", f"{prediction.forecast:.1%} for the next 30 s"),
            *(
                (
                    "skipped",
                    f"{skipped.count:,} × {skipped.reason}{f' (first: {skipped.where})' if skipped.where else ''}",
                )
                for skipped in prediction.skipped
            ),
            ("took", f"{took_s:.1f} s: {recording.duration_s / max(took_s, 1e-9):.0f} × real time"),
        ]
    )


def _said(prediction: Prediction, highlight: Highlight) -> str:
    inside = (
        found.speech
        for found in prediction.segments
        if found.segment.start_s < highlight.end_s and found.segment.end_s > highlight.start_s
    )
    return _printable(" ".join(inside))


def _printable(text: str) -> str:
    """Drop what would steer the terminal: names and speech come from strangers."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _columns() -> int:
    return shutil.get_terminal_size((100, 24)).columns


if __name__ == "__main__":
    main()
