"""From a vocabulary's files to its tokenizer: vocab.txt, vocab.json with merges.txt, or a tokenizer.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from ernie_tiny.data.byte_level import (
    BPE_VOCABULARY_FILE,
    MERGES_FILE,
    ROBERTA_SPECIAL_TOKENS,
    ByteLevelTokenizer,
    Merge,
)
from ernie_tiny.data.json_tokenizer import (
    JSON_FILE,
    JsonTokenizer,
    is_tokenizer_json,
    load_json_tokenizer,
    make_json_tokenizer,
    read_json,
)
from ernie_tiny.data.sentencepiece_model import SENTENCEPIECE_FILES, SENTENCEPIECE_SUFFIX, tokenizer_json
from ernie_tiny.data.wordpiece import (
    SETTINGS_FILE,
    SPECIAL_TOKENS,
    VOCABULARY_FILE,
    Encoded,
    Tokenizer,
    build_vocabulary,
    rules_of,
)
from ernie_tiny.errors import InputError

__all__ = [
    "ROBERTA_SPECIAL_TOKENS",
    "ByteLevelTokenizer",
    "Encoded",
    "JsonTokenizer",
    "SPECIAL_TOKENS",
    "Tokenizer",
    "build_vocabulary",
    "count_tokens",
    "load_tokenizer",
    "vocabulary_file",
]
# The first of them that a folder holds is read.
VOCABULARY_FILES = (JSON_FILE, BPE_VOCABULARY_FILE, VOCABULARY_FILE, *SENTENCEPIECE_FILES)


def vocabulary_file(path: Path) -> Optional[Path]:
    """The vocabulary at a path, which is its file or a folder that holds one; None where there is none."""
    return next((file for file in (*(path / name for name in VOCABULARY_FILES), path) if file.is_file()), None)


def count_tokens(path: Path) -> Optional[int]:
    """How many tokens a vocabulary holds; None where there is none. Path and errors as of `load_tokenizer`."""
    file = vocabulary_file(path)
    if file is None:
        return None
    if file.suffix == SENTENCEPIECE_SUFFIX or (file.suffix == ".json" and _is_tokenizer_json(file)):
        return load_tokenizer(file).vocab_size
    return len(_byte_level_tokens(file) if file.suffix == ".json" else _lines(file))


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a vocabulary file, or of a folder that holds one.

    It is read from tokenizer.json (Hugging Face), vocab.txt, vocab.json with merges.txt, or a SentencePiece model. A
    line of vocab.txt is a token (BERT), or a token, a tab and its id (ERNIE); without a tokenizer_config.json beside
    the file, text is lower-cased, without accents. vocab.json maps tokens to ids, and merges.txt beside it has two
    tokens a line (RoBERTa).

    Raises:
        InputError: file and line of an id out of order, of an empty line, of a second special token or of a merge of
            unknown tokens; the special tokens that are missing.
    """
    file = vocabulary_file(path)
    if file is None:
        raise InputError(
            f"{path}: no such vocabulary. Give a vocab.txt, or a vocab.json with merges.txt beside it, or "
            "a tokenizer.json, or a folder that holds one of them."
        )
    if file.suffix == ".json" and _is_tokenizer_json(file):
        return load_json_tokenizer(file)
    if file.suffix == SENTENCEPIECE_SUFFIX:
        return make_json_tokenizer(tokenizer_json(file), file)
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
    return Tokenizer(tokens, **_rules(file.parent / SETTINGS_FILE))


def _is_tokenizer_json(file: Path) -> bool:
    return file.name == JSON_FILE or (file.name != BPE_VOCABULARY_FILE and is_tokenizer_json(read_json(file)))


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


def _rules(settings: Path) -> dict[str, Any]:
    """The arguments of Tokenizer by which a tokenizer_config.json has texts cut; none where there is no such file."""
    if not settings.is_file():
        return {}
    try:
        given = dict(json.loads(settings.read_text(encoding="utf-8")).items())
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{settings}: is not a JSON object: {error}.") from error
    names = {"do_lower_case": "lowercase", "strip_accents": "strip_accents", "tokenize_chinese_chars": "split_chinese"}
    return {names[key]: value for key, value in rules_of(given, settings).items()}
