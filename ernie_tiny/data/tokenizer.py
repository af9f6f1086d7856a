"""WordPiece with the vocabularies of ERNIE and BERT, through the Rust `tokenizers` library.

The rules are those of PaddleNLP's slow ErnieTokenizer and BertTokenizer: control characters out, Chinese
characters, punctuation and symbols apart, lower case, accents stripped, greedy longest pieces of words of at
most 100 characters. No text of CLUE's dev sets comes out otherwise. What can are the 503 marks, signs and
controls that Unicode 9 to 14 added, and unassigned code points: the Rust library takes them for letters.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import Regex
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, PreTokenizer, Split
from tokenizers.pre_tokenizers import Sequence as Steps

from ernie_tiny.errors import InputError

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)
VOCABULARY_FILE, SETTINGS_FILE = "vocab.txt", "tokenizer_config.json"

# What PaddleNLP sets apart and BertPreTokenizer does not: symbols such as ℃ ～ ±, six single characters, and
# 256 rare ideographs that the Rust library's table of Chinese characters forgets.
SYMBOLS = r"[\p{S}\u00B2\u00B5\u00BA\u00D8\u014B\u01B1\u3007\x{2B820}-\x{2B91F}]"
SURROGATES = re.compile("[\ud800-\udfff]")
WORD_LENGTH = 16  # characters of the longest word that build_vocabulary takes whole

Encoded = tuple[np.ndarray, np.ndarray]


class Tokenizer:
    """Text to token ids.

    Args:
        tokens: The vocabulary in the order of the ids; holds SPECIAL_TOKENS. Of a token that stands twice the
            later id counts, as in PaddleNLP: ERNIE 3.0's vocabulary has "$" as 12084 and 18005.
        lowercase: Lower case the text and strip its accents.
    """

    def __init__(self, tokens: Sequence[str], lowercase: bool = True) -> None:
        self.tokens, self.lowercase = tuple(tokens), lowercase
        ids = {token: index for index, token in enumerate(self.tokens)}
        special = [ids[token] for token in SPECIAL_TOKENS]
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = special
        # Special tokens are not registered as such: the text "[MASK]" is a bracket, "mask" and a bracket.
        self._backend = tokenizers.Tokenizer(WordPiece(ids, unk_token=UNK, max_input_chars_per_word=100))
        self._backend.normalizer = BertNormalizer(lowercase=lowercase)
        self._backend.pre_tokenizer = _pre_tokenizer()

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return len(self.tokens)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the tokens and the settings: what was tokenised under another one is another text."""
        return hashlib.sha256(json.dumps([self.tokens, self.lowercase]).encode()).hexdigest()

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

    def save(self, folder: Path) -> None:
        """Writes vocab.txt, a token a line, and the settings, for load_tokenizer and for PaddleNLP."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / VOCABULARY_FILE).open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{token}\n" for token in self.tokens)
        (folder / SETTINGS_FILE).write_text(json.dumps({"do_lower_case": self.lowercase}), encoding="utf-8")


def _pre_tokenizer() -> PreTokenizer:
    return Steps([BertPreTokenizer(), Split(Regex(SYMBOLS), "isolated")])


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a vocabulary file, or of a folder that holds vocab.txt.

    A line is a token (BERT), or a token, a tab and its id (ERNIE). Without a tokenizer_config.json beside the
    file, text is lower-cased.

    Raises:
        InputError: file and line of an id out of order, of an empty line or of a second special token; the
            special tokens that are missing.
    """
    file = path / VOCABULARY_FILE if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{file}: no such vocabulary. Give a vocab.txt or a folder that holds one.")
    tokens: list[str] = []
    for number, line in enumerate(_lines(file)):
        token, tab, index = line.partition("\t")
        if not token:
            raise InputError(f"{file}:{number + 1}: the line is empty; a token was due.")
        if tab and index != str(number):
            raise InputError(f"{file}:{number + 1}: {token!r} has id {index!r} where {number} was due. Ids "
                             "run from 0 without a gap, in the order of the lines.")
        if token in SPECIAL_TOKENS and token in tokens:
            raise InputError(f"{file}:{number + 1}: {token} stands in line {tokens.index(token) + 1} too.")
        tokens.append(token)
    missing = [token for token in SPECIAL_TOKENS if token not in tokens]
    if missing:
        raise InputError(f"{file}: lacks the special tokens {', '.join(missing)}. Add each as a line.")
    return Tokenizer(tokens, _lowercase(file.parent / SETTINGS_FILE))


def _lines(file: Path) -> list[str]:
    """The lines of a vocabulary; split at line feeds only, because U+2028 and its like are tokens."""
    try:
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: is not UTF-8 at byte {error.start}; convert it.") from error
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def _lowercase(settings: Path) -> bool:
    if not settings.is_file():
        return True
    try:
        value = json.loads(settings.read_text(encoding="utf-8")).get("do_lower_case", True)
    except (ValueError, AttributeError) as error:
        raise InputError(f"{settings}: is not a JSON object: {error}.") from error
    if not isinstance(value, bool):
        raise InputError(f"{settings}: do_lower_case = {value!r}; write true or false.")
    return value


def build_vocabulary(lines: Iterable[str], vocab_size: int, min_count: int = 2) -> list[str]:
    """A WordPiece vocabulary of a text: special tokens, then the most frequent pieces.

    Pieces are the characters (those of words with their ## forms, so that a word of known characters is never
    unknown) and whole words. Ties go by code point: the same text gives the same vocabulary.

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
