"""The page's part that tells why: of a highlight, of any segment, and of the forecast; the player goes along."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

if TYPE_CHECKING:
    from kuaihl.demo.pipeline import Run
    from kuaihl.predictor import Predictor

TOO_OLD = "<p>This result was removed, an hour after its run. Press Run again.</p>"


class Reasons:
    """Fills player (or the still in its place), choice of segment, reasons and alignment, in this order.

    Parameters
    ----------
    model
        Loads the model of a run.
    """

    def __init__(self, model: Callable[[str], "Predictor"]) -> None:
        self._model = model

    def connect(self, given: list[Any], rows: gr.HTML, table: gr.Dataframe, shown: list[Any], *, js: str) -> None:
        """Connect the rows of highlights, those of the table and the choice of a segment with what is ``shown``."""
        quiet = {"js": js, "queue": False, "show_progress": "hidden", "api_visibility": "private"}
        quiet["trigger_mode"] = "always_last"  # what is chosen while another choice is being told of counts
        result, dark = given
        rows.seek(self.highlight, given, shown, **quiet)
        table.select(self.row, given, shown, **quiet)
        shown[2].input(self.segment, [result, shown[2], dark], shown, **quiet)

    def best(self, run: "Run", dark: bool) -> list[dict[str, Any]]:  # noqa: FBT001 - a checkbox's value
        """Offer the segments of a new result, and tell of its best highlight; of the forecast if it has none."""
        from kuaihl.plots import style

        prediction = run.prediction
        offered = [
            (f"{style.clock(s.segment.start_s)} – {s.score:.1%}", s.segment.index)
            for s in prediction.segments
            if s.score is not None
        ]
        offered.append((f"Forecast, next 30 s – {prediction.next_score:.1%}", len(prediction.segments)))
        player, still, which, why, alignment = self._tell(run, 1, None, dark)
        player |= {"value": run.player and str(run.player), "visible": run.player is not None}
        return [player, still | {"visible": run.player is None}, which | {"choices": offered}, why, alignment]

    def highlight(self, run: Any, dark: bool, event: gr.EventData) -> list[dict[str, Any]]:  # noqa: FBT001 - as above
        """Tell of the highlight that was clicked."""
        return self._tell(run, event.rank, None, dark)

    def row(self, run: Any, dark: bool, event: gr.SelectData) -> Any:  # noqa: FBT001 - as above
        """Tell of the segment whose row was chosen; of the first one there is nothing to tell."""
        return self._tell(run, None, event.index[0], dark) if event.index[0] else gr.skip()

    def segment(self, run: Any, index: int | None, dark: bool) -> Any:  # noqa: FBT001 - as above
        """Tell of a segment that was chosen from the list, or of the forecast behind the last one."""
        if index is None:
            return gr.skip()
        told = self._tell(run, None, index, dark)
        told[2] = gr.skip()  # the visitor may have chosen another one by now
        return told

    def _tell(self, run: "Run | None", rank: int | None, index: int | None, dark: bool) -> list[dict[str, Any]]:  # noqa: FBT001 - as above
        """Tell of the highlight of a rank, or of a segment."""
        from kuaihl.demo import panels, pipeline
        from kuaihl.plots import alignment, style

        if run is None:
            old = gr.update(value=TOO_OLD, visible=True)
            return [gr.update(visible=False), old, gr.update(), gr.update(), gr.update()]
        prediction = run.prediction
        count = len(prediction.segments)
        chosen = next((h for h in prediction.highlights if h.rank == rank), None)
        if index is None:
            ends_s = [s.segment.end_s for s in prediction.segments]
            index = count if chosen is None else next(i for i, end_s in enumerate(ends_s) if end_s > chosen.peak_s)
        shown = prediction.segments[min(index, count - 1)].segment
        start_s = chosen.start_s if chosen else shown.start_s
        picture = run.stills[chosen.rank - 1] if chosen else pipeline.picture(run, start_s)
        ahead = index == count
        when = "for the next 30 s, the forecast" if ahead else f"at {style.clock(shown.start_s)}"
        value = prediction.next_score if ahead else prediction.segments[index].score
        moments = pipeline.why(self._model(run.settings.model), run, index)
        around = alignment.alignment(prediction, around=shown.index, dark=dark)
        return [
            gr.update(playback_position=start_s),
            gr.update(value=panels.stand_in(prediction.recording, picture, start_s=start_s)),
            gr.update(value=index),
            gr.update(value=panels.why(when, value, run.contributions.of(index), moments)),
            gr.update(value=around),
        ]
