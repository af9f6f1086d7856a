"""More training examples: copies of the features whose tokens a masked language model replaced.

Word replacement as in TinyBERT (arXiv 1909.10351), algorithm 1, with two stand-ins:
- every token comes from the masked language model. The paper takes a GloVe neighbour in place of a word of several
  pieces; Chinese is tokenised by character, so that there is no such word to look up;
- all chosen tokens of a copy are masked at once. The paper masks one at a time, which takes a forward pass for each
  token of an example instead of one for each copy.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Callable

import numpy as np

from ernie_tiny.batch import Array, Feature
from ernie_tiny.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class MaskedText:
    """A sequence with tokens to fill in.

    Attributes:
        input_ids, token_type_ids: int32 [length]; [MASK] stands at the columns.
        columns: int64 [chosen], rising.
        ranks: int64 [chosen], which prediction to take at each column; 0 is the most probable token.
    """

    input_ids: Array
    token_type_ids: Array
    columns: Array
    ranks: Array


Predict = Callable[[Sequence[MaskedText]], Sequence[Array]]  # of each text the token ids [chosen]


def augment(
    features: Sequence[Feature],
    tokenizer: Tokenizer,
    copies: int,
    probability: float,
    candidates: int,
    seed: int,
    predict: Predict,
) -> list[Feature]:
    """The copies of each feature, next to each other; they keep its label and are named "<example id>+<number>".

    Each token of a copy is chosen with the probability, and replaced by one of the model's `candidates` most probable
    tokens there, all alike likely; the token itself may be among them. Special tokens are never chosen. Of a choice
    example only what all its sequences share is, and it is replaced alike in all: the candidates stay what they are.
    What is chosen is a function of the seed and the example's id.

    Args:
        predict: Given the texts in which something was chosen; called once.
    """
    shared = [_shared_columns(feature, tokenizer.sep_id) for feature in features]
    texts = [
        text
        for feature, columns in zip(features, shared)
        for text in _masked(feature, columns[0], tokenizer, copies, probability, candidates, seed)
    ]
    predicted = iter(predict([text for text in texts if len(text.columns)]))
    tokens = [next(predicted) if len(text.columns) else text.columns for text in texts]
    found = []
    for number, (text, replacements) in enumerate(zip(texts, tokens)):
        feature, columns = features[number // copies], shared[number // copies]
        places = np.searchsorted(columns[0], text.columns)
        ids = [sequence.copy() for sequence, _ in feature.sequences]
        for sequence, own in zip(ids, columns):
            sequence[own[places]] = replacements
        found.append(_copy(feature, number % copies + 1, ids))
    return found


def restore(features: Sequence[Feature], copies: int, input_ids: Array) -> list[Feature]:
    """What `augment` gave, from the input ids of all its sequences, int32 [tokens], one after the other."""
    found, start = [], 0
    for feature in features:
        for number in range(1, copies + 1):
            ids = []
            for sequence, _ in feature.sequences:
                ids.append(input_ids[start : start + len(sequence)])
                start += len(sequence)
            found.append(_copy(feature, number, ids))
    return found


def _copy(feature: Feature, number: int, ids: Sequence[Array]) -> Feature:
    sequences = tuple((new, types) for new, (_, types) in zip(ids, feature.sequences))
    return dataclasses.replace(feature, example_id=f"{feature.example_id}+{number}", sequences=sequences)


def _shared_columns(feature: Feature, sep_id: int) -> list[Array]:
    """Of each sequence the columns, rising, of the tokens that all sequences have: the leading ones of each text.

    They are context and question of a multiple choice, the text around the blank of a cloze, or all of a sequence
    that is alone.
    """
    found: list[list[Array]] = [[] for _ in feature.sequences]
    separators = [ids == sep_id for ids, _ in feature.sequences]
    for second in (False, True):  # behind the first separator; not every vocabulary has token types for it
        columns = [np.flatnonzero((np.cumsum(own) > own) == second) for own in separators]
        shortest = min(len(own) for own in columns)
        texts = np.array([ids[own[:shortest]] for (ids, _), own in zip(feature.sequences, columns)])
        differing = np.flatnonzero((texts != texts[0]).any(axis=0))
        for all_found, own in zip(found, columns):
            all_found.append(own[: differing[0] if len(differing) else shortest])
    return [np.concatenate(parts) for parts in found]


def _masked(
    feature: Feature,
    shared: Array,
    tokenizer: Tokenizer,
    copies: int,
    probability: float,
    candidates: int,
    seed: int,
) -> Iterator[MaskedText]:
    """The first sequence of a feature with other tokens masked for each copy."""
    random = np.random.default_rng([seed, zlib.crc32(feature.example_id.encode())])
    ids, types = feature.sequences[0]
    ordinary = shared[~np.isin(ids[shared], tokenizer.special_ids)]
    for _ in range(copies):
        columns = ordinary[random.random(len(ordinary)) < probability]
        masked = ids.copy()
        masked[columns] = tokenizer.mask_id
        yield MaskedText(masked, types, columns, random.integers(candidates, size=len(columns)))
