"""Endpoints for programs, over HTTP, Gradio's client or MCP. Their parameters are the fields of `kuaihl.request`."""

import asyncio
import dataclasses
import inspect
import json
import math
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import unquote, urlsplit

import gradio as gr
from gradio.components import Component
from gradio.data_classes import FileData
from gradio.utils import get_function_description

from kuaihl.demo.forms import report_errors, request_from, user_error
from kuaihl.demo.layout import DOWNLOADS
from kuaihl.demo.service import Service
from kuaihl.progress import Progress
from kuaihl.request import MINIMUM, By, Kind, LogRequest, Request, Source, help_texts

if TYPE_CHECKING:
    from kuaihl.demo.jobs import Job
    from kuaihl.demo.pipeline import Encoded, Files, OpenedFiles
    from kuaihl.predictor import Predictor

_CHOICES = {"sources": get_args(Source), "counted": get_args(Kind), "by": get_args(By)}
_NUMBERS = {"budget_s"}
"""Numbers without a default."""
_FILES = {"recording", "comments", "transcript", "log"}
_HELP = {
    "recording": "Video or sound file: MP4, MOV, MKV, WebM, FLV, MPEG-TS.",
    "comments": "Comment log of the recording, in any format that KuaiHL reads.",
    "log": "Comment log, in any format that KuaiHL reads.",
    "at": "Times of the segments to explain, in seconds; the end for the next score. By default highlights and end.",
}


class Endpoints:
    """The endpoints of a server. Their callers share only its models.

    Parameters
    ----------
    service
        What all visitors share.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def predict(
        self,
        http: gr.Request,
        recording: str,
        comments: str | None = None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes the progress bar
        **values: Any,
    ) -> dict[str, Any]:
        """Predict how many viewers stay for every 30 seconds of a live stream, and find its highlights.

        Returns the content of prediction.json, and "files": report, tables, chapters, subtitles and timelines for
        editors. "score" is the prediction of "target" for a segment, null for the first.
        """
        job, files, request = self._begin(http, recording, comments, progress, values)

        def finish(predictor: "Predictor", opened: "OpenedFiles", encoded: "Encoded") -> Any:
            from kuaihl.export.json_csv import to_json
            from kuaihl.export.saving import save_prediction

            prediction = _score(predictor, encoded, job, request)
            save_prediction(prediction, job.folder, recording=opened.recording, progress=Progress(job, "writing"))
            files = {name: FileData(path=str(job.folder / name), orig_name=name).model_dump() for name in DOWNLOADS}
            return {**json.loads(to_json(prediction)), "files": files}

        return await self._service.run(job, files, request, finish, keep=True)

    async def highlights(
        self,
        http: gr.Request,
        recording: str,
        comments: str | None = None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        **values: Any,
    ) -> list[dict[str, Any]]:
        """Find the highlights of a live stream, the best first.

        Each has "rank", "start_s", "end_s" and "peak_s" in seconds from the start, "score" at the peak, what the score
        predicts ("target") and what the model learned it from ("trained_on").
        """
        job, files, request = self._begin(http, recording, comments, progress, values)

        def finish(predictor: "Predictor", _: "OpenedFiles", encoded: "Encoded") -> Any:
            prediction = _score(predictor, encoded, job, request)
            target = {"target": prediction.target, "trained_on": prediction.trained_on}
            return [{**dataclasses.asdict(highlight), **target} for highlight in prediction.highlights]

        return await self._service.run(job, files, request, finish)

    async def explain(
        self,
        http: gr.Request,
        recording: str,
        comments: str | None = None,
        at: list[float] | None = None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        **values: Any,
    ) -> dict[str, Any]:
        """Explain the predictions of a live stream: the output of `kuaihl explain --json`.

        Each of "segments", and "next", has its "score" and the "contributions" of each source. Each of "explanations"
        also has the "earlier_segments" that mattered most, with their contributions, speech and most frequent comments.
        """
        times_s = _check_seconds("at", [] if at is None else at)
        job, files, request = self._begin(http, recording, comments, progress, values)

        def finish(predictor: "Predictor", _: "OpenedFiles", encoded: "Encoded") -> Any:
            from kuaihl.attribution import explain, indices_at

            prediction = _score(predictor, encoded, job, request)
            indices = indices_at(prediction, times_s)
            return explain(predictor, encoded.embeddings, prediction, indices, progress=Progress(job, "explaining"))

        return await self._service.run(job, files, request, finish)

    async def comments(self, log: str, recording: str | None = None, **values: Any) -> dict[str, Any]:
        """Describe a comment log of a live stream: format, count, span, kinds, rate, what was skipped.

        With its recording, also whether the two fit, and which offset would make them fit.
        """
        request = request_from(values)
        file, video = Path(log), Path(recording) if recording else None

        def work() -> dict[str, Any]:
            from kuaihl.comments import reader
            from kuaihl.media.recording import open_recording
            from kuaihl.sync import check_log

            comment_log = reader.read(file, offset_s=request.comment_offset_s, stream_start=request.stream_start)
            return check_log(file.name, comment_log, recording=video and open_recording(video)).as_dict()

        return await asyncio.to_thread(report_errors, work, file, video)

    def _begin(
        self, http: gr.Request, recording: str, comments: str | None, progress: gr.Progress, values: dict[str, Any]
    ) -> "tuple[Job, Files, Request]":
        from kuaihl.demo.pipeline import Files

        request = request_from(values)
        self._service.check_allowed(http, request.checkpoint)
        files = Files(Path(recording), Path(comments) if comments else None)
        return self._service.begin(progress, files, request), files, request

    def lay_out(self, *, queue: str) -> None:
        """Add the endpoints to the page, where they are invisible. Runs wait in ``queue``."""
        with gr.Column(visible=False):
            button, answer = gr.Button(), gr.JSON(label="answer")
            for method in (self.predict, self.highlights, self.explain):
                endpoint = _described(method, Request)
                button.click(
                    endpoint,
                    None,
                    answer,
                    inputs_kwargs=_components(endpoint),
                    api_name=method.__name__,
                    concurrency_id=queue,
                    concurrency_limit=1,
                )
            endpoint = _described(self.comments, LogRequest)
            button.click(endpoint, None, answer, inputs_kwargs=_components(endpoint), api_name="comments")


def _score(predictor: "Predictor", encoded: "Encoded", job: "Job", request: Request) -> Any:
    return predictor.score(
        encoded.embeddings,
        streamer=request.streamer,
        target=request.target,
        options=request.highlight_options,
        progress=Progress(job),
    )


def _described(function: Callable[..., Awaitable[Any]], request: type[LogRequest]) -> Callable[..., Awaitable[Any]]:
    """Add the fields of a request class to signature and docstring, from where Gradio and MCP take them.

    Gradio reads one line per parameter, under "Args:".
    """

    @wraps(function)
    async def endpoint(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    fields = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
        for field in dataclasses.fields(request)
    ]
    texts = {p.name: _HELP[p.name] for p in own if p.name in _HELP} | help_texts(request)
    endpoint.__signature__ = signature.replace(  # pyright: ignore[reportAttributeAccessIssue] - of PEP 362
        parameters=[*own, *fields]
    )
    endpoint.__doc__ = "\n".join([inspect.getdoc(function) or "", "Args:", *(f"{n}: {t}" for n, t in texts.items())])
    return endpoint


def _components(endpoint: Callable[..., Any]) -> dict[str, Any]:
    """Create the components that check and describe the parameters of an endpoint."""
    parameters = inspect.signature(endpoint).parameters
    return {
        name: _component(name, parameters[name].default, text)
        for name, text in get_function_description(endpoint)[1].items()
        if text
    }


def _component(name: str, default: Any, description: str) -> Component:
    if name in _FILES:
        component = gr.File(label=name)
        component.async_move_resource_to_block_cache = partial(_accept_file, component)
    elif name == "at":
        component = gr.JSON([], label=name)
    elif name in _CHOICES and isinstance(default, tuple):
        component = gr.CheckboxGroup([*_CHOICES[name]], value=[*default], label=name)
    elif name in _CHOICES:
        component = gr.Radio([*_CHOICES[name]], value=default, label=name)
    elif isinstance(default, int | float) or name in _NUMBERS:
        precision = 0 if isinstance(default, int) else None
        component = gr.Number(default, precision=precision, minimum=MINIMUM.get(name), label=name)
    else:
        component = gr.Textbox(default, label=name)
    schema = _SECONDS_SCHEMA if name == "at" else component.api_info_as_input()
    component.api_info_as_input = lambda: schema | {"additional_description": description}
    return component


_SECONDS_SCHEMA = {"type": "array", "items": {"type": "number"}}


def _check_seconds(name: str, times_s: Any) -> tuple[float, ...]:
    """Check a list of times, which Gradio does not: a program may send any JSON."""
    if isinstance(times_s, list) and all(
        type(time_s) in {int, float} and math.isfinite(time_s) and time_s >= 0 for time_s in times_s
    ):
        return tuple(times_s)
    raise user_error(f"{name} takes a list of seconds from 0 up, such as [30, 605].")


async def _accept_file(component: gr.File, url_or_file_path: str | Path | None) -> str | None:
    """Accept a file by its address. The address of an upload to this server, which Gradio would refuse, is its path."""
    url = urlsplit(str(url_or_file_path or ""))
    _, is_upload, path = url.path.partition("/gradio_api/file=")
    if is_upload and url.hostname in {"127.0.0.1", "localhost", "::1"}:
        file = Path(unquote(path)).resolve()
        if Path(component.GRADIO_CACHE).resolve() in file.parents and file.is_file():
            url_or_file_path = str(file)
    return await gr.File.async_move_resource_to_block_cache(component, url_or_file_path)
