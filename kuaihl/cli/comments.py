"""The command ``kuaihl comments``: describe a comment log and compare it with its recording."""

import sys
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from kuaihl.cli.console import LABEL_WIDTH, columns, rows, skipped_rows, warning_text
from kuaihl.cli.options import SWITCH, check_file, hint
from kuaihl.comments.fields import as_clock
from kuaihl.request import Kind, LogRequest

if TYPE_CHECKING:
    from kuaihl.comments.statistics import Summary

_JSON_BINS = 100


def comments(
    log: Annotated[Positional[Path], hint("", "LOG")],
    *,
    recording: Annotated[Path | None, hint("", "FILE")] = None,
    request: LogRequest,
    counted: Annotated[tuple[Kind, ...], hint("(default: all)", "KIND [KIND ...]")] = (),
    json: Annotated[bool, SWITCH] = False,
) -> None:
    """Describe a comment log, and check whether it fits its recording.

    Parameters
    ----------
    log
        Comment log in any supported format.
    recording
        Its recording.
    counted
        Kinds of log entries that count as comments: message, command (!...), paid, gift, bot, notice.
    json
        Print JSON.
    """
    check_file(log)
    check_file(recording)
    from kuaihl.comments.reader import read
    from kuaihl.comments.selection import select_kinds
    from kuaihl.sync import check_log, lag_text

    comment_log = read(log, offset_s=request.comment_offset_s, stream_start=request.stream_start)
    if counted:
        comment_log = select_kinds(comment_log, counted)
    opened = None
    if recording is not None:
        from kuaihl.media.recording import open_recording

        opened = open_recording(recording)
    check = check_log(log.name, comment_log, recording=opened, bins=_JSON_BINS if json else _rate_width())
    if json:
        print(dumps(check.as_dict(), indent=2, ensure_ascii=False))
        return
    warning = warning_text(check.mismatch, offset_s=request.comment_offset_s)
    lag = None if opened is None else lag_text(check.lag, current_s=request.comment_offset_s)
    print(_text(log.name, check.summary, duration_s=check.recording_s, warning=warning, lag=lag))


def _text(name: str, summary: "Summary", *, duration_s: float | None, warning: str | None, lag: str | None) -> str:
    """Describe a log, whether it fits its recording, and its lag behind the sound."""
    users = f" by {summary.users:,} users" if summary.users else ", without names"
    labelled = [
        ("log", name),
        ("format", summary.format),
        ("comments", f"{summary.comments:,}{users if summary.comments else ''}"),
    ]
    if summary.first_s is not None and summary.last_s is not None:
        length = as_clock(summary.last_s - summary.first_s)
        labelled += [
            ("span", f"{as_clock(summary.first_s)} to {as_clock(summary.last_s)} ({length})"),
            ("kinds", ", ".join(f"{count:,} {kind}" for kind, count in summary.kinds.items())),
        ]
    if duration_s is not None:
        labelled.append(("recording", f"{as_clock(duration_s)}, with {summary.inside:,} of the comments in it"))
    if lag:
        labelled.append(("sound", lag))
    blocks = [rows([*labelled, *skipped_rows(summary.skipped)])]
    if any(summary.rate):
        blocks.append(_rate_text(summary))
    if warning:
        blocks.append(rows([("warning", warning)]))
    return "\n\n".join(blocks)


def _rate_text(summary: "Summary") -> str:
    """Draw the comment rate over time, and name its peak."""
    from kuaihl.comments.statistics import BLOCKS, PLAIN_BLOCKS, sparkline

    blocks = BLOCKS if _can_print(BLOCKS) else PLAIN_BLOCKS
    stop_s = summary.rate_start_s + summary.bin_s * len(summary.rate)
    start, stop = as_clock(summary.rate_start_s), as_clock(stop_s)
    peak_s = summary.rate_start_s + summary.peak * summary.bin_s
    highest = summary.rate[summary.peak]
    mean = sum(summary.rate) / (stop_s - summary.rate_start_s)
    peak = (
        f"{highest:,} from {as_clock(peak_s)} to {as_clock(peak_s + summary.bin_s)}: "
        f"{_per_minute(highest / summary.bin_s)}, {_per_minute(mean)} on average"
    )
    return "\n".join(
        [
            f"{'rate':<{LABEL_WIDTH}}{sparkline(summary.rate, blocks=blocks)}".rstrip(),
            f"{'':<{LABEL_WIDTH}}{start}{stop:>{len(summary.rate) - len(start)}}",
            rows([("peak", peak)]),
        ]
    )


def _rate_width() -> int:
    """Return how many bins of the rate fit a line."""
    return min(max(columns() - LABEL_WIDTH - 1, 20), 60)


def _per_minute(per_s: float) -> str:
    return f"{per_s * 60:,.3g} a minute" if per_s * 60 < 1000 else f"{per_s * 60:,.0f} a minute"


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
