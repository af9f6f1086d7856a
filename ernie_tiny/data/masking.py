"""Masked language modelling: which tokens are to be predicted, and what the model sees instead."""

from __future__ import annotations

import dataclasses
import logging
import zlib

import numpy as np

from ernie_tiny.batch import Array, Batch
from ernie_tiny.data.tokenizer import Tokenizer

MASKED, RANDOM = 0.8, 0.1  # of the chosen tokens; the rest are kept


def mask_tokens(
    batch: Batch,
    tokenizer: Tokenizer,
    seed: int,
    position: int,
    probability: float,
    whole_words: bool,
) -> Batch:
    """The batch with tokens to predict: masked_positions, in rising order, and labels, the original ids.

    Of the chosen tokens 80 % become [MASK], 10 % a random token and 10 % stay (BERT, arXiv 1810.04805, 3.1).
    [CLS], [SEP] and [PAD] are never chosen. Masks are a function of seed, position and a row's example id: a
    row has the same ones alone, among others, and in any process.

    Args:
        batch: One sequence an example; it is not changed.
        seed: Not negative.
        position: Number of the batch, so that text that comes again is masked in another way.
        probability: Part of a row's tokens that is chosen, above 0; at least one token (or word) of a row is.
        whole_words: Choose words, as jieba cuts the row's text, with all their tokens (whole word masking,
            arXiv 1906.08101). Words are drawn in random order; one that would exceed the number of tokens
            to choose is passed over.
    """
    special = [tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id]
    ordinary = np.setdiff1d(np.arange(tokenizer.vocab_size), [*special, tokenizer.mask_id, tokenizer.unk_id])
    input_ids = batch.input_ids.copy()
    chosen = np.zeros(input_ids.shape, bool)
    for row, example_id in enumerate(batch.example_ids):
        random = np.random.default_rng([seed, position, zlib.crc32(example_id.encode())])
        candidates = np.flatnonzero(~np.isin(input_ids[row], special))
        units = _words(input_ids[row], candidates, tokenizer) if whole_words else list(candidates[:, None])
        columns = _choose(units, max(1, round(probability * len(candidates))), random)
        fate = random.random(len(columns))
        substitutes = np.where(fate < MASKED, tokenizer.mask_id, random.choice(ordinary, len(columns)))
        input_ids[row, columns] = np.where(fate < MASKED + RANDOM, substitutes, input_ids[row, columns])
        chosen[row, columns] = True
    masked_positions = np.flatnonzero(chosen)
    labels = batch.input_ids.reshape(-1)[masked_positions]
    return dataclasses.replace(batch, input_ids=input_ids, labels=labels, masked_positions=masked_positions)


def _choose(units: list[Array], count: int, random: np.random.Generator) -> Array:
    """Columns of units in random order: `count`, fewer where no unit fits, more if the first is long."""
    columns: list[int] = []
    for index in random.permutation(len(units)):
        if not columns or len(columns) + len(units[index]) <= count:
            columns.extend(units[index])
    return np.array(columns, np.int64)


def _words(ids: Array, candidates: Array, tokenizer: Tokenizer) -> list[Array]:
    """The candidates of a row, grouped by the words of the text that the row spells.

    A token belongs to the word that it begins in (Tokenizer.spell): no word crosses a special token, and a ##
    piece stays with the token before it.
    """
    import jieba

    jieba.setLogLevel(logging.WARNING)  # it reports on its dictionary at the first cut
    text, starts = tokenizer.spell(ids.tolist())
    lengths = [len(word) for word in jieba.cut(text)]
    word_of_character = np.repeat(np.arange(len(lengths)), lengths)
    words = word_of_character[np.array(starts)[candidates]]
    return np.split(candidates, np.flatnonzero(np.diff(words)) + 1)
