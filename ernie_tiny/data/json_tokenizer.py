"""Tokenizers as Hugging Face's folders bring them: a tokenizer.json, read by the Rust library that wrote it.

It may be WordPiece, BPE or Unigram (SentencePiece, as of XLM-R) with any normalisation. Special tokens, how a pair is
formed and which token type its second text has are the folder's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tokenizers
from tokenizers import decoders

from ernie_tiny.batch import Array
from ernie_tiny.data.byte_level import ROBERTA_SPECIAL_TOKENS, Merge, joined, merges_of, with_parts_of_merges
from ernie_tiny.data.wordpiece import SETTINGS_FILE, SPECIAL_TOKENS, Encoded, Tokenizer, rules_of
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json

JSON_FILE, SPECIAL_TOKENS_FILE = "tokenizer.json", "special_tokens_map.json"
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")  # in the order of SPECIAL_TOKENS
SPACE = "▁"  # stands for a space in SentencePiece's tokens
UNUSUAL = "a\ue000"  # a text that holds a character which no vocabulary has
PIECES = ("WordPiece", "BPE", "Unigram")
# Keys of tokenizer_config.json to those of a BertNormalizer; the class of transformers that does not look at them.
RULES = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
PLAIN_CLASS = "PreTrainedTokenizerFast"


class JsonTokenizer(Tokenizer):
    """Text to token ids as a tokenizer.json says.

    Special tokens in a text are none here, as for the other tokenizers: "</s>" is no separator but unknown. Offsets are
    the library's: a token that begins with a space covers it.

    Args:
        backend: As `read_backend` gives it.
        special_tokens: Those of ROLES.
    Raises:
        ValueError: ids have gaps, or pairs are formed in a way that no model here reads.
    """

    def __init__(self, backend: tokenizers.Tokenizer, special_tokens: Sequence[str]) -> None:
        self._backend = backend
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = True
        ids = self._backend.get_vocab(with_added_tokens=True)
        tokens = sorted(ids, key=ids.__getitem__)
        if [ids[token] for token in tokens] != list(range(len(tokens))):
            raise ValueError("its ids do not run from 0 without a gap")
        self._set_tokens(tokens, special_tokens)
        self.special_tokens = tuple(special_tokens)
        self._model = type(self._backend.model).__name__
        self._read_template()

    def _read_template(self) -> None:
        """How a pair is formed, read off one."""
        try:
            pair = self._backend.encode("a", UNUSUAL)
        except Exception as error:  # what the library raises has no class of its own
            raise ValueError(f"the library `tokenizers` cannot cut a text with it: {error}") from None
        first, second = ([column for column, of in enumerate(pair.sequence_ids) if of == number] for number in (0, 1))
        if not first or not second:
            raise ValueError("its model has no unk_token, so that it drops what is not in its vocabulary; name one")
        if len(first) == len(pair.ids) - len(second):  # no template: no special tokens at all
            return
        between = pair.ids[first[-1] + 1 : second[0]]
        around = (pair.ids[: first[0]], pair.ids[second[-1] + 1 :])
        types = {kind for column, kind in enumerate(pair.type_ids) if column < second[0]}
        if around != ([self.cls_id], [self.sep_id]) or set(between) != {self.sep_id} or types != {0}:
            raise ValueError(
                f"it forms a pair as {' '.join(pair.tokens)} with the types {pair.type_ids}; what can be read is "
                "CLS a SEP b SEP, with one separator or two between the texts, and type 0 up to the second"
            )
        self.separators, self.second_type = len(between), pair.type_ids[second[0]]

    @property
    def _settings(self) -> object:
        content = json.loads(self._backend.to_str())
        vocabulary = content["model"].pop("vocab")  # the tokens are counted without it; Unigram's scores matter too
        return [content, self.special_tokens, [score for _, score in vocabulary] if self._model == "Unigram" else []]

    def encode_batch(self, texts: Sequence[str]) -> list[Encoded]:
        """As Tokenizer.encode_batch."""
        # Unigram has its special tokens among its pieces, and finds them in texts.
        controls = [index for index in self.special_ids if index != self.unk_id]
        return [
            (np.where(np.isin(ids, controls), self.unk_id, ids).astype(np.int32), offsets)
            for ids, offsets in super().encode_batch(texts)
        ]

    @cached_property
    def _blank(self) -> Array:
        """Which tokens spell nothing but spaces, as "▁" does."""
        return np.array([self._model != "WordPiece" and not self._surface(token).strip() for token in self.tokens])

    def cover(self, text: str, ids: Array, offsets: Array) -> Array:
        """As Tokenizer.cover; a token of spaces alone covers nothing, where the library gives it a character."""
        space = np.array([character.isspace() for character in text], bool)
        places = np.arange(len(text))
        following = np.minimum.accumulate(np.where(space, len(text), places)[::-1])[::-1]
        before = np.maximum.accumulate(np.where(space, -1, places))
        starts, ends = offsets.T
        real = ends > starts  # a token of what normalisation adds has no characters
        covered: Array = offsets.astype(np.int32)
        first, last = covered.T
        first[real] = np.minimum(following[starts[real]], ends[real])
        last[real] = np.maximum(before[ends[real] - 1] + 1, first[real])
        last[self._blank[ids]] = first[self._blank[ids]]
        return covered

    def spell(self, ids: Sequence[int]) -> tuple[str, list[int]]:
        """As Tokenizer.spell; a token begins at its word's first character, not at the space before it."""
        if self._model == "WordPiece":
            return super().spell(ids)
        return joined(["\n" if token in self.special_ids else self._surface(self.tokens[token]) for token in ids])

    def _surface(self, token: str) -> str:
        if isinstance(self._backend.decoder, decoders.ByteLevel):
            return str(self._backend.decoder.decode([token]))
        return token.replace(SPACE, " ")

    def with_parts(self, ids: Sequence[int]) -> list[int]:
        """As Tokenizer.with_parts: of BPE the parts of merges (byte_level.with_parts_of_merges)."""
        return with_parts_of_merges(ids, self.tokens, self._merges()) if self._model == "BPE" else sorted(ids)

    def _merges(self) -> list[Merge]:
        merges = json.loads(self._backend.to_str())["model"]["merges"]
        return [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in merges]

    def keep(self, ids: Sequence[int]) -> JsonTokenizer:
        """As Tokenizer.keep.

        Args:
            ids: As with_parts gives them, the special tokens' among them.
        """
        content = json.loads(self._backend.to_str())
        new = {self.tokens[old]: place for place, old in enumerate(ids)}
        model = content["model"]
        if self._model == "Unigram":
            scores = dict(map(tuple, model["vocab"]))
            model["vocab"] = [[token, scores[token]] for token in new if token in scores]
            model["unk_id"] = new[self.tokens[self.unk_id]]
        else:
            model["vocab"] = {token: place for token, place in new.items() if token in model["vocab"]}
        if self._model == "BPE":
            model["merges"] = merges_of(list(new), self._merges())
        added = [item for item in content["added_tokens"] if item["content"] in new]
        content["added_tokens"] = sorted(
            ({**item, "id": new[item["content"]]} for item in added), key=lambda item: item["id"]
        )
        content["post_processor"] = _renumbered(content["post_processor"], new)
        return JsonTokenizer(read_backend(to_json(content)), self.special_tokens)

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json and the names of the special tokens, for load_tokenizer and for transformers."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / JSON_FILE).write_text(self._backend.to_str(), encoding="utf-8")
        names = to_json(dict(zip(ROLES, self.special_tokens)))
        (folder / SPECIAL_TOKENS_FILE).write_text(names, encoding="utf-8")


def _renumbered(part: Any, ids: Mapping[str, int]) -> Any:
    """A post-processor with the new ids of its special tokens, wherever it names them."""
    if isinstance(part, list):
        if len(part) == 2 and isinstance(part[0], str) and isinstance(part[1], int):  # BertProcessing: ["[SEP]", 102]
            return [part[0], ids.get(part[0], part[1])]
        return [_renumbered(item, ids) for item in part]
    if not isinstance(part, dict):
        return part
    if "ids" in part and "tokens" in part:  # TemplateProcessing
        return {**part, "ids": [ids[token] for token in part["tokens"]]}
    return {key: _renumbered(value, ids) for key, value in part.items()}


def is_tokenizer_json(content: Any) -> bool:
    """Whether the content of a JSON file is a tokenizer.json's, and not a vocab.json's."""
    return isinstance(content, dict) and isinstance(content.get("model"), dict)


def read_backend(description: str) -> tokenizers.Tokenizer:
    """The library's tokenizer of the content of a tokenizer.json; a ValueError where it cannot read it."""
    try:
        return tokenizers.Tokenizer.from_str(description)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # on some damaged files the library panics, which is no Exception
        raise ValueError(f"the library `tokenizers` cannot read it: {error}") from None


def load_json_tokenizer(file: Path) -> JsonTokenizer:
    """The tokenizer of a tokenizer.json; the files beside it name its special tokens and BERT's rules.

    Raises:
        InputError: it is damaged, forms pairs as no model here reads them, or lacks a special token.
    """
    content = read_json(file)
    if not is_tokenizer_json(content) or content["model"].get("type", PIECES[0]) not in PIECES:
        raise InputError(
            f"{file}: describes no tokenizer of {', '.join(PIECES)}. Copy it from where the model is from."
        )
    normalizer = content.get("normalizer")
    if isinstance(normalizer, dict) and normalizer.get("type") == "BertNormalizer":
        content["normalizer"] = {**normalizer, **_rules_beside(file)}
    return make_json_tokenizer(to_json(content), file)


def _rules_beside(file: Path) -> dict[str, Optional[bool]]:
    """Values of a BertNormalizer that tokenizer_config.json gives: with them transformers makes it anew."""
    settings = _settings_beside(file.with_name(SETTINGS_FILE))
    if settings.get("tokenizer_class") == PLAIN_CLASS:
        return {}
    return {RULES[key]: value for key, value in rules_of(settings, file.with_name(SETTINGS_FILE)).items()}


def make_json_tokenizer(description: str, file: Path) -> JsonTokenizer:
    """The tokenizer of a description that was read from a file, or made of it; errors as of load_json_tokenizer."""
    try:
        backend = read_backend(description)
        return JsonTokenizer(backend, _special_tokens(file, backend))
    except ValueError as error:
        raise InputError(f"{file}: cannot be used: {error}.") from None


def _special_tokens(file: Path, backend: tokenizers.Tokenizer) -> list[str]:
    """The special tokens by their roles: as the files beside say, else BERT's or RoBERTa's, whichever are there."""
    sets = (SPECIAL_TOKENS, ROBERTA_SPECIAL_TOKENS)
    usual = next((names for names in sets if all(backend.token_to_id(name) is not None for name in names)), None)
    found = dict(zip(ROLES, usual or ())) | _named_special_tokens(file)
    missing = [found.get(role, role) for role in ROLES if backend.token_to_id(found.get(role, "")) is None]
    if missing:
        raise InputError(
            f"{file}: lacks the special tokens {', '.join(missing)}. Each is a token of the vocabulary, and "
            f'{SPECIAL_TOKENS_FILE} beside it names it, as in {{"mask_token": "<mask>"}}.'
        )
    return [found[role] for role in ROLES]


def _named_special_tokens(file: Path) -> dict[str, str]:
    """Role to token, as the files beside a vocabulary name them."""
    named: dict[str, str] = {}
    for beside in (file.with_name(SETTINGS_FILE), file.with_name(SPECIAL_TOKENS_FILE)):
        content = _settings_beside(beside)
        for role in ROLES:
            token = content.get(role)
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str):
                named[role] = token
    return named


def _settings_beside(file: Path) -> dict[str, Any]:
    content = read_json(file) if file.is_file() else {}
    if not isinstance(content, dict):
        raise InputError(f"{file}: holds no mapping of names to tokens.")
    return content


def read_json(file: Path) -> Any:
    """The content of a JSON file, or an InputError that names it."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: is not JSON ({error}). Copy it from where the model is from.") from error
