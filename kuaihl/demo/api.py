"""Endpoints for programs, over HTTP, Gradio's client or MCP. Their parameters are the fields of `kuaihl.request`."""

import asyncio
import dataclasses
import inspect
import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import gradio as gr
from gradio.components import Component
from gradio.data_classes import FileData
from gradio.utils import get_function_description

from kuaihl.demo.forms import report_errors, request_from, upload, user_error
from kuaihl.demo.jobs import Job
from kuaihl.demo.layout import DOWNLOADS
from kuaihl.demo.service import Service
from kuaihl.progress import Progress
from kuaihl.request import MINIMUM, By, Kind, LogRequest, Request, Source, help_texts

if TYPE_CHECKING:
    from kuaihl.demo.pipeline import Encoded, OpenedFiles
    from kuaihl.predictor import Predictor
    from kuaihl.records import Prediction

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
_SECONDS_SCHEMA = {"type": "array", "items": {"type": "number"}}


@dataclass(frozen=True)
class Call:
    """A call of an endpoint whose recording is encoded."""

    predictor: "Predictor"
    opened: "OpenedFiles"
    encoded: "Encoded"
    job: Job
    request: Request
    times_s: tuple[float, ...]

    def score(self) -> "Prediction":
        """Return the prediction."""
        return self.predictor.score(
            self.encoded.embeddings,
            streamer=self.request.streamer,
            target=self.request.target,
            options=self.request.highlight_options,
            progress=Progress(self.job),
        )


def predict(call: Call) -> dict[str, Any]:
    """Predict how many viewers stay for every 30 seconds of a live stream, and find its highlights.

    Returns the content of prediction.json, and "files": report, tables, chapters, subtitles and timelines for
    editors. "score" is the prediction of "target" for a segment, null for the first.
    """
    from kuaihl.export.json_csv import to_json
    from kuaihl.export.saving import save_prediction

    prediction, folder = call.score(), call.job.folder
    save_prediction(prediction, folder, recording=call.opened.recording, progress=Progress(call.job, "writing"))
    files = {name: FileData(path=str(folder / name), orig_name=name).model_dump() for name in DOWNLOADS}
    return {**json.loads(to_json(prediction)), "files": files}


def highlights(call: Call) -> list[dict[str, Any]]:
    """Find the highlights of a live stream, the best first.

    Each has "rank", "start_s", "end_s" and "peak_s" in seconds from the start, "strength", the evidence ("why"), the
    curve that it comes from ("source") and its "score" there, what the forecast predicts ("target") and what the model
    learned it from ("trained_on").
    """
    prediction = call.score()
    target = {"target": prediction.target, "trained_on": prediction.trained_on}
    return [{**dataclasses.asdict(highlight), **target} for highlight in prediction.highlights]


def explain(call: Call) -> dict[str, Any]:
    """Explain the predictions of a live stream: the output of `kuaihl explain --json`.

    Each of "segments", and "next", has its "score" and the "contributions" of each source. Each of "explanations" also
    has the "earlier_segments" that mattered most, with their contributions, speech and most frequent comments.
    """
    from kuaihl import attribution

    prediction = call.score()
    indices = attribution.indices_at(prediction, call.times_s)
    progress = Progress(call.job, "explaining")
    return attribution.explain(call.predictor, call.encoded.embeddings, prediction, indices, progress=progress)


async def comments(log: str, recording: str | None = None, **values: Any) -> dict[str, Any]:
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


def lay_out(service: Service, *, queue: str) -> None:
    """Add the endpoints to the page, where they are invisible. Those that predict wait in ``queue``."""
    with gr.Column(visible=False):
        button, answer = gr.Button(), gr.JSON(label="answer")
        for finish, extra in ((predict, {}), (highlights, {}), (explain, {"at": []})):
            endpoint = _describe(_endpoint(service, finish, keep=finish is predict), finish.__doc__, Request, extra)
            button.click(
                endpoint,
                None,
                answer,
                inputs_kwargs=_components(endpoint),
                api_name=finish.__name__,
                concurrency_id=queue,
                concurrency_limit=1,
            )
        endpoint = _describe(comments, comments.__doc__, LogRequest, {})
        button.click(endpoint, None, answer, inputs_kwargs=_components(endpoint), api_name=comments.__name__)


def _endpoint(service: Service, finish: Callable[[Call], Any], *, keep: bool) -> Callable[..., Awaitable[Any]]:
    async def endpoint(
        recording: str,
        comments: str | None = None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes the progress bar
        **values: Any,
    ) -> Any:
        from kuaihl.demo.pipeline import Files

        times_s = _check_seconds("at", values.pop("at", None) or [])
        request = request_from(values)
        service.check_allowed(request.checkpoint)
        files = Files(Path(recording), Path(comments) if comments else None)
        job = service.begin(progress, files, request)

        def done(predictor: "Predictor", opened: "OpenedFiles", encoded: "Encoded") -> Any:
            return finish(Call(predictor, opened, encoded, job, request, times_s))

        return await service.run(job, files, request, done, keep=keep)

    endpoint.__name__ = finish.__name__  # the name of the MCP tool
    return endpoint


def _describe(
    function: Callable[..., Awaitable[Any]], summary: str | None, request: type[LogRequest], extra: dict[str, Any]
) -> Callable[..., Awaitable[Any]]:
    """Return a function with ``extra`` parameters and the fields of a request class, where Gradio and MCP read them.

    They read the signature, and one line per parameter under "Args:" in the docstring.
    """

    @wraps(function)
    async def endpoint(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    defaults = extra | {field.name: field.default for field in dataclasses.fields(request)}
    added = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=default) for n, default in defaults.items()]
    endpoint.__signature__ = signature.replace(  # pyright: ignore[reportAttributeAccessIssue] - of PEP 362
        parameters=[*own, *added]
    )
    texts = _HELP | help_texts(request)
    lines = [f"{p.name}: {texts[p.name]}" for p in (*own, *added) if p.name in texts]
    endpoint.__doc__ = "\n".join([inspect.cleandoc(summary or ""), "Args:", *lines])
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
        component = upload(label=name)
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


def _check_seconds(name: str, times_s: Any) -> tuple[float, ...]:
    """Check a list of times, which Gradio does not: a program may send any JSON."""
    if isinstance(times_s, list) and all(
        type(time_s) in {int, float} and math.isfinite(time_s) and time_s >= 0 for time_s in times_s
    ):
        return tuple(times_s)
    raise user_error(f"{name} takes a list of seconds from 0 up, such as [30, 605].")
