"""Output on the terminal: labelled rows, results as text, and a progress bar."""

import contextlib
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from kuaihl.comments.fields import as_clock
from kuaihl.progress import Progress

if TYPE_CHECKING:
    from kuaihl.comments.timing import Mismatch
    from kuaihl.records import Prediction, Skipped

LABEL_WIDTH = 15


def columns() -> int:
    """Return the width of the terminal; 100 if there is none."""
    return shutil.get_terminal_size((100, 24)).columns


def printable(text: str) -> str:
    """Replace control characters, which could come from names and speech, by spaces."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def target_label(target: str) -> str:
    """Return a target's name as people write it."""
    return target.upper() if target == "lvtr" else target


def span_text(start_s: float, end_s: float) -> str:
    """Return a time span as clock times."""
    return f"{as_clock(start_s)}–{as_clock(end_s)}"


def rows(labelled: Iterable[tuple[str, str]]) -> str:
    """Return lines of a label and a text, wrapped to the terminal."""
    return "\n".join(
        textwrap.fill(
            f"{label:<{LABEL_WIDTH}}{printable(text)}", max(columns(), 40), subsequent_indent=" " * LABEL_WIDTH
        )
        for label, text in labelled
    )


def skipped_rows(skipped: Iterable["Skipped"]) -> list[tuple[str, str]]:
    """Return the rows of what was skipped."""
    return [("skipped", f"{s.count:,} × {s.reason}{f' (first: {s.where})' if s.where else ''}") for s in skipped]


def warning_text(mismatch: "Mismatch | None", *, offset_s: float) -> str | None:
    """Describe how a log does not fit its recording, and an offset if one is supported.

    ``offset_s`` is the current offset.
    """
    if mismatch is None or mismatch.offset_s is None or not mismatch.is_supported:
        return mismatch and mismatch.message
    return f"{mismatch.message} Try --comment-offset-s {offset_s + mismatch.offset_s:g}."


def print_above_bar(text: str) -> None:
    """Print at once, above the progress bar."""
    from tqdm import tqdm

    tqdm.write(text)
    sys.stdout.flush()


def print_error(text: str) -> None:
    """Print a line to standard error."""
    sys.stderr.write(f"kuaihl: {printable(text)}\n")


@contextlib.contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show the stage and its progress on a terminal, and nothing elsewhere."""
    from tqdm import tqdm

    form = "{desc:<10} {percentage:3.0f}% |{bar}| {elapsed}"
    with tqdm(desc="loading", total=1.0, bar_format=form, disable=None, leave=False, file=sys.stderr) as bar:

        def show(stage: str, fraction: float) -> None:
            bar.n = min(fraction, 1.0)
            bar.set_description_str(stage)

        yield Progress(show)


def prediction_text(
    prediction: "Prediction",
    *,
    log: str | None,
    streamer: str | None,
    known_streamers: Sequence[str],
    warning: str | None,
) -> str:
    """Describe a prediction; ``log`` describes the comment log."""
    from kuaihl.export.cards import cards_of

    target = target_label(prediction.target)
    duration_s, time_s = prediction.recording.duration_s, sum(prediction.timings_s.values())
    lines = [
        rows(
            [
                *_input_rows(prediction, streamer=streamer, known_streamers=known_streamers),
                *([("comment log", log)] if log else []),
                *([("warning", warning)] if warning else []),
            ]
        ),
        "",
        *([f"Highlights by {prediction.highlights_by}:"] if prediction.highlights else []),
    ]
    for card in cards_of(prediction):
        highlight, width = card.highlight, max(columns() - 4, 20)
        span = span_text(highlight.start_s, highlight.end_s)
        lines.append(f"{highlight.rank:>2}  {span}  {highlight.strength}: {printable(card.why)}")
        if speech := printable(card.speech):
            lines.append("    " + textwrap.shorten(f"“{speech}”", width, placeholder=" …"))
    if not prediction.highlights:
        lines.append(f"No highlights: nothing stands out by {prediction.highlights_by}.")
    reaction = prediction.reaction
    if reaction is not None and reaction.too_little:
        labelled = [("reaction", f"not used: {reaction.too_little}")]
    elif reaction is not None and reaction.reliability is not None:
        labelled = [("reaction", f"measured from the chat, reliability {reaction.reliability:.2f}")]
    else:
        labelled = []
    labelled += [
        ("forecast", f"{target} {prediction.next_score:.1%} for the next 30 s"),
        *skipped_rows(prediction.skipped),
        ("time", f"{time_s:.1f} s ({duration_s / max(time_s, 1e-9):.0f} × real time)"),
    ]
    return "\n".join([*lines, "", rows(labelled)])


def _input_rows(
    prediction: "Prediction", *, streamer: str | None, known_streamers: Sequence[str]
) -> list[tuple[str, str]]:
    recording = prediction.recording
    size = f" {recording.width}x{recording.height}" if recording.width else ""
    codecs = [f"{recording.video_codec}{size}" if recording.video_codec else "", recording.audio_codec or ""]
    comments = sum(segment.comments for segment in prediction.segments)
    inputs = {
        "pictures": prediction.modalities.pictures,
        "speech": prediction.modalities.speech,
        f"{comments:,} comments": prediction.modalities.comments,
    }
    known = "known" if streamer in known_streamers else "unknown to the checkpoint"
    return [
        (
            "recording",
            f"{recording.name}: {as_clock(recording.duration_s)}, {recording.container}, "
            f"{' + '.join(codec for codec in codecs if codec)}",
        ),
        ("inputs", ", ".join(name for name, present in inputs.items() if present)),
        *([("streamer", f"{streamer} ({known})")] if streamer else []),
        (
            "checkpoint",
            f"{prediction.checkpoint.name}: {target_label(prediction.target)}, trained on {prediction.trained_on}",
        ),
    ]
