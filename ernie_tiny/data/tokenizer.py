"""WordPiece with the vocabularies of ERNIE and BERT, byte-level BPE with RoBERTa's, by the Rust `tokenizers` library.

The rules of WordPiece are those of PaddleNLP's slow ErnieTokenizer and BertTokenizer: control characters out, Chinese
characters, punctuation and symbols apart, lower case, accents stripped, greedy longest pieces of words of at
most 100 characters. No text of CLUE's dev sets comes out otherwise. What can are the 503 marks, signs and
controls that Unicode 9 to 14 added, and unassigned code points: the Rust library takes them for letters.
Byte-level BPE is GPT-2's, in RoBERTa's form (arXiv 1907.11692, 4.4): case is kept and no text is unknown.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Optional

import numpy as np
import tokenizers
from tokenizers import Regex, decoders, pre_tokenizers, processors
from tokenizers.models import BPE, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, PreTokenizer, Split
from tokenizers.pre_tokenizers import Sequence as Steps

from ernie_tiny.errors import InputError

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)
ROBERTA_SPECIAL_TOKENS = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")  # in the order of SPECIAL_TOKENS
VOCABULARY_FILE, SETTINGS_FILE = "vocab.txt", "tokenizer_config.json"
BPE_VOCABULARY_FILE, MERGES_FILE = "vocab.json", "merges.txt"
VOCABULARY_FILES = (BPE_VOCABULARY_FILE, VOCABULARY_FILE)  # a folder with one of them holds a tokenizer

# What PaddleNLP sets apart and BertPreTokenizer does not: symbols such as ℃ ～ ±, six single characters, and
# 256 rare ideographs that the Rust library's table of Chinese characters forgets.
SYMBOLS = r"[\p{S}\u00B2\u00B5\u00BA\u00D8\u014B\u01B1\u3007\x{2B820}-\x{2B91F}]"
SURROGATES = re.compile("[\ud800-\udfff]")
WORD_LENGTH = 16  # characters of the longest word that build_vocabulary takes whole

Encoded = tuple[np.ndarray, np.ndarray]
Merge = tuple[str, str]


class Tokenizer:
    """Text to token ids, by WordPiece.

    Args:
        tokens: The vocabulary in the order of the ids; holds SPECIAL_TOKENS. Of a token that stands twice the
            later id counts, as in PaddleNLP: ERNIE 3.0's vocabulary has "$" as 12084 and 18005.
        lowercase: Lower case the text and strip its accents.
    Attributes:
        pad_id, unk_id, cls_id, sep_id, mask_id: The special tokens' ids.
        separators: How many separators stand between the two texts of a pair.
    """

    separators = 1

    def __init__(self, tokens: Sequence[str], lowercase: bool = True) -> None:
        self.lowercase = lowercase
        ids = self._set_tokens(tokens, SPECIAL_TOKENS)
        # Special tokens are not registered as such: the text "[MASK]" is a bracket, "mask" and a bracket.
        self._backend = tokenizers.Tokenizer(WordPiece(ids, unk_token=UNK, max_input_chars_per_word=100))
        self._backend.normalizer = BertNormalizer(lowercase=lowercase)
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
        return self.lowercase

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

    def keep(self, ids: Sequence[int]) -> Tokenizer:
        """The tokenizer of some of the tokens, in this order; it cuts texts of these tokens alone as before.

        Args:
            ids: The special tokens' are among them.
        """
        return Tokenizer([self.tokens[index] for index in ids], self.lowercase)

    def save(self, folder: Path) -> None:
        """Writes vocab.txt, a token a line, and the settings, for load_tokenizer and for PaddleNLP."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / VOCABULARY_FILE).open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{token}\n" for token in self.tokens)
        (folder / SETTINGS_FILE).write_text(json.dumps({"do_lower_case": self.lowercase}), encoding="utf-8")


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


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _pre_tokenizer() -> PreTokenizer:
    return Steps([BertPreTokenizer(), Split(Regex(SYMBOLS), "isolated")])


def vocabulary_file(path: Path) -> Optional[Path]:
    """The vocabulary at a path, which is its file or a folder that holds one; None where there is none."""
    return next((file for file in (*(path / name for name in VOCABULARY_FILES), path) if file.is_file()), None)


def count_tokens(path: Path) -> Optional[int]:
    """How many tokens a vocabulary holds; None where there is none. Path and errors as of `load_tokenizer`."""
    file = vocabulary_file(path)
    if file is None:
        return None
    return len(_byte_level_tokens(file) if file.suffix == ".json" else _lines(file))


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a vocabulary file, or of a folder that holds one: vocab.txt, or vocab.json with merges.txt.

    A line of vocab.txt is a token (BERT), or a token, a tab and its id (ERNIE). Without a tokenizer_config.json
    beside the file, text is lower-cased. vocab.json maps tokens to ids, and merges.txt beside it has two tokens a
    line (RoBERTa).

    Raises:
        InputError: file and line of an id out of order, of an empty line, of a second special token or of a merge of
            unknown tokens; the special tokens that are missing.
    """
    file = vocabulary_file(path)
    if file is None:
        raise InputError(
            f"{path}: no such vocabulary. Give a vocab.txt, or a vocab.json with merges.txt beside it, or "
            "a folder that holds one."
        )
    if file.suffix == ".json":
        return _load_byte_level(file)
    tokens: list[str] = []
    for number, line in enumerate(_lines(file)):
        token, tab, index = line.partition("\t")
        if not token:
            raise InputError(f"{file}:{number + 1}: the line is empty; a token was due.")
        if tab and index != str(number):
            raise InputError(
                f"{file}:{number + 1}: {token!r} has id {index!r} where {number} was due. Ids "
                "run from 0 without a gap, in the order of the lines."
            )
        if token in SPECIAL_TOKENS and token in tokens:
            raise InputError(f"{file}:{number + 1}: {token} stands in line {tokens.index(token) + 1} too.")
        tokens.append(token)
    _check_special_tokens(file, tokens, SPECIAL_TOKENS)
    return Tokenizer(tokens, _lowercase(file.parent / SETTINGS_FILE))


def _check_special_tokens(file: Path, tokens: Sequence[str], special_tokens: Sequence[str]) -> None:
    missing = [token for token in special_tokens if token not in tokens]
    if missing:
        raise InputError(f"{file}: lacks the special tokens {', '.join(missing)}. Add each as a token.")


def _byte_level_tokens(file: Path) -> list[str]:
    """The tokens of a vocab.json, in the order of their ids."""
    try:
        ids = json.loads("\n".join(_lines(file)))
        tokens = sorted(ids, key=ids.__getitem__)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{file}: is not a JSON object of tokens and their ids: {error}.") from error
    for number, token in enumerate(tokens):
        if ids[token] != number:
            raise InputError(
                f"{file}: {token!r} has id {ids[token]!r} where {number} was due. Ids run from 0 without a gap."
            )
    return tokens


def _load_byte_level(file: Path) -> ByteLevelTokenizer:
    tokens = _byte_level_tokens(file)
    known = set(tokens)
    _check_special_tokens(file, tokens, ROBERTA_SPECIAL_TOKENS)
    merges_file = file.with_name(MERGES_FILE)
    if not merges_file.is_file():
        raise InputError(f"{merges_file}: no such file. Byte-level BPE needs its merges beside {file.name}.")
    merges: list[Merge] = []
    for number, line in enumerate(_lines(merges_file), start=1):
        first, space, second = line.partition(" ")
        if number == 1 and line.startswith("#version"):
            continue
        if not space or not {first, second, first + second} <= known:
            raise InputError(f"{merges_file}:{number}: {line!r} is not two tokens of {file.name} that give a third.")
        merges.append((first, second))
    return ByteLevelTokenizer(tokens, merges)


def _lines(file: Path) -> list[str]:
    """The lines of a vocabulary; split at line feeds only, because U+2028 and its like are tokens."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: is not UTF-8 at byte {error.start}; convert it.") from error
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def _lowercase(settings: Path) -> bool:
    if not settings.is_file():
        return True
    try:
        value = json.loads(settings.read_text(encoding="utf-8")).get("do_lower_case", True)
    except (ValueError, AttributeError, RecursionError) as error:
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
