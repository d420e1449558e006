"""The checkpoints that a server offers, few of them in memory at a time."""

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

OWN = ""
"""What the checkpoint that comes with the project goes by."""
IN_MEMORY = 2


class Shelf:
    """Checkpoints by name.

    Parameters
    ----------
    folder
        Each checkpoint in it is offered by the name of its folder, beside the project's own.
    device
        Where they compute; the first GPU if there is one, else the CPU, if not given.
    load
        Loads one, from a path or an id on the Hub; with nothing given the project's own.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        device: str | None = None,
        load: "Callable[..., Predictor] | None" = None,
    ) -> None:
        found = sorted(file.parent for file in folder.glob("*/config.json")) if folder else []
        self.places = {place.name: place for place in found if (place / "model.safetensors").is_file()}
        self._load = load or partial(_load, device=device)
        self._loaded: OrderedDict[str, Future[Predictor]] = OrderedDict()
        self._lock = Lock()

    @property
    def choices(self) -> list[tuple[str, str]]:
        """What to show and the name, of all that are offered."""
        return [("The one that comes with KuaiHL", OWN), *((name, name) for name in self.places)]

    def get(self, name: str = OWN, *, anywhere: bool = False) -> "Predictor":
        """Return a model, loaded; who asks for one that is being loaded waits.

        Parameters
        ----------
        name
            One that is offered; with ``anywhere`` also a path or an id on the Hub.

        Raises
        ------
        CheckpointError
            It is not offered, or cannot be loaded.
        """
        if name != OWN and name not in self.places and not anywhere:
            raise CheckpointError(
                f"There is no checkpoint {name!r} here. There are: {', '.join(self.places) or 'none'}."
            )
        with self._lock:
            waiting = self._loaded.pop(name, None)
            promised = waiting or Future()
            while len(self._loaded) >= IN_MEMORY:
                self._loaded.popitem(last=False)  # the one not asked for the longest
            self._loaded[name] = promised
        if waiting is None:
            try:
                promised.set_result(self._load(*([self.places.get(name, name)] if name else [])))
            except BaseException as error:
                with self._lock:
                    self._loaded.pop(name, None)  # asked for again, it is tried again
                promised.set_exception(error)
                raise
        return promised.result()


def _load(*place: str | Path, device: str | None) -> "Predictor":
    from kuaihl.predictor import Predictor

    return Predictor.from_pretrained(*place, device=device)
