"""What a checkpoint is: the sizes of the model, the encoders whose features it reads, and what it predicts."""

from dataclasses import dataclass

from kuaihl.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Target:
    """What one head predicts.

    Attributes
    ----------
    name
        ``"lvtr"``, ``"participation"``, ...
    trained_on
        One sentence for people: what the head learned from.
    excluded_inputs
        What it was trained without, and never sees: of "pictures", "speech", "comments", "streamer", "text", "words".
        Without text it sees of speech only how much there is, and of comments that and single words.
    streamers
        Who was in what it learned from; all whom the model knows where it is None.
    """

    name: str = "lvtr"
    trained_on: str = "nothing: random weights"
    excluded_inputs: tuple[str, ...] = ()
    streamers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "excluded_inputs", tuple(self.excluded_inputs))  # a list, where it comes from JSON
        object.__setattr__(self, "streamers", None if self.streamers is None else tuple(self.streamers))


@dataclass(frozen=True, slots=True)
class KuaiHLConfig:
    """What a checkpoint is: sizes, the encoders whose features it reads, and what it predicts.

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
    activity, words, word_shares, speech_text
        Whether the two activity tokens, the token of how often the comments hold each word, that of the share of the
        comments that do, and that of the speech alone are used; the paper does not have them. Speech is in the text as
        well, where comments drown it.
    recurrent
        Targets for which a recurrent layer comes before the decoder's attention, and each segment's latent starts from
        its tokens that the paper does not have, for that layer to smooth, and not from the streamer alone; nor has the
        paper this.
    visual_encoder, picture_dim, text_encoder, text_dim, speech_model
        Names of the encoders (see `kuaihl.features.pretrained`) and the sizes of their features.
    streamers
        Names known from training; row i + 1 of the embedding is streamers[i], row 0 the unknown streamer.
    targets
        What is predicted, by a head each: row i of the head is targets[i], and the first is meant where none is named.
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
    recurrent: tuple[str, ...] = ()
    visual_encoder: str = "swin_compact_128"
    picture_dim: int = 256
    text_encoder: str = "sentence-transformers/all-MiniLM-L6-v2"
    text_dim: int = 384
    speech_model: str = "tiny.en"
    streamers: tuple[str, ...] = ()
    targets: tuple[Target, ...] = (Target(),)

    def __post_init__(self) -> None:
        object.__setattr__(self, "streamers", tuple(self.streamers))  # a list, where it comes from JSON
        object.__setattr__(self, "recurrent", tuple(self.recurrent))
        targets = (target if isinstance(target, Target) else Target(**target) for target in self.targets)
        object.__setattr__(self, "targets", tuple(targets))
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be a multiple of heads {self.heads}")
        if not self.targets:
            raise ValueError("a model needs a target to predict")

    def is_recurrent(self, target: int) -> bool:
        """Whether the target in this row of the head has the recurrent layer."""
        return self.targets[target].name in self.recurrent

    def target_index(self, name: str | None = None) -> int:
        """Row of a target in the head, of the first if no name is given; CheckpointError where it is not predicted."""
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
"""The compact model that is shipped, the paper's encoders, and a tiny one for tests."""
