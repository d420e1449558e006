"""Run a function on many recordings: in this process, or on the machines of a Ray cluster."""

import logging
import os
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

import tyro
from typing_extensions import Doc

from kuaihl.errors import KuaiHLError, RecordingError

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

RETRIES = 2
"""How often a recording is tried again after its worker died."""
_NO_DEFAULT = tyro.conf.arg(help_behavior_hint="")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Where recordings are processed."""

    engine: Annotated[
        Literal["local", "ray"],
        Doc("This process, or the workers of a Ray cluster, one recording each at a time. Ray needs pip install "
            "'kuaihl[ray]'."),
    ] = "local"  # fmt: skip
    address: Annotated[
        str | None,
        Doc("Address of a running Ray cluster, auto for the one of this machine. By default Ray is started here, and "
            "listens on loopback only."),
        _NO_DEFAULT,
    ] = None  # fmt: skip
    workers: Annotated[
        int | None,
        Doc("Number of Ray workers. By default one for each GPU of the cluster, or for each CPU core if it has none."),
        _NO_DEFAULT,
    ] = None

    def __post_init__(self) -> None:
        if self.engine == "local" and (self.address or self.workers):
            raise KuaiHLError("--address and --workers are for --engine ray.")
        if self.workers is not None and self.workers < 1:
            raise KuaiHLError(f"workers must be at least 1, not {self.workers}.")


def run_each(
    step: Callable[[_Item], _Result],
    items: Sequence[_Item],
    *,
    options: EngineOptions,
    decode: Callable[[_Item], _Item] | None = None,
    expected: tuple[type[KuaiHLError], ...] = (KuaiHLError,),
) -> Iterator[tuple[int, _Result | KuaiHLError]]:
    """Call a function with each item; yield the index of the item and the result, in order of completion.

    Parameters
    ----------
    step
        Called with an item. For Ray it is pickled, once for each worker: what is costly to load, such as a model, it
        loads when it is first called.
    decode
        Prepares an item for ``step``. On a cluster with GPUs it runs on the CPU cores, while ``step`` runs on the
        GPUs; elsewhere it is not called.
    expected
        Errors that concern one item and are yielded as its result. With Ray, this includes a `RecordingError` for an
        item whose worker died ``1 + RETRIES`` times.

    Raises
    ------
    KuaiHLError
        Ray is not installed or there is no cluster at the address, or ``step`` raised an error that is not expected.
    """
    if options.engine == "ray" and items:
        outcomes = _run_on_ray(step, items, decode=decode, options=options)
    else:
        outcomes = ((number, _attempt(step, item, expected)) for number, item in enumerate(items))
    for number, outcome in outcomes:
        if isinstance(outcome, Exception) and not isinstance(outcome, expected):
            raise outcome
        yield number, outcome


def _attempt(step: Callable[[Any], Any], item: Any, expected: tuple[type[Exception], ...]) -> Any:
    """Return the result, or the error if it is expected."""
    try:
        return step(item)
    except expected as error:
        return error


def _run_on_ray(
    step: Callable[[Any], Any],
    items: Sequence[Any],
    *,
    decode: Callable[[Any], Any] | None,
    options: EngineOptions,
) -> Iterator[tuple[int, Any]]:
    """Map the items with Ray Data, which queues, retries and limits what is in memory."""
    cpus, gpus = _connect(options)
    from ray.data import DataContext, from_items

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # a block is an item; the one that kills its workers must not stop the others
    # Items in a block of their own are distributed, retried and yielded one by one.
    rows = from_items(
        [{"number": number, "pickled": pickle.dumps(item)} for number, item in enumerate(items)],
        override_num_blocks=len(items),
    )
    if gpus and decode is not None:
        rows = _map(rows, decode, workers=min(max(cpus - gpus, 1), len(items)))
    rows = _map(rows, step, workers=min(options.workers or gpus or cpus, len(items)), num_gpus=1 if gpus else None)
    left = set(range(len(items)))
    for batch in rows.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"):
        table = cast("pa.Table", batch)
        for number, pickled in zip(table["number"].to_pylist(), table["pickled"].to_pylist(), strict=True):
            left.remove(number)
            yield number, pickle.loads(pickled)  # noqa: S301 - from our own workers
    for number in sorted(left):
        reason = f"Its worker died {1 + RETRIES} times, perhaps for lack of memory: see the logs of Ray."
        yield number, RecordingError(reason)


def _connect(options: EngineOptions) -> tuple[int, int]:
    """Start Ray here, or connect to a cluster, unless this process has done so; return its CPU cores and GPUs."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if options.address is None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # on every system: bind to loopback
    try:
        import ray
    except ImportError as error:
        raise KuaiHLError("The engine ray is not installed: pip install 'kuaihl[ray]'.") from error
    if not ray.is_initialized():
        try:
            ray.init(
                options.address or "local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
            )
        except (ConnectionError, ValueError) as error:
            raise KuaiHLError(f"No Ray cluster at {options.address}: {error}. Start one with ray start.") from error
    resources = ray.cluster_resources()
    return max(int(resources.get("CPU", 1)), 1), int(resources.get("GPU", 0))


def _map(rows: "Dataset", step: Callable[[Any], Any], *, workers: int, num_gpus: float | None = None) -> "Dataset":
    """Apply a function to the items of rows, on actors that hold it."""
    from ray.data import ActorPoolStrategy
    from ray.util.annotations import RayDeprecationWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RayDeprecationWarning)  # retries have no other parameter yet
        return rows.map(
            cast("Any", _Worker),  # its stub knows functions only
            fn_constructor_args=[step],
            compute=ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
            num_cpus=None if num_gpus else 1,
            num_gpus=num_gpus,
            max_restarts=-1,
            max_task_retries=RETRIES,
        )


class _Worker:
    """Apply a function to pickled items. Errors become results, and pass through the steps that follow."""

    def __init__(self, step: Callable[[Any], Any]) -> None:
        self._step = step

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        item = pickle.loads(row["pickled"])  # noqa: S301 - from our own driver
        if isinstance(item, Exception):
            return row
        try:
            outcome = self._step(item)
        except KuaiHLError as error:
            outcome = error
        except Exception:  # noqa: BLE001 - raised again by the driver
            outcome = RuntimeError(traceback.format_exc())
        return {"number": row["number"], "pickled": pickle.dumps(outcome)}
