"""Byte-level BPE, which is GPT-2's, in RoBERTa's form (arXiv 1907.11692, 4.4): case is kept and no text is unknown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, pre_tokenizers, processors
from tokenizers.models import BPE

from ernie_tiny.data.wordpiece import Tokenizer
from ernie_tiny.errors import InputError

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
        decoder, text, starts = decoders.ByteLevel(), "", []
        for token in ids:
            piece = "\n" if token in self.special_ids else decoder.decode([self.tokens[token]])
            spaces = len(piece) - len(piece.lstrip(" "))
            starts.append(len(text) + (spaces if spaces < len(piece) else 0))
            text += piece
        return text, starts

    def keep(self, ids: Sequence[int]) -> Tokenizer:
        """Raises an InputError: a token is built by merges of others, which need not occur themselves."""
        raise InputError(
            "a vocabulary of byte-level BPE (vocab.json) cannot be pruned: its merges build a token from "
            "others, which need not occur themselves. Only WordPiece (vocab.txt) can."
        )

    def save(self, folder: Path) -> None:
        """Writes vocab.json and merges.txt, for load_tokenizer and for PaddleNLP's RobertaBPETokenizer."""
        folder.mkdir(parents=True, exist_ok=True)
        ids = {token: index for index, token in enumerate(self.tokens)}
        (folder / BPE_VOCABULARY_FILE).write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
        lines = ["#version: 0.2", *(" ".join(merge) for merge in self.merges)]
        (folder / MERGES_FILE).write_bytes("".join(f"{line}\n" for line in lines).encode())
