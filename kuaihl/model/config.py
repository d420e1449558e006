"""What a checkpoint is: the sizes of the model, the encoders whose features it reads, and what it predicts."""

import re
from dataclasses import dataclass

from kuaihl.errors import CheckpointError
from kuaihl.features.chat import CHAT_COLUMNS
from kuaihl.records import PICTURES_PER_SEGMENT

EXCLUDABLE = ("pictures", "speech", "comments", "text", "words", "activity", "streamer")
"""Inputs that can be hidden from a target.

Without "text" it reads how much is said and written, and single words of the comments, but no encoded text.
"""

_RANGES = {
    "dim": (1, 4096),
    "heads": (1, 256),
    "perceiver_layers": (0, 64),
    "decoder_layers": (0, 64),
    "window": (1, 2048),
    "chat_columns": (1, len(CHAT_COLUMNS)),
    "picture_dim": (1, 16_384),
    "picture_tokens": (1, 64),
    "text_dim": (1, 16_384),
}
_FLAGS = ("activity", "words", "word_shares", "speech_text")
_MAX_STREAMERS, _MAX_TARGETS = 1_000_000, 100
_ENCODERS = {
    "visual_encoder": re.compile(r"[A-Za-z0-9]\w*(?:\.\w+)?"),
    "text_encoder": re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?"),
    "speech_model": re.compile(r"(?:tiny|base|small|medium)(?:\.en)?|large(?:-v[123])?(?:-turbo)?|turbo"),
}
"""Names of encoders that a checkpoint may ask for: those of timm, the Hub and Whisper, but no files."""
_FILE = re.compile(r"\.\.|\.(?:safetensors|bin|pt|pth|ckpt|onnx)$", re.IGNORECASE)


def _all_text(values: object) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)


@dataclass(frozen=True, slots=True)
class Target:
    """What one head predicts.

    Attributes
    ----------
    name
        ``"lvtr"``, ``"participation"``, ...
    trained_on
        One sentence for people: what the head was trained on.
    excluded_inputs
        What it never reads, of `EXCLUDABLE`.
    streamers
        The streamers in its training data; None for all that the model knows.
    """

    name: str = "lvtr"
    trained_on: str = "nothing: random weights"
    excluded_inputs: tuple[str, ...] = ()
    streamers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not _all_text((self.name, self.trained_on)):
            raise ValueError("the name of a target, and what it was trained on, must be text")
        if not _all_text(self.excluded_inputs) or not _all_text(self.streamers or ()):
            raise ValueError("excluded_inputs and streamers of a target must be lists of text")
        object.__setattr__(self, "excluded_inputs", tuple(self.excluded_inputs))  # a list if it comes from JSON
        object.__setattr__(self, "streamers", None if self.streamers is None else tuple(self.streamers))
        if unknown := set(self.excluded_inputs) - set(EXCLUDABLE):
            raise ValueError(f"excluded_inputs must be of {', '.join(EXCLUDABLE)}, not {', '.join(sorted(unknown))}")


@dataclass(frozen=True, slots=True)
class KuaiHLConfig:
    """What a checkpoint is: sizes, the encoders whose features it reads, and what it predicts.

    Attributes
    ----------
    dim, heads
        Width of every token, and attention heads.
    perceiver_layers, decoder_layers
        Depths of the two blocks.
    window
        n: how many segments a prediction looks back on. The paper's 20 are ten minutes.
    dropout
        In training only.
    activity, words, word_shares, speech_text
        Whether the model has these tokens, which the paper does not: two of how much is written and said, one of how
        many comments have each word, one of which share of the comments have it, and one of the speech alone, which
        many comments drown in the text of both.
    chat_columns
        How many of the first `CHAT_COLUMNS` the token of chat activity holds.
    recurrent
        Names of the targets that have a recurrent layer before the decoder's attention. For them, each segment's latent
        starts from the sum of its streamer and the tokens that the paper does not have. The paper has neither.
    picture_tokens
        Picture tokens of a segment.
    visual_encoder, picture_dim, text_encoder, text_dim, speech_model
        Names of the encoders (see `kuaihl.features.pretrained`) and the sizes of their features.
    streamers
        Names known from training. Row i + 1 of the embedding is streamers[i], row 0 the unknown streamer.
    targets
        What is predicted. Row i of the head predicts targets[i]; the first is the default.
    """

    dim: int = 128
    heads: int = 4
    perceiver_layers: int = 2
    decoder_layers: int = 2
    window: int = 20
    dropout: float = 0.1
    activity: bool = True
    words: bool = False
    word_shares: bool = False
    speech_text: bool = False
    chat_columns: int = len(CHAT_COLUMNS)
    recurrent: tuple[str, ...] = ()
    visual_encoder: str = "swin_compact_128"
    picture_dim: int = 256
    picture_tokens: int = PICTURES_PER_SEGMENT
    text_encoder: str = "sentence-transformers/all-MiniLM-L6-v2"
    text_dim: int = 384
    speech_model: str = "tiny.en"
    streamers: tuple[str, ...] = ()
    targets: tuple[Target, ...] = (Target(),)

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value!r:.60}")
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {self.dropout!r:.60}")
        if not all(isinstance(getattr(self, name), bool) for name in _FLAGS):
            raise ValueError(f"{', '.join(_FLAGS)} must be true or false")
        if not all(isinstance(getattr(self, name), str) for name in _ENCODERS):
            raise ValueError(f"{', '.join(_ENCODERS)} must be text")
        if not _all_text(self.streamers) or not _all_text(self.recurrent):
            raise ValueError("streamers and recurrent must be lists of text")
        if len(self.streamers) > _MAX_STREAMERS or len(self.targets) > _MAX_TARGETS:
            raise ValueError(f"at most {_MAX_STREAMERS:,} streamers and {_MAX_TARGETS} targets are possible")
        object.__setattr__(self, "streamers", tuple(self.streamers))  # a list if it comes from JSON
        object.__setattr__(self, "recurrent", tuple(self.recurrent))
        targets = (target if isinstance(target, Target) else Target(**target) for target in self.targets)
        object.__setattr__(self, "targets", tuple(targets))
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be a multiple of heads {self.heads}")
        if not self.targets:
            raise ValueError("a model needs a target to predict")

    def check_encoder_names(self) -> None:
        """Check that the encoders are named as in timm, on the Hub and by Whisper; ValueError for paths of files."""
        for field, form in _ENCODERS.items():
            name = getattr(self, field)
            if not form.fullmatch(name) or _FILE.search(name):
                raise ValueError(f"{field} {name!r:.80} is not the name of a published model")

    def is_recurrent(self, target: int) -> bool:
        """Return whether the target in this row of the head has the recurrent layer."""
        return self.targets[target].name in self.recurrent

    def target_index(self, name: str | None = None) -> int:
        """Return the row of a target in the head, 0 without a name; CheckpointError if it is not predicted."""
        names = [target.name for target in self.targets]
        if name is not None and name not in names:
            raise CheckpointError(f"The checkpoint does not predict {name!r}: it predicts {', '.join(names)}.")
        return 0 if name is None else names.index(name)


PRESETS = {
    "compact": KuaiHLConfig(words=True, word_shares=True, speech_text=True, recurrent=("lvtr", "participation")),
    "paper": KuaiHLConfig(
        dim=256,
        heads=8,
        perceiver_layers=4,
        decoder_layers=4,
        activity=False,
        visual_encoder="swin_tiny_patch4_window7_224",
        picture_dim=768,
        text_encoder="google-bert/bert-base-uncased",
        text_dim=768,
    ),
    "debug": KuaiHLConfig(
        dim=16,
        heads=2,
        perceiver_layers=1,
        decoder_layers=1,
        window=5,
        words=True,
        word_shares=True,
        speech_text=True,
        recurrent=("lvtr",),
        picture_dim=8,
        text_dim=8,
    ),
}
"""The compact model that is shipped, one with the paper's encoders, and a tiny one for tests."""
