"""Which tokens of a vocabulary some texts need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice

import numpy as np

from ernie_tiny.data.tokenizer import Tokenizer

CHUNK = 1024  # texts tokenised in one call: keeps all cores busy, and memory bounded
PIECE = "##"


def used_tokens(texts: Iterable[str], tokenizer: Tokenizer, min_count: int) -> list[int]:
    """The ids, rising, of the special tokens and of all tokens that occur in the texts, with characters to spell by.

    Those are the characters that occur in words of several characters, `min_count` times or more, each alone and as a
    ## piece: a new word of such characters is cut into them and not unknown. Chinese characters are words themselves
    and need no ## piece. With them come the tokens that the tokenizer builds others from (Tokenizer.with_parts).
    """
    counts = np.zeros(tokenizer.vocab_size, np.int64)
    remaining = iter(texts)
    while chunk := list(islice(remaining, CHUNK)):
        ids = np.concatenate([ids for ids, _ in tokenizer.encode_batch(chunk)])
        counts += np.bincount(ids, minlength=len(counts))
    letters: Counter[str] = Counter()
    for index in np.flatnonzero(counts):
        token = tokenizer.tokens[index]
        if len(token) > 1 and index not in tokenizer.special_ids:
            letters.update({letter: int(counts[index]) for letter in set(token.removeprefix(PIECE))})
    spelling = {letter for letter, count in letters.items() if count >= min_count}
    wanted = [
        index
        for index, token in enumerate(tokenizer.tokens)
        if counts[index] or index in tokenizer.special_ids or token.removeprefix(PIECE) in spelling
    ]
    return tokenizer.with_parts(wanted)
