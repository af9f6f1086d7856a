"""General text: tokenised once into a memory-mapped corpus, and an endless stream of packed batches of it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
from tqdm import tqdm

from ernie_tiny.batch import Array, Batch
from ernie_tiny.data.indexed import IndexedWriter
from ernie_tiny.data.records import field_of, json_lines, text_lines
from ernie_tiny.data.tokenizer import Tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json, whole_folder

RECORD_FILE = "corpus.json"
DATASET = "tokens"  # tokens.bin and tokens.idx, as PaddleNLP's MMapIndexedDataset names them
LINES_AT_ONCE = 1000
HELD_OUT_EVERY = 200  # documents, of which the last is held out
FEISTEL_ROUNDS = 4


def build_corpus(files: Sequence[Path], tokenizer: Tokenizer, folder: Path, field: Optional[str] = None) -> None:
    """Writes a folder with the tokens of text files for CorpusStream, in place of what lies there.

    The text has a paragraph a line; a blank line, as the end of a file, ends a document. With a field the files are
    JSON lines, and each line's field is a document. It is read once, line by line, and written as it is read: memory
    does not grow with the text, nor with the number of paragraphs. Paragraphs that are equal are all kept. corpus.json
    records the files by name and size, the tokenizer's fingerprint and the counts. The folder is written under another
    name and renamed when it is whole and sealed; a build that was killed starts anew. That one process builds and the
    others wait is the caller's business.

    Args:
        files: As corpus_files finds them.
    Raises:
        InputError: A file is not UTF-8 (with its line), or there is no text at all; without a field, a file is JSON
            lines.
    """
    with whole_folder(folder) as partial:
        counts = _write_dataset(files, tokenizer, partial / DATASET, field)
        record = {**_source(files, tokenizer, field), **counts}
        (partial / RECORD_FILE).write_text(to_json(record, indent=1), encoding="utf-8")


def corpus_files(root: Path, patterns: Sequence[str], key: str) -> list[Path]:
    """The files that patterns such as corpus/*.txt name below a folder, in order.

    Args:
        key: Where the patterns stand in the config, for the message.
    Raises:
        InputError: A pattern is none or names no file.
    """
    found: dict[Path, Path] = {}  # by what links lead to: a file that two patterns name is read once
    for pattern in patterns:
        if not pattern or Path(pattern).is_absolute():
            raise InputError(f"{key} = {pattern!r}: give a file, or a pattern of files, relative to data.root.")
        try:
            matches = sorted(path for path in root.glob(pattern) if path.is_file())
        except (ValueError, IndexError) as error:  # as in "a**", and for "." an IndexError
            raise InputError(f"{key} = {pattern!r}: is no pattern of files ({error}).") from error
        if not matches:
            folder = f" It is a folder: name its files, as in {pattern}/*.txt." if (root / pattern).is_dir() else ""
            raise InputError(
                f"{key}: no file {pattern!r} below data.root = {root}.{folder} A corpus is text with a paragraph "
                "a line and a blank line between documents."
            )
        for file in matches:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def is_built_from(files: Sequence[Path], tokenizer: Tokenizer, folder: Path, field: Optional[str] = None) -> bool:
    """Whether a folder that build_corpus wrote holds the tokens of files of these names and sizes."""
    record: dict[str, object] = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    return _source(files, tokenizer, field).items() <= record.items() and record.get("field") == field


def _source(files: Sequence[Path], tokenizer: Tokenizer, field: Optional[str]) -> dict[str, Any]:
    return {
        "files": [{"name": file.name, "size": file.stat().st_size} for file in files],
        "tokenizer": tokenizer.fingerprint,
        **({} if field is None else {"field": field}),
    }


def _write_dataset(files: Sequence[Path], tokenizer: Tokenizer, prefix: Path, field: Optional[str]) -> dict[str, int]:
    """Writes prefix.bin and prefix.idx, an item a paragraph, and counts what is in them."""
    in_document = False
    total = sum(file.stat().st_size for file in files)
    progress = tqdm(desc="tokenising", total=total, unit="B", unit_scale=True, mininterval=1.0)
    with progress, IndexedWriter(prefix, np.uint16 if tokenizer.vocab_size <= 2**16 else np.int32) as writer:
        for text, ids in _encode(paragraphs_of(files, field, progress.update), tokenizer):
            if len(ids):
                writer.add_item(ids)
                in_document = True
            elif not text and in_document:
                writer.end_document()
                in_document = False
        if not writer.documents:
            raise InputError(f"{', '.join(map(str, files))}: no text. A corpus is text, a paragraph a line.")
    return {"documents": writer.documents, "paragraphs": writer.items, "tokens": writer.tokens}


def paragraphs_of(
    files: Iterable[Path], field: Optional[str] = None, progress: Callable[[int], object] = lambda _: None
) -> Iterator[str]:
    """The stripped paragraphs of text files, and an empty one at the end of each document.

    Args:
        field: Of JSON lines, that which holds a document's text.
        progress: Called with the number of bytes of each line that is read.
    Raises:
        InputError: A file is not UTF-8; without a field, it begins as JSON does; with one, a line is no JSON object or
            its field holds no text.
    """
    for file in files:
        if field is None:
            yield from _plain_lines(file, progress)
            yield ""
            continue
        for place, record in json_lines(file, progress):
            lines = (line.strip() for line in field_of(record, field, str, place).split("\n"))
            yield from filter(None, lines)  # an empty one would end the document
            yield ""


def check_general_text(files: Iterable[Path], field: Optional[str]) -> None:
    """Raises the InputError of paragraphs_of for the first file that does not begin as general text does."""
    for file in files:
        next(filter(None, paragraphs_of([file], field)), None)


def _plain_lines(file: Path, progress: Callable[[int], object]) -> Iterator[str]:
    begun = False
    for number, line in enumerate(text_lines(file, progress), start=1):
        text = line.strip()
        if text and not begun:
            begun = True
            _check_is_text(text, f"{file}:{number}")
        yield text


def _check_is_text(line: str, place: str) -> None:
    """Refuses JSON by a file's first line: its braces and keys would be learned as text."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = {} if line in ("{", "[") else None  # a document of many lines
    if isinstance(record, list):  # but "[1]" is a footnote
        record = next((item for item in record if isinstance(item, dict)), None)
    if isinstance(record, dict):
        names = [name for name, value in record.items() if isinstance(value, str)]
        likely = max(names, key=lambda name: len(record[name]), default="content")
        raise InputError(
            f"{place}: is JSON, not text. Write one object a line, and name the field that holds the text: "
            f"data.corpora.NAME.field={likely} (of tools/prune_vocabulary.py: --field {likely}). Fields here: "
            f"{', '.join(record) or 'unknown'}."
        )


def _encode(texts: Iterator[str], tokenizer: Tokenizer) -> Iterator[tuple[str, Array]]:
    while chunk := list(islice(texts, LINES_AT_ONCE)):
        for text, (ids, _) in zip(chunk, tokenizer.encode_batch(chunk)):
            yield text, ids


class CorpusStream:
    """An endless stream of batches of general text, each sequence full.

    Documents come in a pseudo-random order, a new one each epoch, that is computed rather than stored. Their
    tokens are laid back to back: a sequence is [CLS], then text with [SEP] behind each document and at its
    end; where a document does not fit it is cut, and the next sequence goes on with it. So the text is a
    function of the seed and of a position: epoch, document in it, token in that, number of the sequence.
    Tokens and index are memory-mapped, and no permutation is kept: memory does not grow with the corpus, nor
    does the time to go to a position.

    Args:
        folder: As build_corpus wrote it.
        seed: Not negative.
        batch_size: Sequences of a *global* batch, that of all processes together.
        max_length: Tokens of every sequence, [CLS] and [SEP] included.
        cls_id, sep_id: The ids of [CLS] and [SEP].
        rank, world_size: This process gets the sequences rank::world_size of each global batch.
        split: "train", or "heldout" for every 200th document, which "train" leaves out.
    Raises:
        InputError: The folder holds no corpus, or too few documents for the split; a batch has no sequence
            for some process; max_length has no room for text.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        batch_size: int,
        max_length: int,
        cls_id: int,
        sep_id: int,
        rank: int = 0,
        world_size: int = 1,
        split: str = "train",
    ) -> None:
        if batch_size < world_size:
            raise InputError(f"batch_size = {batch_size}: {world_size} processes need a sequence each.")
        if max_length < 3:
            raise InputError(f"max_length = {max_length}: [CLS], text and [SEP] need at least 3.")
        self._dataset = _open_dataset(folder)
        self._num_documents = _split_size(len(self._dataset.doc_idx) - 1, split, folder)
        self._split, self._seed = split, seed
        self._batch_size, self._max_length = batch_size, max_length
        self._cls_id, self._sep_id = cls_id, sep_id
        self._rank, self._world_size = rank, world_size
        self._sequence = 0
        self._go_to(epoch=0, document=0, offset=0)

    def next_batch(self) -> Batch:
        """This process's part of the next global batch: task "", ids general-<number of the sequence>."""
        numbers = range(self._sequence, self._sequence + self._batch_size)
        # Every process packs all of them, since where one starts depends on the one before.
        sequences = [self._next_sequence() for _ in numbers]
        own = slice(self._rank, None, self._world_size)
        input_ids = np.stack(sequences[own])
        example_ids = tuple(f"general-{number}" for number in numbers[own])
        return Batch("", example_ids, input_ids, np.zeros_like(input_ids), np.ones_like(input_ids))

    def state_dict(self) -> dict[str, int]:
        """The position, as numbers that JSON can hold; the same in every process."""
        return {
            "epoch": self._epoch,
            "document": self._document,
            "offset": self._offset,
            "sequences": self._sequence,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes to a position.

        Raises:
            InputError: It is a position in another corpus.
        """
        self._sequence = state["sequences"]
        if state["document"] < self._num_documents:
            self._go_to(state["epoch"], state["document"], state["offset"])
        if state["document"] >= self._num_documents or state["offset"] >= self._length:
            raise InputError(
                f"the checkpoint is at token {state['offset']} of document {state['document']}, which this "
                f"corpus ({self._num_documents} {self._split} documents) does not have: its files changed. "
                "Restore them, or delete the stage's folder to start it anew."
            )

    def _go_to(self, epoch: int, document: int, offset: int) -> None:
        self._epoch, self._document, self._offset = epoch, document, offset
        place = permuted(document, self._num_documents, self._seed, epoch)
        number = _heldout_document(place) if self._split == "heldout" else _train_document(place)
        first, last = self._dataset.doc_idx[number : number + 2]
        self._paragraph = int(first)
        self._length = int(self._dataset.sizes[first:last].sum())

    def _next_sequence(self) -> Array:
        sequence = np.full(self._max_length, self._sep_id, np.int64)
        sequence[0] = self._cls_id
        filled, end = 1, self._max_length - 1
        while filled < end:
            taken = min(self._length - self._offset, end - filled)
            # A document's paragraphs lie side by side, so that a read may run on into the next ones.
            sequence[filled : filled + taken], _ = self._dataset.get(self._paragraph, self._offset, taken)
            filled += taken + 1
            self._offset += taken
            if self._offset == self._length:
                wraps = self._document + 1 == self._num_documents
                self._go_to(self._epoch + wraps, 0 if wraps else self._document + 1, 0)
        self._sequence += 1
        return sequence


def permuted(index: int, size: int, seed: int, epoch: int) -> int:
    """The image of `index` under a pseudo-random permutation of range(size), keyed by seed and epoch.

    A Feistel network permutes the smallest power of four that holds `size`; a result outside the range is
    permuted again until it lies inside (cycle walking; Black and Rogaway, "Ciphers with arbitrary finite
    domains", 2002), fewer than four times on average. So an order of any length takes no memory.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for number in range(FEISTEL_ROUNDS):
            digest = hashlib.blake2b(f"{seed}/{epoch}/{number}/{right}".encode(), digest_size=8).digest()
            left, right = right, left ^ (int.from_bytes(digest, "little") & mask)
        index = left << half | right
        if index < size:
            return index


def _open_dataset(folder: Path) -> Any:
    from paddlenlp.data.indexed_dataset import MMapIndexedDataset

    if not (folder / RECORD_FILE).is_file():
        raise InputError(f"{folder}: holds no {RECORD_FILE}, so it is no corpus. build_corpus makes one.")
    with contextlib.redirect_stdout(io.StringIO()):  # PaddleNLP prints about its indexed datasets
        return MMapIndexedDataset(str(folder / DATASET), skip_warmup=True)


def _split_size(num_documents: int, split: str, folder: Path) -> int:
    heldout = num_documents // HELD_OUT_EVERY
    if split == "train":
        return num_documents - heldout
    if not heldout:
        raise InputError(
            f"{folder}: with {num_documents} documents none is held out, as 1 of {HELD_OUT_EVERY} is. Blank "
            "lines part documents: add some, or more text."
        )
    return heldout


def _heldout_document(place: int) -> int:
    return place * HELD_OUT_EVERY + HELD_OUT_EVERY - 1


def _train_document(place: int) -> int:
    return place + place // (HELD_OUT_EVERY - 1)
