"""Encoding on ZeroGPU: the GPU of a Hugging Face Space, lent for one call at a time to a forked process."""

import math
from collections.abc import Callable, Collection, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kuaihl.demo.jobs import Job, Stopped
from kuaihl.demo.model_cache import ModelCache
from kuaihl.errors import KuaiHLError
from kuaihl.progress import Progress
from kuaihl.request import Request, Source

if TYPE_CHECKING:
    from kuaihl.demo.pipeline import Encoded, OpenedFiles

LOADING_S = 20
"""Time to load the models in the process with the GPU."""
ENCODING_S_PER_HOUR = 60
"""A third more than encoding an hour takes on two CPU cores; a GPU is not slower."""
COMMENTS_S_PER_HOUR = 10
"""Of it, for the comments only."""


def is_zero_gpu(environment: Mapping[str, str]) -> bool:
    """Return whether this is a Space on ZeroGPU, with Hugging Face's package ``spaces``."""
    enabled = environment.get("SPACES_ZERO_GPU", "").lower() in {"1", "t", "true"}
    return enabled and find_spec("spaces") is not None


def estimate_duration_s(
    job: Job,  # noqa: ARG001 - called with the arguments of the work
    opened: "OpenedFiles",
    request: Request,  # noqa: ARG001
    previous: "Encoded | None",
    sources: Collection[Source],  # noqa: ARG001
) -> int:
    """Estimate for how long the work needs a GPU: an upper bound, since longer work is killed."""
    reuses = previous is not None and previous.key == opened.key
    hours = opened.recording.info.duration_s / 3600
    return LOADING_S + math.ceil(hours * (COMMENTS_S_PER_HOUR if reuses else ENCODING_S_PER_HOUR))


class ZeroGpuEncoder:
    """Encode like `kuaihl.demo.pipeline.encode`, in a process with a GPU.

    Parameters
    ----------
    models
        Models of the process with the GPU, which loads them itself.
    allow_any
        As for `ModelCache.get`.
    """

    def __init__(self, models: ModelCache, *, allow_any: bool) -> None:
        import spaces  # pyright: ignore[reportMissingImports] # only on a Space; before torch, which it patches

        self._models, self._allow_any = models, allow_any
        self._encode_on_gpu: Callable[..., Encoded | BaseException] = spaces.GPU(duration=estimate_duration_s)(
            self._encode
        )

    def __call__(
        self, job: Job, opened: "OpenedFiles", request: Request, previous: "Encoded | None", sources: Collection[Source]
    ) -> "Encoded":
        """Encode; parameters as for `kuaihl.demo.pipeline.encode`."""
        result = self._encode_on_gpu(job, opened, request, previous, sources)
        if isinstance(result, BaseException):
            raise result
        return result

    def _encode(
        self, job: Job, opened: "OpenedFiles", request: Request, previous: "Encoded | None", sources: Collection[Source]
    ) -> "Encoded | BaseException":
        """Encode in the process with the GPU. Errors are returned: of raised ones only the type would arrive."""
        import torch

        from kuaihl.demo import pipeline

        torch.set_num_threads(1)  # the threads of the parent process do not exist in a fork
        try:
            predictor = self._models.get(request.checkpoint, allow_any=self._allow_any)
            return pipeline.encode(
                predictor, opened, request, previous=previous, sources=sources, progress=Progress(job)
            )
        except (KuaiHLError, Stopped) as error:
            return error
