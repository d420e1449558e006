"""The page's part that chooses what predicts, what is predicted and for whom: each choice offers the next ones."""

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from kuaihl.demo.forms import values_of
from kuaihl.demo.layout import SOMEBODY_NEW
from kuaihl.errors import KuaiHLError

if TYPE_CHECKING:
    from kuaihl.predictor import Predictor


class Choosing:
    """Says which checkpoint predicts here; offers its targets, and of the chosen one the streamers.

    Parameters
    ----------
    admit
        Refuses models that whoever makes a request may not name, as `app.Demo.admit`.
    model
        Loads one that was admitted.
    """

    def __init__(self, admit: Callable[[gr.Request, str | None], str], model: Callable[[str], "Predictor"]) -> None:
        self._admit, self._model = admit, model

    def offer(
        self, request: gr.Request, name: str | None, target: str | None, streamer: str | None, comments: str | None
    ) -> list[Any]:
        """Tell of the model called ``name``; of targets those that can be predicted with or without ``comments``."""
        try:
            predictor = self._model(self._admit(request, name))
        except KuaiHLError as error:
            return [f'<p class="model wrong">{escape(str(error))}</p>', gr.skip(), gr.skip()]
        from kuaihl.demo import panels  # now that no other thread is importing its parts
        from kuaihl.model.targets import sources_of, streamers_of

        config = predictor.config
        lacking = [one for one in config.targets if not comments and sources_of(one) == ("comments",)]
        possible = [one for one in config.targets if one not in lacking] or list(config.targets)
        chosen = next((one for one in possible if one.name == target), possible[0])
        known = streamers_of(config, chosen.name)
        return [
            panels.about(predictor.checkpoint.name if name else None, config.targets, chosen),
            gr.update(
                choices=[(panels.named(one), one.name) for one in possible],
                value=chosen.name,
                info=panels.explained(chosen, lacking=[one for one in lacking if one != chosen]),
                visible=len(config.targets) > 1,
            ),
            gr.update(
                choices=[SOMEBODY_NEW, *((panels.streamer(one), one) for one in known)],
                value=streamer if streamer in known else "",
                visible=bool(known),
            ),
        ]

    def restore(self, request: gr.Request, run: Any) -> Any:
        """Fill what is chosen anew with a result's settings, after its page was loaded again."""
        if run is None:
            return gr.skip()
        values = values_of(run.settings)
        model, target, streamer = (values.pop(name) for name in ("model", "target", "streamer"))
        log = run.material.log and "given"
        return [*self.offer(request, model, target or run.prediction.target, streamer, log), model, *values.values()]

    def connect(self, chosen: list[Any], shown: list[Any], comments: gr.File, page: gr.Blocks) -> Any:
        """Connect model, target and streamer (``chosen``) with what is ``shown``; returns the event of a choice."""
        model, target, _ = chosen
        offered = {"fn": self.offer, "inputs": [*chosen, comments], "outputs": shown}
        # What is chosen while an offer waits for the model to be loaded counts as well.
        offered |= {"queue": False, "trigger_mode": "always_last"}
        offered |= {"show_progress": "hidden", "api_visibility": "private"}
        gr.on([page.load, comments.change], **offered)
        return gr.on([model.input, target.input], **offered)
