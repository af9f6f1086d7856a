"""Byte-level BPE, which is GPT-2's, in RoBERTa's form (arXiv 1907.11692, 4.4): case is kept and no text is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, pre_tokenizers, processors
from tokenizers.models import BPE

from ernie_tiny.data.wordpiece import Tokenizer
from ernie_tiny.files import to_json

ROBERTA_SPECIAL_TOKENS = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")  # in the order of SPECIAL_TOKENS
BPE_VOCABULARY_FILE, MERGES_FILE = "vocab.json", "merges.txt"
Merge = tuple[str, str]


class ByteLevelTokenizer(Tokenizer):
    """Text to token ids, by byte-level BPE; a pair is <s> a </s> </s> b </s>.

    Args:
        tokens: The vocabulary in the order of the ids; holds ROBERTA_SPECIAL_TOKENS. Ġ stands for a space.
        merges: Pairs of tokens that are joined, the first ones first. Both and what they give are tokens.
    """

    separators = 2

    def __init__(self, tokens: Sequence[str], merges: Sequence[Merge]) -> None:
        self.merges = tuple(merges)
        ids = self._set_tokens(tokens, ROBERTA_SPECIAL_TOKENS)
        self._backend = tokenizers.Tokenizer(BPE(ids, list(self.merges), unk_token=ROBERTA_SPECIAL_TOKENS[1]))
        self._backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        # An answer's text is cut out by offsets: the space before a word is no part of it.
        self._backend.post_processor = processors.ByteLevel(trim_offsets=True)

    @property
    def _settings(self) -> object:
        return self.merges

    def spell(self, ids: Sequence[int]) -> tuple[str, list[int]]:
        """As Tokenizer.spell; a token begins at its word's first character, not at the space before it."""
        decoder = decoders.ByteLevel()
        return joined(["\n" if token in self.special_ids else decoder.decode([self.tokens[token]]) for token in ids])

    def with_parts(self, ids: Sequence[int]) -> list[int]:
        """As Tokenizer.with_parts: see `with_parts_of_merges`."""
        return with_parts_of_merges(ids, self.tokens, self.merges)

    def keep(self, ids: Sequence[int]) -> ByteLevelTokenizer:
        """As Tokenizer.keep; `ids` as with_parts gives them."""
        tokens = [self.tokens[index] for index in ids]
        return ByteLevelTokenizer(tokens, merges_of(tokens, self.merges))

    def save(self, folder: Path) -> None:
        """Writes vocab.json and merges.txt, for load_tokenizer and for PaddleNLP's RobertaBPETokenizer."""
        folder.mkdir(parents=True, exist_ok=True)
        ids = {token: index for index, token in enumerate(self.tokens)}
        (folder / BPE_VOCABULARY_FILE).write_text(to_json(ids), encoding="utf-8")
        lines = ["#version: 0.2", *(" ".join(merge) for merge in self.merges)]
        (folder / MERGES_FILE).write_bytes("".join(f"{line}\n" for line in lines).encode())


def joined(pieces: Sequence[str]) -> tuple[str, list[int]]:
    """The text of pieces that begin with their words' spaces, and where in it each begins, its spaces left out."""
    text, starts = "", list[int]()
    for piece in pieces:
        spaces = len(piece) - len(piece.lstrip(" "))
        starts.append(len(text) + (spaces if spaces < len(piece) else 0))
        text += piece
    return text, starts


def with_parts_of_merges(ids: Sequence[int], tokens: Sequence[str], merges: Sequence[Merge]) -> list[int]:
    """The ids, those of the parts that any merge makes their tokens of, and of all single characters, rising.

    A text whose tokens are among `ids` is cut as before with these and the merges among them: whatever is joined on
    the way to a token is a part of it, and a merge that is left out made a token that the text does not have.
    """
    number = {token: index for index, token in enumerate(tokens)}
    makers: dict[str, list[Merge]] = {}
    for first, second in merges:
        makers.setdefault(first + second, []).append((first, second))
    kept = {*ids, *(index for index, token in enumerate(tokens) if len(token) == 1)}
    new = list(kept)
    while new:
        parts = {number[part] for pair in makers.get(tokens[new.pop()], ()) for part in pair} - kept
        new += parts
        kept |= parts
    return sorted(kept)


def merges_of(tokens: Sequence[str], merges: Sequence[Merge]) -> list[Merge]:
    """The merges whose parts and what they give are among the tokens."""
    known = set(tokens)
    return [pair for pair in merges if {*pair, "".join(pair)} <= known]
