"""How many tokens are masked, how, which never, and that a row's masks are its own."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import jieba
import numpy as np
import pytest

from ernie_tiny.batch import Batch
from ernie_tiny.data.masking import mask_tokens
from ernie_tiny.data.tokenizer import ROBERTA_SPECIAL_TOKENS, SPECIAL_TOKENS, ByteLevelTokenizer, Tokenizer

TEXT = "我们在北京大学研究自然语言处理，playing unbreakable games，模型压缩很重要。"
PIECES = ["play", "##ing", "un", "##break", "##able", "game", "##s"]
TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *PIECES, *sorted(set(TEXT) - set("playing unbreakable games"))])
CLS, SEP, PAD, MASK, UNK = (getattr(TOKENIZER, f"{name}_id") for name in ("cls", "sep", "pad", "mask", "unk"))
IDS = TOKENIZER.encode(TEXT)[0]
FIRST = len(SPECIAL_TOKENS)


def random_batch(rows: int = 200, length: int = 128, padding: int = 20) -> Batch:
    """Rows [CLS] text [SEP] text [SEP] [PAD]..."""
    ids = np.random.default_rng(0).integers(FIRST, TOKENIZER.vocab_size, (rows, length))
    ids[:, 0], ids[:, 50], ids[:, length - padding - 1] = CLS, SEP, SEP
    mask = np.ones_like(ids)
    ids[:, length - padding :], mask[:, length - padding :] = PAD, 0
    return Batch("", tuple(f"general-{row}" for row in range(rows)), ids, np.zeros_like(ids), mask)


def text_batch(rows: int = 100) -> Batch:
    ids = np.tile(np.array([CLS, *IDS, SEP], np.int64), (rows, 1))
    names = tuple(f"general-{row}" for row in range(rows))
    return Batch("", names, ids, np.zeros_like(ids), np.ones_like(ids))


def part(batch: Batch, rows: slice) -> Batch:
    arrays = ("input_ids", "token_type_ids", "attention_mask")
    return dataclasses.replace(
        batch, example_ids=batch.example_ids[rows], **{name: getattr(batch, name)[rows] for name in arrays}
    )


def masks_of(batch: Batch) -> dict[str, tuple]:
    """Example id to the columns that are to be predicted, their labels, and what stands in the row."""
    assert batch.masked_positions is not None and batch.labels is not None
    rows, columns = np.divmod(batch.masked_positions, batch.input_ids.shape[1])
    found = {}
    for row, name in enumerate(batch.example_ids):
        own = rows == row
        found[name] = columns[own].tolist(), batch.labels[own].tolist(), batch.input_ids[row].tolist()
    return found


@pytest.mark.parametrize("probability", [0.15, 0.4])
def test_that_part_of_the_tokens_is_chosen_and_never_a_special_one(probability):
    batch = random_batch()
    masked = mask_tokens(batch, TOKENIZER, 0, 0, probability, False)
    text = 128 - 20 - 3
    assert len(masked.masked_positions) == 200 * round(probability * text)
    assert len(np.unique(masked.masked_positions)) == len(masked.masked_positions)
    assert not np.isin(masked.labels, [CLS, SEP, PAD]).any()
    columns = np.bincount(masked.masked_positions % 128, minlength=128)[1:50] / 200
    assert abs(columns.mean() - probability) < 0.02 and columns.std() < 0.05


def test_80_percent_become_mask_10_random_10_stay():
    batch = random_batch(rows=2000)
    masked = mask_tokens(batch, TOKENIZER, 0, 0, 0.15, False)
    seen = masked.input_ids.reshape(-1)[masked.masked_positions]
    random = (seen != MASK) & (seen != masked.labels)
    by_chance = 0.1 / (TOKENIZER.vocab_size - FIRST)  # a random token may be the right one
    assert (seen == MASK).mean() == pytest.approx(0.8, abs=0.01)
    assert random.mean() == pytest.approx(0.1 - by_chance, abs=0.007)
    assert (seen == masked.labels).mean() == pytest.approx(0.1 + by_chance, abs=0.007)
    assert set(np.unique(seen[random])) == set(range(FIRST, TOKENIZER.vocab_size))


def test_labels_are_the_original_tokens_and_all_else_stays():
    batch = random_batch()
    before = batch.input_ids.copy()
    masked = mask_tokens(batch, TOKENIZER, 0, 0, 0.15, False)
    assert (batch.input_ids == before).all() and batch.labels is None
    restored = masked.input_ids.copy()
    restored.reshape(-1)[masked.masked_positions] = masked.labels
    assert (restored == before).all()
    assert (np.diff(masked.masked_positions) > 0).all()
    assert masked.masked_positions.dtype == masked.labels.dtype == np.int64
    assert masked.example_ids == batch.example_ids and (masked.attention_mask == batch.attention_mask).all()


@pytest.mark.parametrize("whole_words", [False, True])
def test_a_row_has_the_same_masks_in_every_process(whole_words):
    batch = text_batch(rows=12)
    alone = masks_of(mask_tokens(batch, TOKENIZER, 7, 3, 0.15, whole_words))
    together = {}
    for rank in range(3):
        share = part(batch, slice(rank, None, 3))
        together.update(masks_of(mask_tokens(share, TOKENIZER, 7, 3, 0.15, whole_words)))
    assert together == alone
    assert len({tuple(columns) for columns, _, _ in alone.values()}) > 6


def test_masks_change_with_seed_and_position():
    def masks(seed: int, position: int) -> dict:
        return masks_of(mask_tokens(text_batch(4), TOKENIZER, seed, position, 0.15, False))

    assert masks(0, 0) == masks(0, 0)
    assert masks(0, 0) != masks(0, 1)
    assert masks(0, 0) != masks(1, 0)


def test_words_are_masked_whole():
    words, start = [], 1
    for word in jieba.cut(TEXT.replace("playing", "PP").replace("unbreakable", "UUU").replace("games", "GG")):
        if word.strip():
            words.append(set(range(start, start + len(word))))
            start += len(word)
    assert start == 1 + len(IDS)  # "PP", "UUU" and "GG" are as long as their words have tokens
    assert max(map(len, words)) >= 3
    masked = mask_tokens(text_batch(300), TOKENIZER, 0, 0, 0.3, True)
    seen = set()
    for columns, _, _ in masks_of(masked).values():
        for number, word in enumerate(words):
            assert word <= set(columns) or not word & set(columns)
            seen |= {number} if word <= set(columns) else set()
    assert len(seen) == len(words)
    assert len(masked.labels) / (300 * len(IDS)) == pytest.approx(0.3, abs=0.03)


def test_words_end_at_separators_and_unknown_tokens():
    bei, jing = (TOKENIZER.tokens.index(character) for character in "北京")
    ids = np.array([[CLS, bei, SEP, jing, UNK, UNK, bei, PAD]] * 50)
    batch = Batch("", tuple(map(str, range(50))), ids, np.zeros_like(ids), (ids != PAD).astype(np.int64))
    masked = mask_tokens(batch, TOKENIZER, 0, 0, 0.2, True)
    chosen = [columns for columns, _, _ in masks_of(masked).values()]
    assert {len(columns) for columns in chosen} == {1}
    assert {columns[0] for columns in chosen} == {1, 3, 4, 5, 6}


@pytest.mark.parametrize("whole_words", [False, True])
def test_a_row_without_text_has_no_masks(whole_words):
    ids = np.array([[CLS, SEP, PAD]])
    batch = Batch("", ("general-0",), ids, np.zeros_like(ids), np.array([[1, 1, 0]]))
    masked = mask_tokens(batch, TOKENIZER, 0, 0, 0.15, whole_words)
    assert len(masked.labels) == len(masked.masked_positions) == 0


def test_short_text_has_at_least_one_mask():
    ids = text_batch(5).input_ids[:, :3]
    batch = Batch("", tuple(map(str, range(5))), ids, np.zeros_like(ids), np.ones_like(ids))
    assert len(mask_tokens(batch, TOKENIZER, 0, 0, 0.15, False).labels) == 5


def test_jieba_is_imported_for_words_alone_and_says_nothing():
    script = """
import sys
import numpy as np
from ernie_tiny.batch import Batch
from ernie_tiny.data.masking import mask_tokens
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
tokenizer = Tokenizer([*SPECIAL_TOKENS, "北", "京"])
ids = np.array([[2, 5, 6, 3]])
batch = Batch("", ("general-0",), ids, ids * 0, ids * 0 + 1)
mask_tokens(batch, tokenizer, 0, 0, 0.15, False)
assert "jieba" not in sys.modules
mask_tokens(batch, tokenizer, 0, 0, 0.15, True)
assert "jieba" in sys.modules and "paddle" not in sys.modules
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_whole_words_of_a_byte_level_vocabulary():
    tokens = [*ROBERTA_SPECIAL_TOKENS, "play", "ing", "Ġ", "Ġgame", "s", ","]
    tokenizer = ByteLevelTokenizer(tokens, [])
    ids = np.tile(np.array([[2, 5, 6, 10, 8, 9, 8, 9, 3]]), (200, 1))  # playing, games games
    batch = Batch("", tuple(map(str, range(200))), ids, np.zeros_like(ids), np.ones_like(ids))
    words = [{1, 2}, {3}, {4, 5}, {6, 7}]
    rows = masks_of(mask_tokens(batch, tokenizer, 0, 0, 0.3, True)).values()
    for columns, labels, _ in rows:
        assert all(word <= set(columns) or not word & set(columns) for word in words)
        assert labels == [int(ids[0, column]) for column in columns]
    assert {column for columns, _, _ in rows for column in columns} == set(range(1, 8))
