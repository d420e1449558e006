"""The command ``kuaihl explain``: what each source adds to predictions, and which earlier segments mattered."""

from json import dumps
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from kuaihl.cli.console import print_above_bar, progress_bar, rows
from kuaihl.cli.options import SWITCH, Log, check_file, check_seconds, hint
from kuaihl.comments.fields import as_clock
from kuaihl.request import Request

_MAX_QUOTE = 200


def explain(
    recording: Annotated[Positional[Path], hint("(required)", "RECORDING")],
    *,
    comments: Log = None,
    request: Request,
    at: Annotated[tuple[float, ...], hint("(default: the highlights' peaks and the forecast)", "S [S ...]")] = (),
    json: Annotated[bool, SWITCH] = False,
) -> None:
    """Explain predictions: what each source adds, and which earlier segments mattered.

    Each source is left out in turn, from all segments and from single ones.

    Parameters
    ----------
    recording
        Video or audio file.
    comments
        Its comment log, in any supported format.
    at
        Times in the segments to explain, in seconds. The end of the recording stands for the forecast.
    json
        Print JSON, with the contributions to every segment.
    """
    for path in (recording, comments, request.transcript):
        check_file(path)
    for time_s in at:
        check_seconds("at", time_s)
    from kuaihl import attribution
    from kuaihl.model.targets import sources_of
    from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor

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
        prediction = predictor.score(
            encoded,
            streamer=request.streamer,
            target=request.target,
            progress=progress,
            options=request.highlight_options,
        )
        indices = attribution.indices_at(prediction, at)
        explanation = attribution.explain(
            predictor, encoded, prediction, indices, progress=progress.stage("explaining")
        )
    print_above_bar(dumps(explanation, indent=2, ensure_ascii=False) if json else explanation_text(explanation))


def explanation_text(explanation: dict[str, Any]) -> str:
    """Return a block of rows for each explained segment."""
    blocks = []
    for segment in explanation["explanations"]:
        label = "forecast" if segment["end_s"] is None else as_clock(segment["start_s"])
        labelled = [(label, f"{explanation['target']} {segment['score']:.1%}: {_points(segment['contributions'])}")]
        for earlier in segment["earlier_segments"]:
            comments = " · ".join(
                comment["text"] if comment["count"] == 1 else f"{comment['text']} × {comment['count']}"
                for comment in earlier["top_comments"]
            )
            quotes = "".join(
                f"; {name}: {text[:_MAX_QUOTE]}"
                for name, text in (("speech", earlier["speech"]), ("comments", comments))
                if text
            )
            labelled.append((f"  {as_clock(earlier['start_s'])}", f"{_points(earlier['contributions'])}{quotes}"))
        blocks.append(rows(labelled))
    return "\n\n".join(blocks)


def _points(contributions: dict[str, float]) -> str:
    return ", ".join(f"{name} {100 * value:+.1f}" for name, value in contributions.items()) + " points"
