"""Endpoints for programs: called by name through gradio's client, HTTP or MCP; callers share nothing but the model.

Descriptions of parameters are one line each, since gradio reads no more of them for MCP.
"""

import dataclasses
import json
import math
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import gradio as gr
from gradio.data_classes import FileData
from gradio.utils import get_function_description

from kuaihl.comments.selection import COUNTED, KINDS
from kuaihl.demo.forms import inputs_of, settings_of, told
from kuaihl.demo.jobs import Job
from kuaihl.demo.layout import DOWNLOADS, SOURCES
from kuaihl.demo.model_cache import OWN
from kuaihl.errors import KuaiHLError
from kuaihl.progress import Progress

if TYPE_CHECKING:
    from kuaihl.demo.pipeline import Given, Material
    from kuaihl.predictor import Predictor


class Endpoints:
    """What programs can call.

    Parameters
    ----------
    begin, run
        Begin the work on inputs; encode them and let a function finish it: as `app.Demo.begin` and `app.Demo.run`.
    admit
        Refuses models that whoever makes a request may not name, as `app.Demo.admit`.
    """

    def __init__(
        self,
        begin: Callable[..., Job],
        run: Callable[..., Awaitable[Any]],
        admit: Callable[[gr.Request, str], str],
    ) -> None:
        self._begin, self._run, self._admit = begin, run, admit

    async def predict(
        self,
        request: gr.Request,
        recording: str,
        comments: str | None = None,
        transcript: str | None = None,
        comment_offset_s: float = 0.0,
        stream_start: str = "",
        streamer: str = "",
        sources: list[str] = list(SOURCES),  # noqa: B006 - gradio reads it, and nobody writes to it
        model: str = OWN,
        target: str = "",
        highlights: int = 5,
        min_gap_s: float = 60.0,
        padding_s: float = 0.0,
        max_length_s: float = 300.0,
        counted: list[str] = list(COUNTED),  # noqa: B006 - as above
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how gradio is told to track progress
    ) -> dict[str, Any]:
        """Predict how many viewers stay, for every 30 seconds of a live stream's recording, and write all its files.

        The answer is what prediction.json holds, with "files" beside it: report, tables, chapters, subtitles, timelines
        for editors. Each segment's "score" is the prediction for "target", null for the first.

        Args:
            recording: Video or sound file: MP4, MOV, MKV, WebM, FLV, MPEG-TS.
            comments: Its comment log, in any format that KuaiHL reads.
            transcript: Subtitles (SRT, VTT, ASS) to use instead of speech recognition.
            comment_offset_s: Seconds added to the time of every comment.
            stream_start: When the recording starts, for logs by the wall clock, as in 2024-05-01T20:00:00+02:00.
            streamer: Whose stream it is, if the model knows them.
            sources: What to predict from: any of pictures, speech, comments.
            model: A checkpoint that this server offers; the one that comes with KuaiHL if not given.
            target: What to predict, such as lvtr or participation; the model's first if not given.
            highlights: How many highlights at most.
            min_gap_s: Seconds between them at least.
            padding_s: Seconds added at both ends.
            max_length_s: How long one is at most, before padding.
            counted: What of the log counts as a comment: any of message, command, paid, gift, bot, notice.
        """
        settings = settings_of(
            streamer,
            sources,
            highlights,
            min_gap_s,
            padding_s,
            max_length_s,
            comment_offset_s,
            counted,
            self._admit(request, model),
            target,
        )
        inputs = inputs_of(Path(recording), comments, transcript, stream_start)

        def finish(predictor: "Predictor", given: "Given", material: "Material", job: Job) -> dict[str, Any]:
            from kuaihl.export.json_csv import to_json
            from kuaihl.export.saving import write_prediction

            prediction = predictor.score(
                material.encoded, **settings.as_asked, options=settings.options, progress=Progress(job)
            )
            write_prediction(prediction, job.folder, recording=given.recording, progress=partial(job, "writing"))
            files = {name: FileData(path=str(job.folder / name), orig_name=name).model_dump() for name in DOWNLOADS}
            return {**json.loads(to_json(prediction)), "files": files}

        return await self._run(self._begin(progress, inputs), inputs, settings, finish, spare=True, keep=True)

    async def highlights(
        self,
        request: gr.Request,
        recording: str,
        comments: str | None = None,
        transcript: str | None = None,
        comment_offset_s: float = 0.0,
        stream_start: str = "",
        streamer: str = "",
        sources: list[str] = list(SOURCES),  # noqa: B006 - as above
        model: str = OWN,
        target: str = "",
        highlights: int = 5,
        min_gap_s: float = 60.0,
        padding_s: float = 0.0,
        max_length_s: float = 300.0,
        counted: list[str] = list(COUNTED),  # noqa: B006 - as above
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - as above
    ) -> list[dict[str, Any]]:
        """Find the highlights of a live stream's recording: where most viewers should stay, best first.

        Each has rank, start_s, end_s and peak_s in seconds from the start, lvtr (the predicted share of viewers who
        stay long) at the peak, and what the model predicts (target) and has learned from (trained_on).

        Args:
            recording: Video or sound file: MP4, MOV, MKV, WebM, FLV, MPEG-TS.
            comments: Its comment log, in any format that KuaiHL reads.
            transcript: Subtitles (SRT, VTT, ASS) to use instead of speech recognition.
            comment_offset_s: Seconds added to the time of every comment.
            stream_start: When the recording starts, for logs by the wall clock, as in 2024-05-01T20:00:00+02:00.
            streamer: Whose stream it is, if the model knows them.
            sources: What to predict from: any of pictures, speech, comments.
            model: A checkpoint that this server offers; the one that comes with KuaiHL if not given.
            target: What to predict, such as lvtr or participation; the model's first if not given.
            highlights: How many at most.
            min_gap_s: Seconds between them at least.
            padding_s: Seconds added at both ends.
            max_length_s: How long one is at most, before padding.
            counted: What of the log counts as a comment: any of message, command, paid, gift, bot, notice.
        """
        settings = settings_of(
            streamer,
            sources,
            highlights,
            min_gap_s,
            padding_s,
            max_length_s,
            comment_offset_s,
            counted,
            self._admit(request, model),
            target,
        )
        inputs = inputs_of(Path(recording), comments, transcript, stream_start)

        def finish(predictor: "Predictor", _: "Given", material: "Material", job: Job) -> list[dict[str, Any]]:
            found = predictor.score(
                material.encoded, **settings.as_asked, options=settings.options, progress=Progress(job)
            )
            model = {"target": found.target, "trained_on": found.trained_on}
            return [{**dataclasses.asdict(highlight), **model} for highlight in found.highlights]

        return await self._run(self._begin(progress, inputs), inputs, settings, finish, spare=True)

    async def why(
        self,
        request: gr.Request,
        recording: str,
        comments: str | None = None,
        transcript: str | None = None,
        comment_offset_s: float = 0.0,
        stream_start: str = "",
        streamer: str = "",
        sources: list[str] = list(SOURCES),  # noqa: B006 - as above
        model: str = OWN,
        target: str = "",
        at: list[float] = [],  # noqa: B006 - as above
        counted: list[str] = list(COUNTED),  # noqa: B006 - as above
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - as above
    ) -> dict[str, Any]:
        """Tell why predictions for a live stream's recording are as they are; the answer is that of kuaihl why --json.

        Each of "segments", and "forecast", has its "value" and what each source "added" to it. Each of "reasons" has
        also the segments "before" that mattered most, with what their sources added, what was said and what written.

        Args:
            recording: Video or sound file: MP4, MOV, MKV, WebM, FLV, MPEG-TS.
            comments: Its comment log, in any format that KuaiHL reads.
            transcript: Subtitles (SRT, VTT, ASS) to use instead of speech recognition.
            comment_offset_s: Seconds added to the time of every comment.
            stream_start: When the recording starts, for logs by the wall clock, as in 2024-05-01T20:00:00+02:00.
            streamer: Whose stream it is, if the model knows them; then their effect is told as well.
            sources: What to predict from: any of pictures, speech, comments.
            model: A checkpoint that this server offers; the one that comes with KuaiHL if not given.
            target: What to predict, such as lvtr or participation; the model's first if not given.
            at: Seconds in the segments to give reasons for, the end for the forecast; highlights and forecast if empty.
            counted: What of the log counts as a comment: any of message, command, paid, gift, bot, notice.
        """
        from kuaihl.attribution import explained, indices_at

        times_s = _seconds("at", at)
        offset_s, model = comment_offset_s, self._admit(request, model)
        settings = settings_of(
            streamer, sources, comment_offset_s=offset_s, counted=counted, model=model, target=target
        )
        inputs = inputs_of(Path(recording), comments, transcript, stream_start)

        def finish(predictor: "Predictor", _: "Given", material: "Material", job: Job) -> dict[str, Any]:
            found, asked = material.encoded, settings.as_asked
            prediction = predictor.score(found, **asked, progress=Progress(job))
            indices, tell = indices_at(prediction, times_s), Progress(job, "explaining")
            return explained(predictor, found, prediction, indices, **asked, progress=tell)

        return await self._run(self._begin(progress, inputs), inputs, settings, finish, spare=True)

    def comments(
        self, log: str, recording: str | None = None, comment_offset_s: float = 0.0, stream_start: str = ""
    ) -> dict[str, Any]:
        """Tell what is understood of a live stream's comment log: format, count, span, kinds, rate, what was skipped.

        With its recording, also how well the two fit, and which offset would make them fit.

        Args:
            log: A comment log, in any format that KuaiHL reads.
            recording: Its recording, to compare with.
            comment_offset_s: Seconds added to the time of every comment.
            stream_start: When the recording starts, for logs by the wall clock, as in 2024-05-01T20:00:00+02:00.
        """
        from kuaihl.comments import reader
        from kuaihl.media.recording import open_recording
        from kuaihl.sync import check_log

        file, video = Path(log), Path(recording) if recording else None
        try:
            found = reader.read(file, offset_s=comment_offset_s or 0.0, stream_start=stream_start.strip() or None)
            return check_log(file.name, found, recording=video and open_recording(video)).as_dict()
        except KuaiHLError as error:
            raise told(error, file, video) from error

    def lay_out(self, *, shared: dict[str, Any]) -> None:
        """Put the endpoints into the page, whose visitors do not see them; ``shared`` says how they queue."""
        with gr.Column(visible=False):
            call, answer = gr.Button(), gr.JSON(label="answer")
            for endpoint, queue in (
                (self.predict, shared),
                (self.highlights, shared),
                (self.why, shared),
                (self.comments, {}),
            ):
                parts = [_part(name, text) for name, text in get_function_description(endpoint)[1].items() if text]
                call.click(endpoint, parts, answer, api_name=endpoint.__name__, **queue)


def _part(name: str, description: str) -> gr.components.Component:
    """Make what checks a parameter and tells programs about it."""
    part = _PARTS[name](label=name)
    if isinstance(part, gr.File):
        part.async_move_resource_to_block_cache = partial(_take_in, part)
    schema = _LIST if name == "at" else part.api_info_as_input()
    part.api_info_as_input = lambda: schema | {"additional_description": description}
    return part


def _seconds(name: str, given: Any) -> tuple[float, ...]:
    """Check a list of seconds, which gradio does not: a program may send any JSON."""
    times = [] if given is None else given
    numbers = isinstance(times, list) and all(type(one) in {int, float} for one in times)
    if not (numbers and all(math.isfinite(one) and one >= 0 for one in times)):
        raise gr.Error(f"{name} takes a list of seconds from 0 up, as in [30, 605].", print_exception=False)
    return tuple(times)


async def _take_in(part: gr.File, place: str | None) -> str | None:
    """Take a file by its address; that of an upload to this very machine, which gradio would refuse, is its place."""
    address = urlsplit(place or "")
    _, ours, path = address.path.partition("/gradio_api/file=")
    if ours and address.hostname in {"127.0.0.1", "localhost", "::1"}:
        file = Path(unquote(path)).resolve()
        if Path(part.GRADIO_CACHE).resolve() in file.parents and file.is_file():
            place = str(file)
    return await gr.File.async_move_resource_to_block_cache(part, place)


_LIST = {"type": "array", "items": {"type": "number"}}
_PARTS: dict[str, Callable[..., gr.components.Component]] = {
    **dict.fromkeys(("recording", "comments", "transcript", "log"), gr.File),
    **dict.fromkeys(("stream_start", "streamer", "model", "target"), partial(gr.Textbox, "")),
    "sources": partial(gr.CheckboxGroup, list(SOURCES), value=list(SOURCES)),
    "comment_offset_s": partial(gr.Number, 0.0),
    "highlights": partial(gr.Number, 5, precision=0, minimum=1),
    "min_gap_s": partial(gr.Number, 60.0, minimum=0),
    "padding_s": partial(gr.Number, 0.0, minimum=0),
    "max_length_s": partial(gr.Number, 300.0, minimum=1),
    "at": partial(gr.JSON, []),
    "counted": partial(gr.CheckboxGroup, list(KINDS), value=list(COUNTED)),
}
