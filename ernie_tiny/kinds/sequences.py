"""Token ids of one or two texts with [CLS] and [SEP], which the kinds build their inputs from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Callable, Optional

import numpy as np

from ernie_tiny.batch import Array
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.data.tokenizer import Encoded, Tokenizer
from ernie_tiny.errors import InputError

CHUNK = 1024  # examples tokenised in one call: keeps all cores busy, and memory bounded

Row = tuple[Array, Array]
Room = Callable[[int], int]  # tokens that are never cut -> tokens left for text


def encoded(
    spec: TaskSpec, examples: Sequence[Example], tokenizer: Tokenizer, max_length: int
) -> Iterator[tuple[Example, list[Encoded], Room]]:
    """Each example with its encoded texts, then its encoded candidates, and what a sequence has room for.

    A Room raises an InputError where max_length leaves nothing for text beside what is never cut.
    """
    for start in range(0, len(examples), CHUNK):
        chunk = examples[start : start + CHUNK]
        for example, texts in zip(chunk, _encode(chunk, tokenizer)):
            yield example, texts, partial(_room, f"{spec.name}, example {example.id}", max_length)


def _encode(examples: Sequence[Example], tokenizer: Tokenizer) -> list[list[Encoded]]:
    """Of each example the encoded texts, then the encoded candidates."""
    texts = [(*example.texts, *example.candidates) for example in examples]
    # Questions share contexts, and blanks candidates: each text is encoded once.
    unique = list(dict.fromkeys(text for group in texts for text in group))
    found = {
        text: (ids, tokenizer.cover(text, ids, offsets))
        for text, (ids, offsets) in zip(unique, tokenizer.encode_batch(unique))
    }
    return [[found[text] for text in group] for group in texts]


def _room(place: str, max_length: int, taken: int) -> int:
    """Tokens left for text beside `taken` ones that are never cut; at least one."""
    if max_length <= taken:
        raise InputError(
            f"{place}: max_length = {max_length} leaves no room for text beside {taken} tokens "
            f"that are never cut. Set it to more than {taken}."
        )
    return max_length - taken


def row(tokenizer: Tokenizer, first: Array, second: Optional[Array] = None) -> Row:
    """[CLS] first [SEP], or [CLS] first [SEP] second [SEP] with the tokenizer's second_type behind the first [SEP].

    Where pairs have two separators (RoBERTa), the [SEP] between the two stands for both.
    """
    cls, sep = np.array([[tokenizer.cls_id], [tokenizer.sep_id]], np.int32)
    parts = [cls, first, sep] if second is None else [cls, first, *[sep] * tokenizer.separators, second, sep]
    ids = np.concatenate(parts, dtype=np.int32)
    behind = np.arange(len(ids)) >= second_start(tokenizer, first)
    return ids, behind.astype(np.int32) * np.int32(tokenizer.second_type)


def second_start(tokenizer: Tokenizer, first: Array) -> int:
    """Where the second text of a pair begins."""
    return 1 + len(first) + tokenizer.separators


def sliding_windows(length: int, size: int, stride: int) -> Iterator[slice]:
    """The windows of a text of so many tokens; neighbouring ones share `stride` tokens, at most half a window."""
    shared = min(stride, size // 2)
    for start in range(0, max(1, length - shared), size - shared):
        yield slice(start, start + size)


def text_row(texts: Sequence[Encoded], tokenizer: Tokenizer, room: Room) -> Row:
    """One text, cut at its end, or two, of which the longer one is cut first."""
    if len(texts) == 1:
        return row(tokenizer, texts[0][0][: room(2)])
    (first, _), (second, _) = texts
    left = room(3 + tokenizer.separators) + 1  # at least a token of each
    second = second[: max(left - len(first), left // 2)]
    return row(tokenizer, first[: left - len(second)], second)
