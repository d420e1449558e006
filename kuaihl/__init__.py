"""KuaiHL: predict from the past ten minutes of a live stream how many viewers will stay.

>>> from kuaihl import Predictor
>>> prediction = Predictor.from_pretrained("assets/checkpoint").predict("stream.mp4", "chat.json")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kuaihl.errors import KuaiHLError
    from kuaihl.model.config import KuaiHLConfig
    from kuaihl.model.kuaihl import KuaiHL
    from kuaihl.predictor import Predictor
    from kuaihl.records import Comment, Highlight, Prediction, Segment, Utterance
    from kuaihl.session import Session

__version__ = "0.1.0"

_HOMES = {
    "KuaiHLError": "errors",
    "KuaiHL": "model.kuaihl",
    "KuaiHLConfig": "model.config",
    "Predictor": "predictor",
    "Comment": "records",
    "Highlight": "records",
    "Prediction": "records",
    "Segment": "records",
    "Session": "session",
    "Utterance": "records",
}
__all__ = [
    "Comment",
    "Highlight",
    "KuaiHL",
    "KuaiHLConfig",
    "KuaiHLError",
    "Prediction",
    "Predictor",
    "Segment",
    "Session",
    "Utterance",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch and its kin take seconds."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'kuaihl' has no attribute {name!r}")
    return getattr(import_module(f"kuaihl.{_HOMES[name]}"), name)
