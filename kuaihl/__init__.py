"""KuaiHL: find the best moments of a live stream from its pictures, speech and chat.

>>> from kuaihl import Predictor, save_prediction
>>> prediction = Predictor.from_pretrained().predict("stream.mp4", "chat.json")
>>> save_prediction(prediction, "results")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kuaihl.attribution import explain
    from kuaihl.comments.reader import read as read_comments
    from kuaihl.errors import KuaiHLError
    from kuaihl.export.saving import save_prediction
    from kuaihl.media.recording import open_recording
    from kuaihl.model.config import KuaiHLConfig
    from kuaihl.model.kuaihl import KuaiHL
    from kuaihl.predictor import Predictor
    from kuaihl.records import Comment, Highlight, Prediction, Segment, Utterance
    from kuaihl.session import Session

__version__ = "0.1.0"

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
    "explain",
    "open_recording",
    "read_comments",
    "save_prediction",
]
_HOMES = {
    "Comment": "records:Comment",
    "Highlight": "records:Highlight",
    "KuaiHL": "model.kuaihl:KuaiHL",
    "KuaiHLConfig": "model.config:KuaiHLConfig",
    "KuaiHLError": "errors:KuaiHLError",
    "Prediction": "records:Prediction",
    "Predictor": "predictor:Predictor",
    "Segment": "records:Segment",
    "Session": "session:Session",
    "Utterance": "records:Utterance",
    "explain": "attribution:explain",
    "open_recording": "media.recording:open_recording",
    "read_comments": "comments.reader:read",
    "save_prediction": "export.saving:save_prediction",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, since torch and others take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kuaihl' has no attribute {name!r}")
    module, attribute = _HOMES[name].split(":")
    return getattr(import_module(f"kuaihl.{module}"), attribute)
