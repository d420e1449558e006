"""What the command line shows: results as text that fits the terminal, and a bar while one waits."""

import contextlib
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from kuaihl.comments.fields import as_clock
from kuaihl.comments.statistics import BLOCKS, PLAIN_BLOCKS, Summary, sparkline
from kuaihl.comments.timing import Mismatch
from kuaihl.progress import Progress
from kuaihl.records import Highlight, Prediction, Skipped

_LABEL = 15


def columns() -> int:
    """Width of the terminal; 100 where there is none."""
    return shutil.get_terminal_size((100, 24)).columns


def printable(text: str) -> str:
    """Drop what would steer the terminal: names and speech come from strangers."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def rows(labelled: Iterable[tuple[str, str]]) -> str:
    """Lines of a label and a text, broken to fit the terminal."""
    return "\n".join(
        textwrap.fill(f"{label:<{_LABEL}}{printable(text)}", max(columns(), 40), subsequent_indent=" " * _LABEL)
        for label, text in labelled
    )


def say(text: str) -> None:
    """Write to standard output at once, above a progress bar where there is one."""
    from tqdm import tqdm

    tqdm.write(text)
    sys.stdout.flush()


def complain(text: str) -> None:
    """Write a line to standard error that says what went wrong."""
    sys.stderr.write(f"kuaihl: {printable(text)}\n")


@contextlib.contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show stage and share done on a terminal, and nothing elsewhere."""
    from tqdm import tqdm

    form = "{desc:<10} {percentage:3.0f}% |{bar}| {elapsed}"
    with tqdm(desc="loading", total=1.0, bar_format=form, disable=None, leave=False, file=sys.stderr) as bar:

        def tell(stage: str, fraction: float) -> None:
            bar.n = min(fraction, 1.0)
            bar.set_description_str(stage)

        yield Progress(tell)


def rate_width() -> int:
    """How many bins of a log's rate fit a line."""
    return min(max(columns() - _LABEL - 1, 20), 60)


def comments_text(
    name: str, summary: Summary, *, duration_s: float | None, warning: str | None, sound: str | None = None
) -> str:
    """Tell what was understood of a comment log, and whether it fits its recording and ``sound``, if that is known."""
    told = [("log", name), ("format", summary.format)]
    users = f" by {summary.users:,} users" if summary.users else ", without names"
    told.append(("comments", f"{summary.comments:,}{users if summary.comments else ''}"))
    if summary.first_s is not None and summary.last_s is not None:
        length_s = summary.last_s - summary.first_s
        told.append(("span", f"{as_clock(summary.first_s)} to {as_clock(summary.last_s)} ({as_clock(length_s)})"))
        told.append(("kinds", ", ".join(f"{count:,} {kind}" for kind, count in summary.kinds.items())))
    if duration_s is not None:
        told.append(("recording", f"{as_clock(duration_s)}, with {summary.inside:,} of the comments in it"))
    if sound:
        told.append(("sound", sound))
    told += _skipped(summary.skipped)
    lines = [rows(told)]
    if sum(summary.rate):
        lines += ["", _rate(summary)]
    if warning:
        lines += ["", rows([("warning", warning)])]
    return "\n".join(lines)


def warning_text(found: Mismatch | None, *, option: str, given_s: float) -> str | None:
    """Put a mismatch in words that name the option which mends it; ``given_s`` is what it was set to."""
    if found is None or found.offset_s is None:
        return found and found.message
    return f"{found.message} Try {option} {given_s + found.offset_s:g}."


def _rate(summary: Summary) -> str:
    blocks = BLOCKS if _can_write(BLOCKS) else PLAIN_BLOCKS
    stop_s = summary.rate_start_s + summary.bin_s * len(summary.rate)
    first, last = as_clock(summary.rate_start_s), as_clock(stop_s)
    peak_s = summary.rate_start_s + summary.peak * summary.bin_s
    most = summary.rate[summary.peak]
    peak = f"{most:,} from {as_clock(peak_s)} to {as_clock(peak_s + summary.bin_s)}"
    mean = sum(summary.rate) / (stop_s - summary.rate_start_s)
    return "\n".join(
        [
            f"{'rate':<{_LABEL}}{sparkline(summary.rate, blocks=blocks)}".rstrip(),
            f"{'':<{_LABEL}}{first}{last:>{len(summary.rate) - len(first)}}",
            rows([("peak", f"{peak}: {_per_minute(most / summary.bin_s)}, {_per_minute(mean)} on average")]),
        ]
    )


def _per_minute(per_s: float) -> str:
    return f"{per_s * 60:,.3g} a minute" if per_s * 60 < 1000 else f"{per_s * 60:,.0f} a minute"


def _can_write(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _skipped(skipped: Sequence[Skipped]) -> list[tuple[str, str]]:
    return [("skipped", f"{s.count:,} × {s.reason}{f' (first: {s.where})' if s.where else ''}") for s in skipped]


def prediction_text(
    prediction: Prediction,
    *,
    log_told: str | None,
    streamer: str | None,
    known_streamers: Sequence[str],
    warning: str | None,
) -> str:
    """Tell what a prediction says and rests on; ``log_told`` is which comment log was read, or as what."""
    target = prediction.target.upper() if prediction.target == "lvtr" else prediction.target
    took_s = sum(prediction.timings_s.values())
    lines = [
        rows(_sources(prediction, target=target, streamer=streamer, known_streamers=known_streamers)),
        *([rows([("comment log", log_told)])] if log_told else []),
        *([rows([("warning", warning)])] if warning else []),
        "",
        f"{'rank':<6}{'highlight':<21}{'predicted ' + target:<17} what was said",
    ]
    for highlight in prediction.highlights:
        span = f"{as_clock(highlight.start_s)}–{as_clock(highlight.end_s)}"
        line = f"{highlight.rank:<6}{span:<21}{highlight.score:<17.1%} "
        said = textwrap.shorten(_said(prediction, highlight), max(columns() - len(line), 20), placeholder=" …")
        lines.append(line + said)
    if not prediction.highlights:
        lines.append("-     no part of the curve stands out")
    speed = prediction.recording.duration_s / max(took_s, 1e-9)
    rest = [
        ("forecast", f"{prediction.next_score:.1%} for the next 30 s"),
        *_skipped(prediction.skipped),
        ("took", f"{took_s:.1f} s: {speed:.0f} × real time"),
    ]
    return "\n".join([*lines, "", rows(rest)])


def _sources(
    prediction: Prediction, *, target: str, streamer: str | None, known_streamers: Sequence[str]
) -> list[tuple[str, str]]:
    recording = prediction.recording
    size = f" {recording.width}x{recording.height}" if recording.width else ""
    codecs = [f"{recording.video_codec}{size}" if recording.video_codec else "", recording.audio_codec or ""]
    comments = sum(segment.comments for segment in prediction.segments)
    sources = {
        "pictures": prediction.modalities.pictures,
        "speech": prediction.modalities.speech,
        f"{comments:,} comments": prediction.modalities.comments,
    }
    known = "known" if streamer in known_streamers else "unknown to the checkpoint: treated as a new one"
    return [
        (
            "recording",
            f"{recording.name}: {as_clock(recording.duration_s)}, {recording.container}, "
            f"{' + '.join(codec for codec in codecs if codec)}",
        ),
        ("rests on", ", ".join(name for name, present in sources.items() if present)),
        *([("streamer", f"{streamer} ({known})")] if streamer else []),
        ("checkpoint", f"{prediction.checkpoint.name}, which learned {target} from {prediction.trained_on}"),
    ]


def _said(prediction: Prediction, highlight: Highlight) -> str:
    inside = (
        found.speech
        for found in prediction.segments
        if found.segment.start_s < highlight.end_s and found.segment.end_s > highlight.start_s
    )
    return printable(" ".join(inside))
