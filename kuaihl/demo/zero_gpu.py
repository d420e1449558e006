"""ZeroGPU: a Space's GPU that is lent for a function at a time, in a process that is forked for it."""

import math
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from kuaihl.demo.jobs import Job, Stopped
from kuaihl.demo.model_cache import Shelf
from kuaihl.errors import KuaiHLError

if TYPE_CHECKING:
    from kuaihl.demo.pipeline import Given, Material, Settings

LOADING_S = 20
"""The models are loaded by the process that has the GPU."""
S_PER_HOUR = 60
"""What encoding an hour takes on two cores without a GPU, and a third more: with one it takes no longer."""
LOOK_AGAIN_S_PER_HOUR = 10
"""Of it, for the comments alone."""


def is_lent(environment: Mapping[str, str]) -> bool:
    """Whether this is a Space on ZeroGPU, with Hugging Face's package ``spaces``."""
    on = environment.get("SPACES_ZERO_GPU", "").lower() in {"1", "t", "true"}
    return on and find_spec("spaces") is not None


def needed_s(*work: Any, **_: Any) -> int:
    """Estimate for how long a GPU is needed, from the length of the recording, in seconds; gets what the work gets.

    It is an upper bound rather than a guess, since work that takes longer than was asked for is ended.
    """
    _, given, _, before = work
    known = before is not None and before.key == given.key
    hours = given.recording.info.duration_s / 3600
    return LOADING_S + math.ceil(hours * (LOOK_AGAIN_S_PER_HOUR if known else S_PER_HOUR))


class Borrower:
    """Encodes on a GPU that is lent; nothing is loaded to a GPU, or encoded, in the process that borrows.

    Parameters
    ----------
    shelf
        Models for the process that has the GPU; it loads them itself and keeps them for as long as it is used.
    anywhere
        As for `Shelf.get`.
    """

    def __init__(self, shelf: Shelf, *, anywhere: bool) -> None:
        import spaces  # before torch, which it prepares

        self._shelf, self._anywhere = shelf, anywhere
        self._lent: Callable[..., Material | BaseException] = spaces.GPU(duration=needed_s)(self._there)

    def __call__(
        self, job: Job, given: "Given", settings: "Settings", before: "Material | None", **options: Any
    ) -> "Material":
        """Encode as `kuaihl.demo.pipeline.encode`."""
        found = self._lent(job, given, settings, before, **options)
        if isinstance(found, BaseException):
            raise found
        return found

    def _there(
        self, job: Job, given: "Given", settings: "Settings", before: "Material | None", **options: Any
    ) -> "Material | BaseException":
        """Encode where the GPU is; of what is raised there, only the kind would come back."""
        import torch

        from kuaihl.demo import pipeline

        torch.set_num_threads(1)  # the threads of the process that was forked are not here, and would be waited for
        try:
            predictor = self._shelf.get(settings.model, anywhere=self._anywhere)
            return pipeline.encode(predictor, given, settings, before=before, progress=job, **options)
        except (KuaiHLError, Stopped) as error:
            return error
