"""The checkpoints that a server offers, two of them in memory at a time."""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from kuaihl.errors import CheckpointError

if TYPE_CHECKING:
    from kuaihl.predictor import Predictor

MAX_IN_MEMORY = 2


class ModelCache:
    """Predictors by the name of their checkpoint; None is the checkpoint that comes with KuaiHL.

    Parameters
    ----------
    folder
        Each checkpoint in it is offered by the name of its folder.
    device
        Where they compute. By default the first GPU if there is one, else the CPU.
    load
        Loads a checkpoint from a path or a Hub id, or the one of KuaiHL without arguments.
    """

    def __init__(
        self, folder: Path | None = None, *, device: str | None = None, load: "Callable[..., Predictor] | None" = None
    ) -> None:
        configs = sorted(folder.glob("*/config.json")) if folder else []
        self.folders = {c.parent.name: c.parent for c in configs if c.with_name("model.safetensors").is_file()}
        self._load = load or partial(_load, device=device)
        self._predictors: OrderedDict[str | None, Future[Predictor]] = OrderedDict()
        self._lock = Lock()

    def get(self, name: str | None = None, *, allow_any: bool = False) -> "Predictor":
        """Return a predictor, loaded. Concurrent callers wait for one load.

        Parameters
        ----------
        name
            A checkpoint that is offered; with ``allow_any`` also a path or a Hub id.

        Raises
        ------
        CheckpointError
            The checkpoint is not offered, or cannot be loaded.
        """
        if name is not None and name not in self.folders and not allow_any:
            raise CheckpointError(
                f"There is no checkpoint {name!r} here. Available: {', '.join(self.folders) or 'none'}."
            )
        with self._lock:
            cached = self._predictors.pop(name, None)
            future = cached or Future()
            while len(self._predictors) >= MAX_IN_MEMORY:
                self._predictors.popitem(last=False)  # least recently used
            self._predictors[name] = future
        if cached is None:
            try:
                future.set_result(self._load(*([] if name is None else [self.folders.get(name, name)])))
            except BaseException as error:
                with self._lock:
                    self._predictors.pop(name, None)  # the next call tries again
                future.set_exception(error)
                raise
        return future.result()


def _load(*path_or_repo: str | Path, device: str | None) -> "Predictor":
    from kuaihl.predictor import Predictor

    return Predictor.from_pretrained(*path_or_repo, device=device)
