"""Model inputs: what is missing or excluded is masked, and text is of what remains."""

from collections import Counter

import numpy as np
import pytest
import torch

from kuaihl.features.embeddings import SOURCES, SegmentFeatures
from kuaihl.model.config import EXCLUDABLE, PRESETS
from kuaihl.model.inputs import TOKENS, ModelInputs, build_inputs
from kuaihl.records import Comment
from tests.fixtures.made_embeddings import changed, encoded

CONFIG = PRESETS["debug"]
WHOLE = encoded(CONFIG, 4)
MASKED = {
    "pictures": {"pictures"},
    "speech": {"speech_activity", "speech_text"},
    "comments": {"chat_activity", "words", "word_shares"},
    "text": {"speech_text"},
    "words": {"words", "word_shares"},
    "activity": {"chat_activity", "speech_activity"},
    "streamer": set(),
}


def inputs(*features: SegmentFeatures, excluded: tuple[str, ...] = (), **options: int) -> ModelInputs:
    return build_inputs(
        features,
        picture_dim=CONFIG.picture_dim,
        text_dim=CONFIG.text_dim,
        streamers=[3] * len(features),
        excluded=[excluded] * len(features),
        **options,
    )


@pytest.mark.parametrize("name", EXCLUDABLE)
def test_what_is_excluded_is_masked(name: str) -> None:
    whole, found = inputs(WHOLE.features), inputs(WHOLE.features, excluded=(name,))
    assert whole.token_mask.all()
    assert {token.name for token in TOKENS if not found.mask(token.name).any()} == MASKED[name]
    assert all(found.mask(token.name).all() for token in TOKENS if token.name not in MASKED[name])
    assert found.streamer.tolist() == [0 if name == "streamer" else 3]


@pytest.mark.parametrize("source", SOURCES)
def test_an_excluded_source_is_as_if_it_were_missing(source: str) -> None:
    excluded, missing = inputs(WHOLE.features, excluded=(source,)), inputs(changed(WHOLE, **{source: None}).features)
    assert torch.equal(excluded.token_mask, missing.token_mask)
    for token in ("pictures", "text", "speech_text"):
        assert torch.equal(getattr(excluded, token)[excluded.mask(token)], getattr(missing, token)[missing.mask(token)])


def test_text_is_of_the_sources_that_remain() -> None:
    text = WHOLE.features.text
    for excluded, expected in (((), text.both), (("speech",), text.comments), (("comments",), text.speech)):
        np.testing.assert_array_equal(inputs(WHOLE.features, excluded=excluded).text[0], expected)
    neither = inputs(WHOLE.features, excluded=("speech", "comments"))
    assert not neither.mask("text").any()
    assert neither.mask("pictures").all()
    assert not inputs(WHOLE.features, excluded=("text",)).text.any()


def test_items_of_a_batch_are_padded_and_independent() -> None:
    short = changed(encoded(CONFIG, 2), comments=None)
    both = inputs(WHOLE.features, short.features, length=6)
    assert both.token_mask.shape == (2, 6, len(TOKENS))
    assert not both.token_mask[0, 4:].any()
    assert not both.token_mask[1, 2:].any()
    for row, alone in enumerate((inputs(WHOLE.features), inputs(short.features))):
        count = alone.pictures.shape[1]
        assert torch.equal(both.token_mask[row, :count], alone.token_mask[0])
        for name in ("pictures", "text", "speech_text", "chat_activity", "speech_activity", "words", "word_counts"):
            assert torch.equal(getattr(both, name)[row, :count], getattr(alone, name)[0])


@pytest.mark.parametrize("times", [1, 7])
def test_shares_of_words_do_not_depend_on_the_number_of_comments(times: int) -> None:
    texts = ["KEKW", "KEKW yes", "yes", "no"] * times
    comments = [[Comment(k / 100, text) for k, text in enumerate(texts)], [], [], []]
    found = inputs(changed(WHOLE, comments=comments).features)
    shares = dict(zip(found.words[0, 0].tolist(), found.word_shares[0, 0].tolist(), strict=True))
    assert Counter(round(share, 2) for word, share in shares.items() if word) == {0.5: 2, 0.25: 1}
    assert not found.word_shares[0, 1].any()
