"""The command ``python -m kuaihl why``: what each source adds to predictions, and which segments before mattered."""

from json import dumps as to_json
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from kuaihl.cli.options import check_file, check_seconds, hint, switch
from kuaihl.request import Request

_QUOTED = 200


def why(
    recording: Annotated[Positional[Path], hint("(required)", "RECORDING")],
    *,
    comments: Annotated[Path | None, hint("", "LOG")] = None,
    request: Request,
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
    at
        Of which segments to tell: seconds in them. The end of the recording stands for the forecast.
    json
        Tell it as JSON, with what each source adds to every segment.
    """
    for path in (recording, comments, request.transcript):
        if path is not None:
            check_file(path)
    for moment_s in at:
        check_seconds("--at", moment_s, least_s=0)
    from kuaihl.attribution import explain, indices_at
    from kuaihl.cli.console import progress_bar, say
    from kuaihl.model.targets import sources_of
    from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor

    asked = {"streamer": request.streamer, "target": request.target}
    with progress_bar() as progress:
        predictor = Predictor.from_pretrained(request.checkpoint or DEFAULT_CHECKPOINT)
        needed = sources_of(predictor.config.targets[predictor.config.target_index(request.target)])
        encoded = predictor.encode(
            recording,
            comments,
            transcript=request.transcript,
            sources=[source for source in request.sources if source in needed],
            counted=request.counted,
            comment_offset_s=request.comment_offset_s,
            stream_start=request.stream_start,
            progress=progress,
        )
        prediction = predictor.score(encoded, **asked, progress=progress, options=request.highlight_options)
        indices = indices_at(prediction, at)
        told = explain(predictor, encoded, prediction, indices, progress=progress.stage("explaining"))
    say(to_json(told, indent=2, ensure_ascii=False) if json else text(told))


def text(told: dict[str, Any]) -> str:
    """Write reasons for a terminal."""
    from kuaihl.cli.console import rows
    from kuaihl.comments.fields import as_clock

    blocks = []
    for reason in told["explanations"]:
        span = "forecast" if reason["end_s"] is None else as_clock(reason["start_s"])
        lines = [(span, f"{told['target']} {reason['score']:.1%}: {_points(reason['contributions'])}")]
        for before in reason["earlier_segments"]:
            written = " · ".join(
                one["text"] if one["count"] == 1 else f"{one['text']} × {one['count']}"
                for one in before["top_comments"]
            )
            quoted = [("said", before["speech"]), ("written", written)]
            quotes = "".join(f"; {name}: {words[:_QUOTED]}" for name, words in quoted if words)
            lines.append((f"  {as_clock(before['start_s'])}", f"{_points(before['contributions'])}{quotes}"))
        blocks.append(rows(lines))
    return "\n\n".join(blocks)


def _points(added: dict[str, float]) -> str:
    return ", ".join(f"{name} {100 * value:+.1f}" for name, value in added.items()) + " points"
