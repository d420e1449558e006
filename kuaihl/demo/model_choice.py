"""The choice of checkpoint, target and streamer: each choice changes what the next ones offer."""

from typing import Any

import gradio as gr
from gradio.events import Dependency

from kuaihl.demo.forms import request_values
from kuaihl.demo.layout import QUIET, UNKNOWN_STREAMER, Form
from kuaihl.demo.service import Service
from kuaihl.errors import KuaiHLError


class ModelChoice:
    """Describes the chosen checkpoint, and offers its targets and the streamers of the chosen target.

    Parameters
    ----------
    about
        Shows the description.
    """

    def __init__(self, service: Service, form: Form, about: gr.HTML) -> None:
        self._service, self._form, self._about = service, form, about

    @property
    def outputs(self) -> list[Any]:
        """The components that are filled."""
        return [self._about, self._form.target, self._form.streamer]

    def connect(self, page: gr.Blocks) -> Dependency:
        """Connect the components; return the event of a choice by the visitor."""
        form = self._form
        inputs = [form.checkpoint, form.target, form.streamer, form.comments]
        # "always_last": a choice that is made while a model is loaded counts too.
        gr.on([page.load, form.comments.change], self.offer, inputs, self.outputs, trigger_mode="always_last", **QUIET)
        choices = [form.checkpoint.input, form.target.input]
        return gr.on(choices, self.offer, inputs, self.outputs, trigger_mode="always_last", **QUIET)

    def offer(
        self, checkpoint: str | None, target: str | None, streamer: str | None, comments: str | None
    ) -> dict[Any, Any]:
        """Offer the targets that can be predicted with or without ``comments``, and the streamers of the chosen one."""
        checkpoint = (checkpoint or "").strip() or None
        self._service.check_allowed(checkpoint)
        try:
            predictor = self._service.predictor(checkpoint)
        except KuaiHLError as error:
            from kuaihl.demo import panels

            return {self._about: panels.model_error_html(error)}
        from kuaihl.demo import panels  # after the predictor: no other thread is importing its modules then
        from kuaihl.model.targets import sources_of, streamers_of

        config = predictor.config
        without_log = [t for t in config.targets if not comments and sources_of(t) == ("comments",)]
        offered = [t for t in config.targets if t not in without_log] or list(config.targets)
        chosen = next((t for t in offered if t.name == target), offered[0])
        streamers = panels.streamer_names(chosen, streamers_of(config, chosen.name))
        return {
            self._about: panels.model_html(checkpoint and predictor.checkpoint.name, config.targets, chosen),
            self._form.target: gr.update(
                choices=[(panels.target_label(t), t.name) for t in offered],
                value=chosen.name,
                info=panels.target_help(chosen, without_log=[t for t in without_log if t != chosen]),
                visible=len(config.targets) > 1,
            ),
            self._form.streamer: gr.update(
                choices=[UNKNOWN_STREAMER, *((name, name) for name in streamers)],
                value=streamer if streamer in streamers else "",
                visible=bool(streamers),
            ),
        }

    def restore(self, run: Any) -> dict[Any, Any]:
        """Fill the form with the settings of a run, after its page was reloaded."""
        if run is None:
            return gr.skip()
        values = request_values(run.request)
        del values["transcript"], values["stream_start"]  # they belong to the files, which the form has lost
        updates = {part: values[name] for name, part in self._form.request.items() if name in values}
        target = run.request.target or run.prediction.target
        return updates | self.offer(run.request.checkpoint, target, run.request.streamer, run.encoded.log and "log")
