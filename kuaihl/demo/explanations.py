"""The tab "Why": explains the score of a highlight, of any segment or of the next 30 s. The player follows."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from kuaihl.demo.layout import QUIET, Results

if TYPE_CHECKING:
    from kuaihl.demo.pipeline import Run
    from kuaihl.predictor import Predictor

EXPIRED = "<p>This result has expired. Press Run again.</p>"


class Explanations:
    """Fills player (or still), segment choice, explanation and alignment.

    Parameters
    ----------
    results
        The components of the page.
    predictor
        Returns the predictor of a checkpoint.
    """

    def __init__(self, results: Results, predictor: "Callable[[str | None], Predictor]") -> None:
        self._parts, self._predictor = results, predictor

    @property
    def outputs(self) -> list[Any]:
        """The components that are filled."""
        parts = self._parts
        return [parts.player, parts.still, parts.segment, parts.explanation, parts.alignment]

    def connect(self, run: gr.State, dark: gr.Checkbox, *, js: str) -> None:
        """Connect clicks on highlights, rows of the table and the choice of a segment. ``js`` sets ``dark``."""
        parts = self._parts
        # "always_last": a choice that is made while another one is explained is explained next.
        parts.highlights.seek(
            self.explain_highlight, [run, dark], self.outputs, js=js, trigger_mode="always_last", **QUIET
        )
        parts.table.select(self.explain_row, [run, dark], self.outputs, js=js, trigger_mode="always_last", **QUIET)
        parts.segment.input(
            self.explain_segment, [run, parts.segment, dark], self.outputs, js=js, trigger_mode="always_last", **QUIET
        )

    def explain_best(self, run: "Run", dark: bool) -> dict[Any, Any]:  # noqa: FBT001 - a checkbox's value
        """Fill the player and the choice of segments, and explain the best highlight, or the next score if none."""
        from kuaihl.plots.style import clock, percent

        prediction = run.prediction
        choices = [
            (f"{clock(s.segment.start_s)} – {percent(s.score)}", s.segment.index)
            for s in prediction.segments
            if s.score is not None
        ]
        choices.append((f"Next 30 s – {percent(prediction.next_score)}", len(prediction.segments)))
        updates = self._explain(run, 1, None, dark)
        updates[self._parts.player] |= {"value": run.player and str(run.player), "visible": run.player is not None}
        updates[self._parts.still] |= {"visible": run.player is None}
        updates[self._parts.segment] |= {"choices": choices}
        return updates

    def explain_highlight(self, run: Any, dark: bool, event: gr.EventData) -> dict[Any, Any]:  # noqa: FBT001
        """Explain the highlight that was clicked."""
        return self._explain(run, event.rank, None, dark)

    def explain_row(self, run: Any, dark: bool, event: gr.SelectData) -> dict[Any, Any]:  # noqa: FBT001
        """Explain the segment whose row was clicked. The first segment has no score."""
        return self._explain(run, None, event.index[0], dark) if event.index[0] else gr.skip()

    def explain_segment(self, run: Any, index: int | None, dark: bool) -> dict[Any, Any]:  # noqa: FBT001
        """Explain a segment of the list, or the next score."""
        if index is None:
            return gr.skip()
        updates = self._explain(run, None, index, dark)
        updates.pop(self._parts.segment, None)  # the visitor may have chosen another one meanwhile
        return updates

    def _explain(self, run: "Run | None", rank: int | None, index: int | None, dark: bool) -> dict[Any, Any]:  # noqa: FBT001
        """Explain the highlight of a rank, or a segment."""
        from kuaihl.attribution import influential_segments
        from kuaihl.demo import panels, pipeline
        from kuaihl.plots.alignment import plot_alignment
        from kuaihl.plots.style import clock

        parts = self._parts
        if run is None:
            return {parts.player: gr.update(visible=False), parts.still: gr.update(value=EXPIRED, visible=True)}
        prediction = run.prediction
        count = len(prediction.segments)
        highlight = next((h for h in prediction.highlights if h.rank == rank), None)
        if highlight is not None:
            index = next(s.segment.index for s in prediction.segments if s.segment.end_s > highlight.peak_s)
        elif index is None:
            index = count
        is_next = index == count
        segment = prediction.segments[min(index, count - 1)].segment
        start_s = segment.start_s if highlight is None else highlight.start_s
        still = pipeline.still_at(run, start_s) if highlight is None else run.stills[highlight.rank - 1]
        predictor = self._predictor(run.request.checkpoint)
        explanation = panels.explanation_html(
            "for the next 30 s" if is_next else f"at {clock(segment.start_s)}",
            prediction.next_score if is_next else prediction.segments[index].score,
            run.contributions.of(index),
            influential_segments(predictor, run.encoded.embeddings, prediction, index),
        )
        return {
            parts.player: gr.update(playback_position=start_s),
            parts.still: gr.update(value=panels.still_html(prediction.recording, still, start_s=start_s)),
            parts.segment: gr.update(value=index),
            parts.explanation: gr.update(value=explanation),
            parts.alignment: gr.update(value=plot_alignment(prediction, around=segment.index, dark=dark)),
        }
