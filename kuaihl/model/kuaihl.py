"""KuaiHL: features of the past segments in, predicted LVTR of the next one out; loading, saving."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from kuaihl.errors import CheckpointError
from kuaihl.features.bag_of_words import BUCKETS
from kuaihl.features.chat import CHAT_COLUMNS, SPEECH_COLUMNS
from kuaihl.model.config import KuaiHLConfig
from kuaihl.model.decoder import CausalDecoder
from kuaihl.model.hub import CONFIG_FILE, MODEL_FILE, fetch
from kuaihl.model.inputs import PICTURES, ModelInputs
from kuaihl.model.perceiver import Perceiver
from kuaihl.progress import SILENT, Progress

_STEP = 16
"""Segments, or windows, that a sweep takes at once."""
_PROGRESS_STEP = 4 * _STEP
"""Segments between two reports of progress."""
WORD_DIM = 16
"""Width of a word: narrow, since there are many words and few segments to learn each from."""
WORD_DROPOUT = 0.5


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
    """Position i of a window predicts the segment after it: ``scores`` (batch, segments), in [0, 1], and its tokens.

    ``gathered`` and ``decoded`` (batch, segments, dim) come out of the two blocks.
    """

    scores: Tensor
    tokens: Tokens
    gathered: Tensor
    decoded: Tensor


class WordBag(nn.EmbeddingBag):
    """A vector for each hashed word; in training, half of the words are dropped."""

    def __init__(self) -> None:
        super().__init__(BUCKETS, WORD_DIM, mode="sum", padding_idx=0)
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, words: Tensor, weights: Tensor) -> Tensor:
        """Sum the vectors of a segment's words, weighted: (batch, segments, 128) twice -> (batch, segments, 16)."""
        kept = nn.functional.dropout(weights.float(), WORD_DROPOUT, self.training)
        found = super().forward(words.flatten(0, 1).int(), per_sample_weights=kept.flatten(0, 1))
        return found.view(*words.shape[:2], WORD_DIM)


class KuaiHL(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="kuaihl",
    license="apache-2.0",
    pipeline_tag="video-classification",
    tags=["live-streaming", "highlight-detection", "multimodal"],
):
    """Perceiver block over each segment, causal decoder over the window, a sigmoid head for each target (Fig. 2a).

    Where a method takes a ``target``, that is its row in the head, and what this target never saw is masked.
    """

    def __init__(self, config: KuaiHLConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.project_pictures = _projection(config.picture_dim, dim)
        self.project_text = _projection(config.text_dim, dim)
        kinds = PICTURES + 1 + (2 if config.activity else 0) + config.words + config.word_shares + config.speech_text
        self.token_kind = nn.Parameter(torch.randn(kinds, dim) * 0.02)
        if config.activity:
            self.project_chat = nn.Linear(len(CHAT_COLUMNS), dim)
            self.project_speech = nn.Linear(len(SPEECH_COLUMNS), dim)
            for name, columns in (("chat", CHAT_COLUMNS), ("speech", SPEECH_COLUMNS)):
                self.register_buffer(f"{name}_mean", torch.zeros(len(columns)))
                self.register_buffer(f"{name}_std", torch.ones(len(columns)))
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
        sizes = {"dim": dim, "heads": config.heads, "dropout": config.dropout}
        self.perceiver = Perceiver(layers=config.perceiver_layers, **sizes)
        recurrent = any(target.name in config.recurrent for target in config.targets)
        self.decoder = CausalDecoder(layers=config.decoder_layers, window=config.window, recurrent=recurrent, **sizes)
        self.head = nn.Linear(dim, len(config.targets))

    def tokens(self, features: ModelInputs, *, target: int = 0) -> Tokens:
        """Project the features, which may be float16, to tokens and say which are present."""
        pictures = self.project_pictures(features.pictures.float())
        unseen = self.config.targets[target].excluded_inputs
        text = self.project_text(features.text.float() * ("text" not in unseen))
        has_pictures, has_speech, has_comments = (
            getattr(features, f"has_{source}") & (source not in unseen) for source in ("pictures", "speech", "comments")
        )
        present = [has_pictures] * PICTURES + [has_speech | has_comments]
        parts = [pictures, text.unsqueeze(2)]
        if self.config.activity:
            chat = self.project_chat((features.chat - self.chat_mean) / self.chat_std)
            speech = self.project_speech((features.speech - self.speech_mean) / self.speech_std)
            parts += [chat.unsqueeze(2), speech.unsqueeze(2)]
            present += [has_comments, has_speech]
        written = has_comments & ("words" not in unseen)
        if self.config.words:
            parts.append(self.project_words(self.words(features.words, features.counts)).unsqueeze(2))
            present.append(written)
        if self.config.word_shares:
            parts.append(self.project_shares(self.words(features.words, features.shares)).unsqueeze(2))
            present.append(written)
        if self.config.speech_text:
            parts.append(self.project_spoken(features.spoken.float()).unsqueeze(2))
            present.append(has_speech & ("text" not in unseen))
        tokens = torch.cat(parts, dim=2) + self.token_kind
        return Tokens(tokens, torch.stack(present, dim=-1), text, pictures.mean(2))

    def gather(self, tokens: Tokens, streamer: Tensor, *, target: int = 0) -> Tensor:
        """Perceiver block: one vector a segment, (batch, segments, dim)."""
        latent = self.streamer(streamer).unsqueeze(1).expand(-1, tokens.tokens.shape[1], -1)
        if self.config.is_recurrent(target):
            latent = latent + (tokens.tokens * tokens.present.unsqueeze(-1))[:, :, PICTURES + 1 :].sum(2)
        return self.perceiver(latent, tokens.tokens, tokens.present)

    def decode(self, gathered: Tensor, *, target: int = 0) -> Tensor:
        """Causal decoder and head: (batch, segments, dim) -> LVTR of the segment after each, (batch, segments)."""
        return self._score(self.decoder(gathered, recurrent=self.config.is_recurrent(target)), target)

    def _score(self, decoded: Tensor, target: int) -> Tensor:
        return self.head(decoded)[..., target].float().sigmoid()  # bf16 is too coarse for ranks

    def forward(self, features: ModelInputs, *, target: int = 0) -> Output:
        """Predict from each position of each window; windows are padded at their end, which no position before sees."""
        tokens = self.tokens(features, target=target)
        gathered = self.gather(tokens, features.streamer, target=target)
        decoded = self.decoder(gathered, recurrent=self.config.is_recurrent(target))
        return Output(self._score(decoded, target), tokens, gathered, decoded)

    @torch.inference_mode()
    def sweep(self, features: ModelInputs, *, target: int = 0, progress: Progress = SILENT) -> Tensor:
        """Predict every segment of a recording of any length, each from the window before it.

        Parameters
        ----------
        features
            With a batch of 1.
        progress
            Reports the fraction that is done.

        Returns
        -------
        (segments + 1,) float32 on the CPU: NaN for segment 0, which has no past; the last entry is the prediction for
        the segment to come.
        """
        count = features.pictures.shape[1]
        vectors, scores = [], [torch.full((1,), torch.nan)]
        for start in range(0, count, _PROGRESS_STEP):
            progress(start / count / 2)
            vectors.append(self.gather_all(features.cut(start, start + _PROGRESS_STEP), target=target))
        whole = torch.cat(vectors)
        for first in range(1, count + 1, _PROGRESS_STEP):
            progress(0.5 + first / count / 2)
            scores.append(self.predict_after(whole[: first + _PROGRESS_STEP - 1], first=first, target=target))
        return torch.cat(scores)

    @torch.inference_mode()
    def gather_all(self, features: ModelInputs, *, target: int = 0) -> Tensor:
        """Perceiver block over a recording (a batch of 1), a few segments at a time: (segments, dim).

        Every step has the same shape, so that a segment's vector is the same, bit for bit, alone or among others.
        """
        device = self.head.weight.device
        parts = []
        for start in range(0, features.pictures.shape[1], _STEP):
            part = features.cut(start, start + _STEP).padded(_STEP).to(device)
            parts.append(self.gather(self.tokens(part, target=target), part.streamer, target=target)[0])
        return torch.cat(parts)[: features.pictures.shape[1]]

    @torch.inference_mode()
    def predict_after(self, gathered: Tensor, *, first: int, target: int = 0) -> Tensor:
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
            lvtr = self.decode(nn.functional.pad(windows, (0, 0, 0, 0, 0, _STEP - len(windows))), target=target)
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
