"""KuaiHL: features of past segments in, predicted score of the next one out; loading and saving."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from kuaihl.errors import CheckpointError
from kuaihl.features.bag_of_words import BUCKETS
from kuaihl.features.chat import SPEECH_COLUMNS
from kuaihl.model.config import KuaiHLConfig
from kuaihl.model.decoder import CausalDecoder
from kuaihl.model.hub import CONFIG_FILE, MODEL_FILE, fetch
from kuaihl.model.inputs import TOKENS, ModelInputs
from kuaihl.model.perceiver import Perceiver
from kuaihl.progress import SILENT, Progress

_MAX_CONFIG_BYTES = 64 * 2**20
_STEP = 16
"""Segments, or windows, that a sweep takes at once."""
_PROGRESS_STEP = 4 * _STEP
"""Segments between two reports of progress."""
WORD_DIM = 16
"""Width of a word: narrow, since there are many words and few segments to learn each from."""
WORD_DROPOUT = 0.5


@dataclass(frozen=True, slots=True)
class Tokens:
    """Projected tokens.

    Attributes
    ----------
    values, mask
        (batch, segments, tokens, dim), and (batch, segments, tokens) bool, True = valid: for the perceiver.
    text, pictures
        (batch, segments, dim) each, for the alignment. ``pictures`` is the mean of the segment's three.
    """

    values: Tensor
    mask: Tensor
    text: Tensor
    pictures: Tensor


@dataclass(frozen=True, slots=True)
class Output:
    """Position i of a window predicts the segment after it.

    Attributes
    ----------
    scores
        (batch, segments), in [0, 1].
    tokens
        What was read.
    """

    scores: Tensor
    tokens: Tokens


class WordBag(nn.EmbeddingBag):
    """A vector for each hashed word. In training, half of the words are dropped."""

    def __init__(self) -> None:
        super().__init__(BUCKETS, WORD_DIM, mode="sum", padding_idx=0)
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, words: Tensor, weights: Tensor) -> Tensor:
        """Sum the vectors of a segment's words, weighted: (batch, segments, 128) twice -> (batch, segments, 16)."""
        weights = nn.functional.dropout(weights.float(), WORD_DROPOUT, self.training)
        vectors = super().forward(words.flatten(0, 1).int(), per_sample_weights=weights.flatten(0, 1))
        return vectors.view(*words.shape[:2], WORD_DIM)


class KuaiHL(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="kuaihl",
    license="apache-2.0",
    pipeline_tag="video-classification",
    tags=["live-streaming", "highlight-detection", "multimodal"],
):
    """Perceiver block over each segment, causal decoder over the window, a sigmoid head for each target (Fig. 2a).

    The ``target`` of a method is its row in the head. What a target may read is decided where the inputs are built:
    see `kuaihl.model.inputs.build_inputs`.
    """

    chat_mean: Tensor
    chat_std: Tensor
    speech_mean: Tensor
    speech_std: Tensor

    def __init__(self, config: KuaiHLConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.project_pictures = _projection(config.picture_dim, dim)
        self.project_text = _projection(config.text_dim, dim)
        self._tokens = tuple(
            replace(token, count=config.picture_tokens) if token.name == "pictures" else token
            for token in TOKENS
            if token.option is None or getattr(config, token.option)
        )
        self.token_kind = nn.Parameter(torch.randn(sum(token.count for token in self._tokens), dim) * 0.02)
        if config.activity:
            self.project_chat = nn.Linear(config.chat_columns, dim)
            self.project_speech = nn.Linear(len(SPEECH_COLUMNS), dim)
            for name, columns in (("chat", config.chat_columns), ("speech", len(SPEECH_COLUMNS))):
                self.register_buffer(f"{name}_mean", torch.zeros(columns))
                self.register_buffer(f"{name}_std", torch.ones(columns))
        if config.words or config.word_shares:
            self.words = WordBag()
        if config.words:
            self.project_words = nn.Linear(WORD_DIM, dim)
        if config.word_shares:
            self.project_shares = nn.Linear(WORD_DIM, dim)
        if config.speech_text:
            self.project_spoken = _projection(config.text_dim, dim)
        self.streamer = nn.Embedding(len(config.streamers) + 1, dim)
        nn.init.normal_(self.streamer.weight, std=0.02)
        self.perceiver = Perceiver(dim=dim, heads=config.heads, layers=config.perceiver_layers, dropout=config.dropout)
        self.decoder = CausalDecoder(
            dim=dim,
            heads=config.heads,
            layers=config.decoder_layers,
            window=config.window,
            dropout=config.dropout,
            recurrent=any(target.name in config.recurrent for target in config.targets),
        )
        self.head = nn.Linear(dim, len(config.targets))

    def tokenize(self, inputs: ModelInputs) -> Tokens:
        """Project the inputs, which may be float16, to tokens."""
        values = {token.name: self._project(token.name, inputs) for token in self._tokens}
        masks = [inputs.mask(token.name).unsqueeze(-1).expand(-1, -1, token.count) for token in self._tokens]
        return Tokens(
            torch.cat([*values.values()], dim=2) + self.token_kind,
            torch.cat(masks, dim=-1),
            text=values["text"].squeeze(2),
            pictures=values["pictures"].mean(2),
        )

    def _project(self, token: str, inputs: ModelInputs) -> Tensor:
        """Project one kind of token: (batch, segments, tokens, dim)."""
        match token:
            case "pictures":
                return self.project_pictures(inputs.pictures.float())
            case "text":
                values = self.project_text(inputs.text.float())
            case "chat_activity":
                activity = inputs.chat_activity[..., : self.config.chat_columns]
                values = self.project_chat((activity - self.chat_mean) / self.chat_std)
            case "speech_activity":
                values = self.project_speech((inputs.speech_activity - self.speech_mean) / self.speech_std)
            case "words":
                values = self.project_words(self.words(inputs.words, inputs.word_counts))
            case "word_shares":
                values = self.project_shares(self.words(inputs.words, inputs.word_shares))
            case "speech_text":
                values = self.project_spoken(inputs.speech_text.float())
            case _:
                raise ValueError(f"unknown token {token!r}")
        return values.unsqueeze(2)

    def perceive(self, tokens: Tokens, streamer: Tensor, *, target: int = 0) -> Tensor:
        """Perceiver block: tokens and (batch,) streamers -> one latent per segment, (batch, segments, dim)."""
        latents = self.streamer(streamer).unsqueeze(1).expand(-1, tokens.values.shape[1], -1)
        if self.config.is_recurrent(target):
            valid = tokens.values * tokens.mask.unsqueeze(-1)
            latents = latents + valid[:, :, self.config.picture_tokens + 1 :].sum(2)  # all but pictures and text
        return self.perceiver(latents, tokens.values, tokens.mask)

    def decode(self, latents: Tensor, *, target: int = 0) -> Tensor:
        """Causal decoder and head: (batch, segments, dim) -> scores of the segment after each, (batch, segments)."""
        return self._score(self.decoder(latents, recurrent=self.config.is_recurrent(target)), target)

    def _score(self, hidden: Tensor, target: int) -> Tensor:
        return self.head(hidden)[..., target].float().sigmoid()  # bf16 is too coarse for ranks

    def forward(self, inputs: ModelInputs, *, target: int = 0) -> Output:
        """Predict from each position of each window. Windows are padded at their end, which no position before sees."""
        tokens = self.tokenize(inputs)
        latents = self.perceive(tokens, inputs.streamer, target=target)
        hidden = self.decoder(latents, recurrent=self.config.is_recurrent(target))
        return Output(self._score(hidden, target), tokens)

    @torch.inference_mode()
    def sweep(self, inputs: ModelInputs, *, target: int = 0, progress: Progress = SILENT) -> Tensor:
        """Predict every segment of a recording of any length, each from the window before it.

        Parameters
        ----------
        inputs
            A batch of 1.

        Returns
        -------
        (segments + 1,) float32 on the CPU: NaN for segment 0, which has no past; the last entry is the prediction for
        the segment to come.
        """
        count = inputs.pictures.shape[1]
        latents, scores = [], [torch.full((1,), torch.nan)]
        for start in range(0, count, _PROGRESS_STEP):
            progress(start / count / 2)
            latents.append(self.encode_segments(inputs.cut(start, start + _PROGRESS_STEP), target=target))
        whole = torch.cat(latents)
        for first in range(1, count + 1, _PROGRESS_STEP):
            progress(0.5 + first / count / 2)
            scores.append(self.predict_next(whole[: first + _PROGRESS_STEP - 1], first=first, target=target))
        return torch.cat(scores)

    @torch.inference_mode()
    def encode_segments(self, inputs: ModelInputs, *, target: int = 0) -> Tensor:
        """Perceiver block over a recording (a batch of 1), a few segments at a time: (segments, dim).

        Every step has the same shape, so that a segment's latent is the same, bit for bit, alone or among others.
        """
        device = self.head.weight.device
        latents = []
        for start in range(0, inputs.pictures.shape[1], _STEP):
            step = inputs.cut(start, start + _STEP).padded(_STEP).to(device)
            latents.append(self.perceive(self.tokenize(step), step.streamer, target=target)[0])
        return torch.cat(latents)[: inputs.pictures.shape[1]]

    @torch.inference_mode()
    def predict_next(self, latents: Tensor, *, first: int, target: int = 0) -> Tensor:
        """Predict segments ``first`` to n from the windows of the n latents (n, dim) before them: float32 on the CPU.

        Windows are padded at their end, and steps to the same shape: see `encode_segments`.
        """
        window = self.config.window
        ends = torch.arange(first, len(latents) + 1, device=latents.device)
        starts = (ends - window).clamp(min=0)
        places = starts[:, None] + torch.arange(window, device=latents.device)
        scores = []
        for start in range(0, len(ends), _STEP):
            step = slice(start, start + _STEP)
            mask = places[step] < ends[step, None]
            windows = latents[places[step].clamp(max=len(latents) - 1)] * mask[..., None]
            decoded = self.decode(nn.functional.pad(windows, (0, 0, 0, 0, 0, _STEP - len(windows))), target=target)
            lasts = (ends - starts)[step] - 1
            scores.append(decoded[torch.arange(len(lasts), device=decoded.device), lasts].cpu())
        return torch.cat(scores)

    def streamer_index(self, name: str | None) -> int:
        """Return the row of a streamer in the embedding; 0, the unknown one, for a name not in the checkpoint."""
        return self.config.streamers.index(name) + 1 if name in self.config.streamers else 0

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, revision: str | None = None, config: KuaiHLConfig, **_: Any
    ) -> "KuaiHL":
        """Load strictly and from safetensors only. The mix-in's own way is lax and falls back to pickle."""
        file = fetch(model_id, revision=revision) / MODEL_FILE
        with torch.device("meta"):  # allocates nothing
            expected = {name: list(value.shape) for name, value in cls(config).state_dict().items()}
        try:
            with safe_open(file, framework="pt") as stored:
                shapes = {name: list(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118 - not a dict
            if different := sorted(n for n in {*shapes, *expected} if shapes.get(n) != expected.get(n)):
                raise RuntimeError(f"{len(different)} weights are missing or of another size, as {different[0]}")
            model = cls(config)
            model.load_state_dict(load_file(file))
        except (SafetensorError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"{file} does not hold the weights that {CONFIG_FILE} describes: {reason}") from error
        return model.eval()


def load(path_or_repo: str | Path, *, revision: str | None = None) -> tuple[KuaiHL, Path]:
    """Load a model in evaluation mode, on the CPU; return it and the folder it came from.

    Raises
    ------
    CheckpointError
        There is no checkpoint, or it is damaged. Nothing is ever unpickled.
    """
    folder = fetch(path_or_repo, revision=revision)
    try:
        if (folder / CONFIG_FILE).stat().st_size > _MAX_CONFIG_BYTES:
            raise ValueError(f"it is larger than {_MAX_CONFIG_BYTES >> 20} MB")
        KuaiHLConfig(**json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))).check_encoder_names()
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / CONFIG_FILE} does not describe a KuaiHL model: {error}") from error
    return KuaiHL.from_pretrained(folder), folder


def sha256_of(folder: Path) -> str:
    """Return the SHA-256 of a checkpoint's model file, in hexadecimal: it names the weights, whatever the folder."""
    return hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()


def _projection(features: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(features), nn.Linear(features, dim))
