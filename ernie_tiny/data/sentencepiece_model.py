"""SentencePiece's own files (sentencepiece.bpe.model, spiece.model) as the tokenizer.json that says the same."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from ernie_tiny.errors import InputError

XLMR_FILE = "sentencepiece.bpe.model"  # so called, and Unigram all the same
SENTENCEPIECE_FILES, SENTENCEPIECE_SUFFIX = (XLMR_FILE, "spiece.model"), ".model"
XLMR_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")  # fairseq's, in front of the file's own pieces
UNIGRAM = 1  # trainer_spec.model_type
NORMAL, UNKNOWN = 1, 2  # a piece's type
FIXED = {1: 8, 5: 4}  # forms of protobuf's fields to their bytes


def tokenizer_json(file: Path) -> str:
    """The content of the tokenizer.json for a file of SENTENCEPIECE_FILES.

    XLM-R's ids are fairseq's: <s>, <pad>, </s>, <unk>, the file's pieces behind its own three special ones, <mask>; a
    pair has two separators. Ids of a spiece.model are the file's own, and a pair is [CLS] a [SEP] b [SEP].

    Raises:
        InputError: it is damaged, or no Unigram model.
    """
    model = _parsed(file)
    if model.model_type != UNIGRAM:
        raise InputError(
            f"{file}: is a model of BPE, of which the pieces alone do not tell how texts are cut. Save the tokenizer "
            "with transformers, which writes a tokenizer.json beside it."
        )
    pieces = [(piece, score) for piece, score, _ in model.pieces]
    special: tuple[str, ...]
    if file.name == XLMR_FILE:
        vocabulary = [*((token, 0.0) for token in XLMR_TOKENS), *pieces[3:]]
        special, unknown, template = (*XLMR_TOKENS, "<mask>"), 3, ("<s> $A </s>", "<s> $A </s> </s> $B:0 </s>:0")
    else:
        kinds = [kind for _, _, kind in model.pieces]
        vocabulary, unknown = pieces, kinds.index(UNKNOWN)
        special = tuple(piece for piece, _, kind in model.pieces if kind != NORMAL)
        template = ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    try:
        return _described(file, vocabulary, unknown, special, template, model)
    except InputError:
        raise
    except Exception as error:  # what the library raises has no class of its own
        raise InputError(f"{file}: cannot be read by the library `tokenizers`: {error}. Copy it again.") from error


@dataclass(frozen=True)
class _Model:
    """What is read of a ModelProto: pieces with scores and types, the type of the model, and the normalisation."""

    pieces: list[tuple[str, float, int]]
    model_type: int
    charsmap: bytes
    dummy_prefix: bool


def _parsed(file: Path) -> _Model:
    """By hand, since the package's own class for the file needs a newer protobuf than VisualDL bears."""
    try:
        fields = list(_fields(file.read_bytes()))
        parts = [dict(_fields(value)) for number, value in fields if number == 1]
        trainer, normalizer = (dict(_fields(dict(fields)[number])) for number in (2, 3))
        pieces = [
            (part[1].decode(), struct.unpack("<f", part[2])[0] if 2 in part else 0.0, part.get(3, NORMAL))
            for part in parts
        ]
        if not all(isinstance(kind, int) for _, _, kind in pieces) or UNKNOWN not in {kind for _, _, kind in pieces}:
            raise ValueError("no piece for what is unknown")
        return _Model(pieces, trainer.get(3, UNIGRAM), normalizer.get(2, b""), bool(normalizer.get(3, 1)))
    except (ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise InputError(f"{file}: is cut off or no model of SentencePiece ({error}). Copy it again.") from error


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protobuf message: numbers, and bytes for all else (protobuf.dev)."""
    at = 0

    def number() -> int:
        nonlocal at
        found = shift = 0
        while True:
            byte = data[at]
            at, found, shift = at + 1, found | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return found

    while at < len(data):
        key = number()
        form = key & 7
        if form == 0:
            yield key >> 3, number()
            continue
        if form not in FIXED and form != 2:
            raise ValueError(f"a field of the form {form}")
        length = FIXED[form] if form in FIXED else number()
        if at + length > len(data):
            raise ValueError("it ends within a field")
        at += length
        yield key >> 3, data[at - length : at]


def _described(
    file: Path,
    vocabulary: Sequence[tuple[str, float]],
    unknown: int,
    special: Sequence[str],
    template: tuple[str, str],
    model: _Model,
) -> str:
    backend = Tokenizer(Unigram(list(vocabulary), unk_id=unknown))
    steps: list[Any] = [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    if model.charsmap:
        steps.insert(0, normalizers.Precompiled(model.charsmap))
    backend.normalizer = normalizers.Sequence(steps)
    scheme = "always" if model.dummy_prefix else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    backend.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    ends = [(token, backend.token_to_id(token)) for token in (template[0].split()[0], template[0].split()[-1])]
    if any(number is None for _, number in ends):
        raise InputError(
            f"{file}: lacks the special tokens {ends[0][0]} and {ends[1][0]}, with which texts begin and end."
        )
    backend.post_processor = processors.TemplateProcessing(*template, ends)
    return str(backend.to_str())
