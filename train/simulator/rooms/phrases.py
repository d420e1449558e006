"""Sentences from templates: phrases.yaml lists phrases by name, and ``{name}`` in a phrase stands for one of those."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import yaml

Grammar = Mapping[str, Sequence[str]]

_FILE = Path(__file__).parents[1] / "phrases.yaml"
_SLOT = re.compile(r"\{(\w+)\}")


@cache
def load_grammars(kind: Literal["speech", "comments"]) -> dict[str, Grammar]:
    """Load the grammar of each talent: the common phrases and its own."""
    grammars = yaml.safe_load(_FILE.read_text(encoding="utf-8"))[kind]
    common = grammars.pop("common")
    return {talent: {**common, **own} for talent, own in grammars.items()}


def make_sentence(grammar: Grammar, name: str, *, rng: np.random.Generator) -> str:
    """Expand ``name`` into a sentence; phrases are chosen at random."""
    choices = grammar[name]
    text = choices[int(rng.random() * len(choices))]
    return _SLOT.sub(lambda slot: make_sentence(grammar, slot[1], rng=rng), text)
