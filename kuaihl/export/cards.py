"""Cards: what is known of each highlight in words, for the page, the report and the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from kuaihl.evidence import gather
from kuaihl.export.chapters import speech_in
from kuaihl.features.embeddings import Embeddings
from kuaihl.lexicon import Lexicon
from kuaihl.records import Highlight, Prediction

_TOP_WORDS = 4


@dataclass(frozen=True, slots=True)
class Card:
    """A highlight in words.

    Attributes
    ----------
    words
        Words and emotes that many chatters wrote, each with the number of its chatters.
    speech
        What was said.
    """

    highlight: Highlight
    words: tuple[tuple[str, int], ...]
    speech: str

    @property
    def why(self) -> str:
        """Why the moment was chosen, in one line."""
        return self.highlight.why


def cards_of(prediction: Prediction, embeddings: Embeddings | None = None) -> list[Card]:
    """Return a card for each highlight.

    Parameters
    ----------
    embeddings
        What the prediction was made from. Without it there are no words, and the speech is that of whole segments.
    """
    lexicon = Lexicon.read() if embeddings and embeddings.comments is not None else None
    comments = [c for written in (embeddings and embeddings.comments) or () for c in written]
    cards = []
    for highlight in prediction.highlights:
        words: Sequence[tuple[str, int]] = ()
        if lexicon:
            evidence = gather(comments, highlight.start_s, highlight.end_s, lexicon=lexicon)
            words = sorted((*evidence.emotes, *evidence.words), key=lambda word: -word[1])[:_TOP_WORDS]
        if embeddings and embeddings.speech is not None and prediction.modalities.speech:
            inside = (u for said in embeddings.speech for u in said)
            speech = " ".join(u.text for u in inside if u.start_s < highlight.end_s and u.end_s > highlight.start_s)
        else:
            speech = speech_in(prediction, highlight)
        cards.append(Card(highlight, tuple(words), speech))
    return cards
