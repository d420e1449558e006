"""Sentences from templates: ``{name}`` stands for one of the phrases under that name, which may hold others."""

import re
from collections.abc import Mapping

import numpy as np

Grammar = Mapping[str, tuple[str, ...]]

_SLOT = re.compile(r"\{(\w+)\}")


def say(grammar: Grammar, name: str, *, rng: np.random.Generator) -> str:
    """Expand ``name`` into a sentence, choosing among its phrases at random."""
    choices = grammar[name]
    text = choices[int(rng.random() * len(choices))]
    return _SLOT.sub(lambda slot: say(grammar, slot[1], rng=rng), text)
