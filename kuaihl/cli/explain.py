"""The command ``python -m kuaihl why``: what each source adds to predictions, and which segments before mattered."""

from json import dumps as to_json
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from kuaihl.cli.options import COUNTED, Counted, Sources, check_file, check_seconds, check_some, hint, switch

_QUOTED = 200


def why(
    recording: Annotated[Positional[Path], hint("(required)", "RECORDING")],
    *,
    comments: Annotated[Path | None, hint("", "LOG")] = None,
    comment_offset_s: Annotated[float, hint("(default: 0)", "S")] = 0.0,
    stream_start: Annotated[str | None, hint("", "TIME")] = None,
    counted: Counted = COUNTED,
    transcript: Annotated[Path | None, hint("", "SUB")] = None,
    sources: Sources = ("pictures", "speech", "comments"),
    streamer: Annotated[str | None, hint("(default: an unknown one)", "NAME")] = None,
    target: Annotated[str | None, hint("(default: the checkpoint's first)", "NAME")] = None,
    checkpoint: Annotated[str | None, hint("(default: the one that comes with KuaiHL)", "PATH_OR_REPO")] = None,
    at: Annotated[tuple[float, ...], hint("(default: the highlights' peaks and the forecast)", "S [S ...]")] = (),
    json: Annotated[bool, switch()] = False,
) -> None:
    """Tell why predictions are as they are: what each source adds, and which segments before mattered.

    Sources are left out in turn, of all segments and of single ones; the recording is encoded once.

    Parameters
    ----------
    recording
        A video or sound file.
    comments
        Its comment log, in any format that KuaiHL reads.
    comment_offset_s
        Seconds added to the time of every comment.
    stream_start
        When the recording starts, for logs by the wall clock: date, time and time zone, as in
        2024-05-01T20:00:00+02:00.
    counted
        What of the log counts as a comment: message, command (!...), paid, gift, bot, notice.
    transcript
        Subtitles (SRT, VTT, ASS) to use instead of speech recognition.
    sources
        What to predict from: pictures, speech, comments.
    streamer
        Whose stream it is, if the checkpoint knows them (kuaihl info names them); then their effect is told as well.
    target
        What to predict, if the checkpoint learned several: lvtr, or participation, the share of chatters who write.
    checkpoint
        Folder of a checkpoint, or its id on the Hub.
    at
        Of which segments to tell: seconds in them. The end of the recording stands for the forecast.
    json
        Tell it as JSON, with what each source adds to every segment.
    """
    for path in (recording, comments, transcript):
        if path is not None:
            check_file(path)
    check_seconds("--comment-offset-s", comment_offset_s)
    check_some("--counted", counted)
    check_some("--sources", sources)
    for moment_s in at:
        check_seconds("--at", moment_s, least_s=0)
    from kuaihl.attribution import explained, indices_at
    from kuaihl.cli.console import progress_bar, say
    from kuaihl.model.targets import sources_of
    from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor

    asked = {"streamer": streamer, "target": target}
    with progress_bar() as progress:
        predictor = Predictor.from_pretrained(checkpoint or DEFAULT_CHECKPOINT)
        needed = sources_of(predictor.config.targets[predictor.config.target_index(target)])
        encoded = predictor.encode(
            recording,
            comments,
            transcript=transcript,
            sources=[source for source in sources if source in needed],
            counted=counted,
            comment_offset_s=comment_offset_s,
            stream_start=stream_start,
            progress=progress,
        )
        prediction = predictor.score(encoded, **asked, progress=progress)
        indices = indices_at(prediction, at)
        telling = progress.stage("explaining")
        told = explained(predictor, encoded, prediction, indices, **asked, progress=telling)
    say(to_json(told, indent=2, ensure_ascii=False) if json else text(told))


def text(told: dict[str, Any]) -> str:
    """Write reasons for a terminal."""
    from kuaihl.cli.console import rows
    from kuaihl.comments.fields import as_clock

    blocks = []
    for reason in told["reasons"]:
        span = "forecast" if reason["end_s"] is None else as_clock(reason["start_s"])
        lines = [(span, f"{told['target']} {reason['value']:.1%}: {_points(reason['added'])}")]
        for before in reason["before"]:
            written = " · ".join(
                one["text"] if one["count"] == 1 else f"{one['text']} × {one['count']}" for one in before["comments"]
            )
            quoted = [("said", before["speech"]), ("written", written)]
            quotes = "".join(f"; {name}: {words[:_QUOTED]}" for name, words in quoted if words)
            lines.append((f"  {as_clock(before['start_s'])}", f"{_points(before['added'])}{quotes}"))
        blocks.append(rows(lines))
    return "\n\n".join(blocks)


def _points(added: dict[str, float]) -> str:
    return ", ".join(f"{name} {100 * value:+.1f}" for name, value in added.items()) + " points"
