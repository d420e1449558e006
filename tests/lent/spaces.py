"""A stand-in for Hugging Face's package on ZeroGPU: as there, a function runs in a forked process.

What it is given and returns is pickled, and of what it raises only the name of the kind comes back.
"""

import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import gradio as gr

ASKED: list[float] = []
"""For how many seconds a GPU was asked."""
QUOTA_S = 600


def GPU(*, duration: Callable[..., float]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # noqa: N802 - theirs
    """Lend a GPU for what ``duration`` makes of a function's arguments."""

    def decorate(task: Callable[..., Any]) -> Callable[..., Any]:
        def lent(*args: Any, **kwargs: Any) -> Any:
            ASKED.append(duration(*args, **kwargs))
            if ASKED[-1] > QUOTA_S:
                raise gr.Error("You have exceeded your GPU quota", print_exception=False)
            forking = multiprocessing.get_context("fork")
            sent, results = pickle.dumps((args, kwargs)), forking.SimpleQueue()

            def there() -> None:
                given, named = pickle.loads(sent)  # noqa: S301 - our own
                try:
                    results.put(("returned", task(*given, **named)))
                except Exception as error:  # noqa: BLE001 - as theirs
                    results.put(("raised", type(error).__name__))

            process = forking.Process(target=there, daemon=True)
            process.start()
            how, found = results.get()
            process.join()
            if how == "raised":
                raise gr.Error(f"ZeroGPU worker error: {found}", print_exception=False)
            return found

        return lent

    return decorate
