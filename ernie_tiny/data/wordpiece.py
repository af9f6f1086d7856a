"""WordPiece with the vocabularies of ERNIE and BERT, by the Rust `tokenizers` library, and vocabularies from text.

The rules are those of PaddleNLP's slow ErnieTokenizer and BertTokenizer: control characters out, Chinese characters,
punctuation and symbols apart, lower case, accents stripped, greedy longest pieces of words of at most 100 characters.
No text of CLUE's dev sets comes out otherwise. What can are the 503 marks, signs and controls that Unicode 9 to 14
added, and unassigned code points: the Rust library takes them for letters.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tokenizers
from tokenizers import Regex
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, PreTokenizer, Split
from tokenizers.pre_tokenizers import Sequence as Steps

from ernie_tiny.batch import Array
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)
VOCABULARY_FILE, SETTINGS_FILE = "vocab.txt", "tokenizer_config.json"

# What PaddleNLP sets apart and BertPreTokenizer does not: symbols such as ℃ ～ ±, six single characters, and
# 256 rare ideographs that the Rust library's table of Chinese characters forgets.
SYMBOLS = r"[\p{S}\u00B2\u00B5\u00BA\u00D8\u014B\u01B1\u3007\x{2B820}-\x{2B91F}]"
SURROGATES = re.compile("[\ud800-\udfff]")
WORD_LENGTH = 16  # characters of the longest word that build_vocabulary takes whole

Encoded = tuple[Array, Array]


class Tokenizer:
    """Text to token ids, by WordPiece.

    Args:
        tokens: The vocabulary in the order of the ids; holds SPECIAL_TOKENS. Of a token that stands twice the
            later id counts, as in PaddleNLP: ERNIE 3.0's vocabulary has "$" as 12084 and 18005.
        lowercase: Lower case the text.
        strip_accents: Strip its accents; None where it is in lower case.
        split_chinese: Set each Chinese character apart.
    Attributes:
        pad_id, unk_id, cls_id, sep_id, mask_id: The special tokens' ids.
        separators: How many separators stand between the two texts of a pair.
        second_type: The token type of what follows them.
    """

    separators = 1
    second_type = 1

    def __init__(
        self,
        tokens: Sequence[str],
        lowercase: bool = True,
        strip_accents: Optional[bool] = None,
        split_chinese: bool = True,
    ) -> None:
        self.lowercase = lowercase
        self.strip_accents = lowercase if strip_accents is None else strip_accents
        self.split_chinese = split_chinese
        ids = self._set_tokens(tokens, SPECIAL_TOKENS)
        # Special tokens are not registered as such: the text "[MASK]" is a bracket, "mask" and a bracket.
        self._backend = tokenizers.Tokenizer(WordPiece(ids, unk_token=UNK, max_input_chars_per_word=100))
        self._backend.normalizer = BertNormalizer(
            handle_chinese_chars=split_chinese, strip_accents=self.strip_accents, lowercase=lowercase
        )
        self._backend.pre_tokenizer = _pre_tokenizer()

    def _set_tokens(self, tokens: Sequence[str], special_tokens: Sequence[str]) -> dict[str, int]:
        self.tokens = tuple(tokens)
        ids = {token: index for index, token in enumerate(self.tokens)}
        self.special_ids = [ids[token] for token in special_tokens]
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = self.special_ids
        return ids

    @property
    def _settings(self) -> object:
        """What beside the tokens decides how a text is cut, as JSON can hold it."""
        return [self.lowercase, self._unusual] if self._unusual else self.lowercase

    @property
    def _unusual(self) -> dict[str, bool]:
        """The keys of tokenizer_config.json whose values do not follow from do_lower_case."""
        values = {"strip_accents": self.strip_accents, "tokenize_chinese_chars": self.split_chinese}
        usual = {"strip_accents": self.lowercase, "tokenize_chinese_chars": True}
        return {key: value for key, value in values.items() if value != usual[key]}

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return len(self.tokens)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the tokens and the settings: what was tokenised under another one is another text."""
        return hashlib.sha256(json.dumps([self.tokens, self._settings]).encode()).hexdigest()

    def encode(self, text: str) -> Encoded:
        """(input_ids int32 [n], offsets int32 [n, 2]) without special tokens.

        A token's offsets are the characters [start, end) of the text that it covers.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[Encoded]:
        """`encode` of each text, on all cores."""
        # Half a surrogate pair, which JSON can state, is no text for Rust. U+FFFD is dropped, as PaddleNLP
        # drops the half.
        whole = [SURROGATES.sub("\ufffd", text) for text in texts]
        return [
            (np.array(item.ids, np.int32), np.array(item.offsets, np.int32).reshape(-1, 2))
            for item in self._backend.encode_batch(whole, add_special_tokens=False)
        ]

    def cover(self, text: str, ids: Array, offsets: Array) -> Array:
        """int32 [n, 2], the characters [start, end) that tokens are of: as `encode`'s offsets, but without spaces."""
        return offsets

    def spell(self, ids: Sequence[int]) -> tuple[str, list[int]]:
        """The text that tokens spell, and where in it each begins.

        A special token is a line feed. Latin words stand apart; a ## piece begins where its word does.
        """
        text, starts = "", [0] * len(ids)
        for column, token in enumerate(ids):
            piece = "\n" if token in self.special_ids else self.tokens[token]
            if piece.startswith("##") and column > 0:
                starts[column] = starts[column - 1]
                text += piece[2:]
                continue
            if text and _is_latin(text[-1]) and _is_latin(piece[0]):
                text += " "
            starts[column] = len(text)
            text += piece
        return text, starts

    def with_parts(self, ids: Sequence[int]) -> list[int]:
        """The ids and those of the tokens that the tokenizer builds them from, rising."""
        return sorted(ids)

    def keep(self, ids: Sequence[int]) -> Tokenizer:
        """The tokenizer of some of the tokens, in this order; it cuts texts of these tokens alone as before.

        Args:
            ids: The special tokens' are among them.
        """
        tokens = [self.tokens[index] for index in ids]
        return Tokenizer(tokens, self.lowercase, self.strip_accents, self.split_chinese)

    def save(self, folder: Path) -> None:
        """Writes vocab.txt, a token a line, and the settings, for load_tokenizer and for PaddleNLP."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / VOCABULARY_FILE).open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{token}\n" for token in self.tokens)
        (folder / SETTINGS_FILE).write_text(
            to_json({"do_lower_case": self.lowercase, **self._unusual}), encoding="utf-8"
        )


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _pre_tokenizer() -> PreTokenizer:
    return Steps([BertPreTokenizer(), Split(Regex(SYMBOLS), "isolated")])


def rules_of(settings: Mapping[str, Any], file: Path) -> dict[str, Optional[bool]]:
    """What a tokenizer_config.json says of case, accents and Chinese characters, by its keys.

    Raises:
        InputError: A value is none; strip_accents may be null, which follows the case.
    """
    names = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
    found = {key: settings[key] for key in names if key in settings}
    for key, value in found.items():
        if not isinstance(value, bool) and (key, value) != ("strip_accents", None):
            raise InputError(f"{file}: {key} = {value!r}; write true or false.")
    return found


def build_vocabulary(lines: Iterable[str], vocab_size: int, min_count: int = 2) -> list[str]:
    """A WordPiece vocabulary of a text: special tokens, then the most frequent pieces.

    Pieces are the characters, those of words in their ## forms too, and whole words. Each is counted for itself: a word
    is unknown where a character of it has not been seen often enough in words. Ties go by code point: the same text
    gives the same vocabulary.

    Args:
        vocab_size: The largest number of tokens.
        min_count: A piece that occurs less often is left out.
    """
    if vocab_size <= len(SPECIAL_TOKENS):
        raise InputError(f"vocab_size = {vocab_size} is too small: {len(SPECIAL_TOKENS)} tokens are special.")
    normalizer, pre_tokenizer = BertNormalizer(lowercase=True), _pre_tokenizer()
    words: Counter[str] = Counter()
    for line in lines:
        words.update(word for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(line)))
    pieces: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            pieces[character] += count
            if len(word) > 1:
                pieces[f"##{character}"] += count
        if 1 < len(word) <= WORD_LENGTH:
            pieces[word] += count
    ranked = sorted((-count, piece) for piece, count in pieces.items() if count >= min_count)
    return [*SPECIAL_TOKENS, *(piece for _, piece in ranked[: vocab_size - len(SPECIAL_TOKENS)])]
