"""From examples to token ids, for every kind of task; training, evaluation and deployment share this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Callable, Optional

import numpy as np

from ernie_tiny.batch import Feature
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.data.tokenizer import Encoded, Tokenizer
from ernie_tiny.errors import InputError

QUESTION_LENGTH = 64  # tokens that a question of reading comprehension may take
STRIDE = 128  # tokens that two neighbouring windows share
CHUNK = 1024  # examples tokenised in one call: keeps all cores busy, and memory bounded

Row = tuple[np.ndarray, np.ndarray]
Room = Callable[[int], int]  # tokens that are never cut -> tokens left for text


def featurise(
    spec: TaskSpec, examples: Sequence[Example], tokenizer: Tokenizer, max_length: int, stride: int = STRIDE
) -> list[Feature]:
    """The features of the examples, in order; a long reading example has several, next to each other.

    What follows the first [SEP] has the tokenizer's second_type. Where pairs have two separators (RoBERTa), the [SEP]
    between two texts below stands for both.

    - one text: [CLS] a [SEP], cut at its end; two: [CLS] a [SEP] b [SEP], the longer one cut first
    - multiple choice: [CLS] context [SEP] question candidate [SEP] for each candidate, the context cut at its
      end
    - cloze: [CLS] candidate [SEP] before [MASK] after [SEP] for each candidate. As in PaddleNLP's run_chid.py
      the text is a window with the blank in its middle; one side gets what the other does not use.
    - reading: [CLS] question [SEP] window [SEP] for each window of the context. Neighbouring windows share
      `stride` tokens, but at most half a window. The label is the first and the last token that the first
      reference answer touches, or (0, 0), the [CLS], where a window does not hold all of it.

    Args:
        max_length: Tokens of a sequence, [CLS] and [SEP] included.
    Raises:
        InputError: max_length leaves no room for text beside what is never cut.
    """
    features: list[Feature] = []
    for start in range(0, len(examples), CHUNK):
        chunk = examples[start : start + CHUNK]
        for example, texts in zip(chunk, _encode(chunk, tokenizer)):
            room = partial(_room, f"{spec.name}, example {example.id}", max_length)
            if spec.kind == "reading":
                features.extend(_windows(example, texts, tokenizer, room, stride))
                continue
            if spec.kind == "cloze":
                rows = _cloze_rows(texts, tokenizer, room)
            elif spec.kind == "multiple_choice":
                rows = _choice_rows(texts, tokenizer, room)
            else:
                rows = [_text_row(texts, tokenizer, room)]
            label = () if example.label is None else (example.label,)
            features.append(Feature(example.id, tuple(rows), label))
    return features


def _encode(examples: Sequence[Example], tokenizer: Tokenizer) -> list[list[Encoded]]:
    """Of each example the encoded texts, then the encoded candidates."""
    texts = [(*example.texts, *example.candidates) for example in examples]
    # Questions share contexts, and blanks candidates: each text is encoded once.
    unique = list(dict.fromkeys(text for group in texts for text in group))
    encoded = {
        text: (ids, tokenizer.cover(text, ids, offsets))
        for text, (ids, offsets) in zip(unique, tokenizer.encode_batch(unique))
    }
    return [[encoded[text] for text in group] for group in texts]


def _room(place: str, max_length: int, taken: int) -> int:
    """Tokens left for text beside `taken` ones that are never cut; at least one."""
    if max_length <= taken:
        raise InputError(
            f"{place}: max_length = {max_length} leaves no room for text beside {taken} tokens "
            f"that are never cut. Set it to more than {taken}."
        )
    return max_length - taken


def _row(tokenizer: Tokenizer, first: np.ndarray, second: Optional[np.ndarray] = None) -> Row:
    """[CLS] first [SEP], or [CLS] first [SEP] second [SEP] with the tokenizer's second_type for the second part."""
    cls, sep = np.array([[tokenizer.cls_id], [tokenizer.sep_id]], np.int32)
    parts = [cls, first, sep] if second is None else [cls, first, *[sep] * tokenizer.separators, second, sep]
    ids = np.concatenate(parts, dtype=np.int32)
    behind = np.arange(len(ids)) >= _second_start(tokenizer, first)
    return ids, behind.astype(np.int32) * np.int32(tokenizer.second_type)


def _second_start(tokenizer: Tokenizer, first: np.ndarray) -> int:
    """Where the second text of a pair begins."""
    return 1 + len(first) + tokenizer.separators


def _text_row(texts: Sequence[Encoded], tokenizer: Tokenizer, room: Room) -> Row:
    if len(texts) == 1:
        return _row(tokenizer, texts[0][0][: room(2)])
    (first, _), (second, _) = texts
    left = room(3 + tokenizer.separators) + 1  # at least a token of each
    second = second[: max(left - len(first), left // 2)]
    return _row(tokenizer, first[: left - len(second)], second)


def _choice_rows(texts: Sequence[Encoded], tokenizer: Tokenizer, room: Room) -> list[Row]:
    (context, _), (question, _), *candidates = texts
    seconds = [np.concatenate([question, candidate]) for candidate, _ in candidates]
    return [_row(tokenizer, context[: room(2 + tokenizer.separators + len(second))], second) for second in seconds]


def _cloze_rows(texts: Sequence[Encoded], tokenizer: Tokenizer, room: Room) -> list[Row]:
    (before, _), (after, _), *candidates = texts
    # One window for all candidates: a candidate must not win by the context that only it sees.
    left = room(3 + tokenizer.separators + max(len(candidate) for candidate, _ in candidates))
    num_before = min(len(before), max(left // 2, left - len(after)))
    window = np.concatenate([before[len(before) - num_before :], [tokenizer.mask_id], after[: left - num_before]])
    return [_row(tokenizer, candidate, window) for candidate, _ in candidates]


def _windows(
    example: Example, texts: Sequence[Encoded], tokenizer: Tokenizer, room: Room, stride: int
) -> Iterator[Feature]:
    (question, _), (context, offsets) = texts
    question = question[:QUESTION_LENGTH]
    size = room(2 + tokenizer.separators + len(question))
    shared = min(stride, size // 2)
    first, last = _answer_tokens(example, offsets)
    before = _second_start(tokenizer, question)
    for start in range(0, max(1, len(context) - shared), size - shared):
        window = slice(start, start + size)
        row = _row(tokenizer, question, context[window])
        inside = start <= first and last < start + size
        label = (first - start + before, last - start + before) if inside else (0, 0)
        places = np.full((len(row[0]), 2), -1, np.int32)
        places[before:-1] = offsets[window]
        yield Feature(example.id, (row,), label if example.answers else (), places)


def _answer_tokens(example: Example, offsets: np.ndarray) -> tuple[int, int]:
    """First and last token of the first reference answer that stands in the context, else (-1, -1)."""
    for answer in example.answers:
        end = answer.start + len(answer.text)
        touched = np.flatnonzero((offsets[:, 1] > answer.start) & (offsets[:, 0] < end))
        if answer.start >= 0 and len(touched):
            return int(touched[0]), int(touched[-1])
    return -1, -1
