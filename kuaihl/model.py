"""KuaiHL: features of the past segments in, predicted LVTR of the next one out; configuration, loading, saving."""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from kuaihl.activity import CHAT_COLUMNS, SPEECH_COLUMNS
from kuaihl.decoder import CausalDecoder
from kuaihl.errors import CheckpointError
from kuaihl.hub import CONFIG_FILE, MODEL_FILE, fetch
from kuaihl.perceiver import Perceiver

PICTURES = 3
_STEP = 16
"""Segments, or windows, that a sweep takes at once."""


@dataclass(frozen=True, slots=True)
class KuaiHLConfig:
    """What a checkpoint is: sizes, the encoders whose features it reads, and what it learned from.

    Attributes
    ----------
    dim, heads
        Width of every token and attention heads.
    perceiver_layers, decoder_layers
        Depths of the two blocks.
    window
        n: how many segments a prediction looks back on; the paper's 20 are ten minutes.
    dropout
        In training only.
    activity
        Whether the two activity tokens, which the paper does not have, are used.
    without
        Which of "pictures", "speech", "comments" and "streamer" the model was trained without: it never sees them.
    visual_encoder, picture_dim, text_encoder, text_dim, speech_model
        Names of the encoders (see `kuaihl.weights`) and the sizes of their features.
    streamers
        Names known from training; row i + 1 of the embedding is streamers[i], row 0 the unknown streamer.
    target
        What is predicted: ``"lvtr"``.
    trained_on
        One sentence for people: what the weights learned from.
    """

    dim: int = 128
    heads: int = 4
    perceiver_layers: int = 2
    decoder_layers: int = 2
    window: int = 20
    dropout: float = 0.1
    activity: bool = True
    without: tuple[str, ...] = ()
    visual_encoder: str = "swin_compact_128"
    picture_dim: int = 256
    text_encoder: str = "sentence-transformers/all-MiniLM-L6-v2"
    text_dim: int = 384
    speech_model: str = "tiny.en"
    streamers: tuple[str, ...] = ()
    target: str = "lvtr"
    trained_on: str = "nothing: random weights"

    def __post_init__(self) -> None:
        for name in ("without", "streamers"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # a list, where it comes from JSON
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be a multiple of heads {self.heads}")


PRESETS = {
    "compact": KuaiHLConfig(),
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
    "debug": KuaiHLConfig(dim=16, heads=2, perceiver_layers=1, decoder_layers=1, window=5, picture_dim=8, text_dim=8),
}
"""The compact model that is shipped, the paper's encoders, and a tiny one for tests."""


@dataclass(frozen=True, slots=True)
class Features:
    """What the encoders say about segments, with which sources there were at all.

    Attributes
    ----------
    pictures
        (batch, segments, 3, picture_dim)
    text
        (batch, segments, text_dim): of speech and comments, or of the one that is there.
    chat, speech
        (batch, segments, 15) and (batch, segments, 2): activity, unscaled.
    has_pictures, has_speech, has_comments
        (batch, segments) bool: False where there is no such source; silence is a source.
    streamer
        (batch,) int64; 0 is the unknown streamer.
    """

    pictures: Tensor
    text: Tensor
    chat: Tensor
    speech: Tensor
    has_pictures: Tensor
    has_speech: Tensor
    has_comments: Tensor
    streamer: Tensor

    def to(self, device: torch.device | str) -> "Features":
        """Move every tensor."""
        return Features(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def cut(self, start: int, stop: int) -> "Features":
        """Keep segments ``start`` to ``stop`` (exclusive)."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Features(**{k: v if k == "streamer" else v[:, start:stop] for k, v in values.items()})


@dataclass(frozen=True, slots=True)
class Tokens:
    """Projected tokens: ``tokens`` and ``present`` feed the perceiver, ``text`` and ``pictures`` the alignment.

    ``tokens`` (batch, segments, tokens, dim), ``present`` (batch, segments, tokens) bool, ``text`` and ``pictures``
    (batch, segments, dim); ``pictures`` is the mean of the segment's three.
    """

    tokens: Tensor
    present: Tensor
    text: Tensor
    pictures: Tensor


@dataclass(frozen=True, slots=True)
class Output:
    """Position i of a window predicts the segment after it: ``lvtr`` (batch, segments), in [0, 1], and its tokens."""

    lvtr: Tensor
    tokens: Tokens


class KuaiHL(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="kuaihl",
    license="apache-2.0",
    pipeline_tag="video-classification",
    tags=["live-streaming", "highlight-detection", "multimodal"],
):
    """Perceiver block over each segment, causal decoder over the window, a sigmoid head (Fig. 2a)."""

    def __init__(self, config: KuaiHLConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.project_pictures = _projection(config.picture_dim, dim)
        self.project_text = _projection(config.text_dim, dim)
        kinds = PICTURES + 1 + (2 if config.activity else 0)
        self.token_kind = nn.Parameter(torch.randn(kinds, dim) * 0.02)
        if config.activity:
            self.project_chat = nn.Linear(len(CHAT_COLUMNS), dim)
            self.project_speech = nn.Linear(len(SPEECH_COLUMNS), dim)
            for name, columns in (("chat", CHAT_COLUMNS), ("speech", SPEECH_COLUMNS)):
                self.register_buffer(f"{name}_mean", torch.zeros(len(columns)))
                self.register_buffer(f"{name}_std", torch.ones(len(columns)))
        self.streamer = nn.Embedding(len(config.streamers) + 1, dim)
        nn.init.normal_(self.streamer.weight, std=0.02)
        self.perceiver = Perceiver(dim=dim, heads=config.heads, layers=config.perceiver_layers, dropout=config.dropout)
        self.decoder = CausalDecoder(
            dim=dim, heads=config.heads, layers=config.decoder_layers, window=config.window, dropout=config.dropout
        )
        self.head = nn.Linear(dim, 1)

    def tokens(self, features: Features) -> Tokens:
        """Project the features, which may be float16, to tokens and say which are present."""
        pictures = self.project_pictures(features.pictures.float())
        text = self.project_text(features.text.float())
        has_pictures, has_speech, has_comments = (
            torch.zeros_like(flags) if source in self.config.without else flags
            for source, flags in (
                ("pictures", features.has_pictures),
                ("speech", features.has_speech),
                ("comments", features.has_comments),
            )
        )
        present = [has_pictures] * PICTURES + [has_speech | has_comments]
        parts = [pictures, text.unsqueeze(2)]
        if self.config.activity:
            chat = self.project_chat((features.chat - self.chat_mean) / self.chat_std)
            speech = self.project_speech((features.speech - self.speech_mean) / self.speech_std)
            parts += [chat.unsqueeze(2), speech.unsqueeze(2)]
            present += [has_comments, has_speech]
        tokens = torch.cat(parts, dim=2) + self.token_kind
        return Tokens(tokens, torch.stack(present, dim=-1), text, pictures.mean(2))

    def gather(self, tokens: Tokens, streamer: Tensor) -> Tensor:
        """Perceiver block: one vector a segment, (batch, segments, dim)."""
        latent = self.streamer(streamer).unsqueeze(1).expand(-1, tokens.tokens.shape[1], -1)
        return self.perceiver(latent, tokens.tokens, tokens.present)

    def decode(self, gathered: Tensor) -> Tensor:
        """Causal decoder and head: (batch, segments, dim) -> LVTR of the segment after each, (batch, segments)."""
        return self.head(self.decoder(gathered)).squeeze(-1).float().sigmoid()  # bf16 is too coarse for ranks

    def forward(self, features: Features) -> Output:
        """Predict from each position of each window; windows are padded at their end, which no position before sees."""
        tokens = self.tokens(features)
        return Output(self.decode(self.gather(tokens, features.streamer)), tokens)

    @torch.inference_mode()
    def sweep(self, features: Features) -> Tensor:
        """Predict every segment of one recording of any length, each from the window before it.

        Parameters
        ----------
        features
            With a batch of 1.

        Returns
        -------
        (segments + 1,) float32 on the CPU: NaN for segment 0, which has no past; the last entry is the forecast of
        the segment to come.
        """
        gathered = self.gather_all(features)
        return torch.cat([torch.full((1,), torch.nan), self.predict_after(gathered, first=1)])

    @torch.inference_mode()
    def gather_all(self, features: Features) -> Tensor:
        """Perceiver block over a recording (a batch of 1), a few segments at a time: (segments, dim).

        Every step has the same shape, so that a segment's vector is the same, bit for bit, alone or among others.
        """
        device = self.head.weight.device
        parts = []
        for start in range(0, features.pictures.shape[1], _STEP):
            part = _step(features, start).to(device)
            parts.append(self.gather(self.tokens(part), part.streamer)[0])
        return torch.cat(parts)[: features.pictures.shape[1]]

    @torch.inference_mode()
    def predict_after(self, gathered: Tensor, *, first: int) -> Tensor:
        """Predict segments ``first`` .. segments from the windows of (segments, dim) before them: float32 on the CPU.

        Windows are padded at their end, and steps to the same shape: see `gather_all`.
        """
        window = self.config.window
        ends = torch.arange(first, len(gathered) + 1, device=gathered.device)
        starts = (ends - window).clamp(min=0)
        places = starts[:, None] + torch.arange(window, device=gathered.device)
        found = []
        for start in range(0, len(ends), _STEP):
            inside = places[start : start + _STEP] < ends[start : start + _STEP, None]
            windows = gathered[places[start : start + _STEP].clamp(max=len(gathered) - 1)] * inside[..., None]
            lvtr = self.decode(nn.functional.pad(windows, (0, 0, 0, 0, 0, _STEP - len(windows))))
            lasts = (ends - starts)[start : start + _STEP] - 1
            found.append(lvtr[torch.arange(len(lasts), device=lvtr.device), lasts].cpu())
        return torch.cat(found)

    def streamer_index(self, name: str | None) -> int:
        """Row of a streamer in the embedding; 0, the unknown one, for a name that is not in the checkpoint."""
        return self.config.streamers.index(name) + 1 if name in self.config.streamers else 0

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, revision: str | None = None, config: KuaiHLConfig, **_: Any
    ) -> "KuaiHL":
        """Load strictly and from safetensors only; the mix-in's own way is lax and falls back to pickle."""
        file = fetch(model_id, revision=revision) / MODEL_FILE
        model = cls(config)
        try:
            model.load_state_dict(load_file(file))
        except (SafetensorError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"{file} does not hold the weights that {CONFIG_FILE} describes: {reason}") from error
        return model.eval()


def load(path_or_repo: str | Path, *, revision: str | None = None) -> tuple[KuaiHL, Path]:
    """Model in evaluation mode, on the CPU, and the folder it came from.

    Raises
    ------
    CheckpointError
        Where there is no checkpoint, or a damaged one. Nothing is ever unpickled.
    """
    folder = fetch(path_or_repo, revision=revision)
    try:
        KuaiHLConfig(**json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / CONFIG_FILE} does not describe a KuaiHL model: {error}") from error
    return KuaiHL.from_pretrained(folder), folder


def sha256_of(folder: Path) -> str:
    """SHA-256 of a checkpoint's model file, in hexadecimal: names the weights whatever their folder is called."""
    return hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()


def _projection(features: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(features), nn.Linear(features, dim))


def _step(features: Features, start: int) -> Features:
    """``_STEP`` segments from ``start`` on, of a batch of one; past the end, zeros that count as absent."""

    def padded(value: Tensor) -> Tensor:
        return torch.cat([value, value.new_zeros(1, _STEP - value.shape[1], *value.shape[2:])], dim=1)

    part = features.cut(start, start + _STEP)
    values = {f.name: getattr(part, f.name) for f in fields(part)}
    return Features(**{k: v if k == "streamer" else padded(v) for k, v in values.items()})
