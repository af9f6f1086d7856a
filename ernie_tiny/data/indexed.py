"""Token files as PaddleNLP's MMapIndexedDataset reads them, written in memory that does not grow with them."""

from __future__ import annotations

import shutil
import struct
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Optional, Union

import numpy as np

from ernie_tiny.batch import Array

HEADER = struct.Struct("<9sQBQQ")  # magic, version, type of a token, items, edges of documents
MAGIC, VERSION = b"MMIDIDX\0\0", 1
BLOCK = 1 << 16  # items whose places are computed at once


class IndexedWriter:
    """Writes PREFIX.bin and PREFIX.idx, byte for byte as PaddleNLP's MMapIndexedDatasetBuilder does.

    That one keeps the sizes and places of all items until the end, some 100 bytes an item. Here each goes to the disk
    as it comes: the sizes behind the header of PREFIX.idx, the edges of documents into a file without a name, 8 bytes a
    document, which is copied at the end. The places are then summed up from the sizes, a block at a time.

    Attributes:
        documents, items, tokens: Written so far.
    """

    def __init__(self, prefix: Path, dtype: Union[type[np.uint16], type[np.int32]]) -> None:
        self._dtype, self._prefix = dtype, prefix
        self.documents = self.items = self.tokens = 0
        self._files = ExitStack()

    def __enter__(self) -> IndexedWriter:
        self._tokens = self._files.enter_context(open(f"{self._prefix}.bin", "wb"))
        self._index = self._files.enter_context(open(f"{self._prefix}.idx", "wb"))
        self._edges = self._files.enter_context(TemporaryFile(dir=self._prefix.parent))
        self._index.write(bytes(HEADER.size))
        self._edges.write(np.int64(0).tobytes())
        return self

    def add_item(self, ids: Array) -> None:
        self._tokens.write(ids.astype(self._dtype).tobytes())
        self._index.write(np.int32(len(ids)).tobytes())
        self.items += 1
        self.tokens += len(ids)

    def end_document(self) -> None:
        self._edges.write(np.int64(self.items).tobytes())
        self.documents += 1

    def __exit__(self, kind: Optional[type[BaseException]], error: object, trace: Optional[TracebackType]) -> None:
        with self._files:
            if kind is None:
                self._finish_index()

    def _finish_index(self) -> None:
        from paddlenlp.data.indexed_dataset import code

        self._index.flush()
        with open(self._index.name, "rb") as sizes:
            sizes.seek(HEADER.size)
            start = 0
            for first in range(0, self.items, BLOCK):
                block = np.fromfile(sizes, np.int32, min(BLOCK, self.items - first)).astype(np.int64)
                ends = start + np.cumsum(block * np.dtype(self._dtype).itemsize)
                self._index.write((ends - block * np.dtype(self._dtype).itemsize).tobytes())
                start = int(ends[-1])
        self._edges.seek(0)
        shutil.copyfileobj(self._edges, self._index)
        self._index.seek(0)
        self._index.write(HEADER.pack(MAGIC, VERSION, code(self._dtype), self.items, self.documents + 1))
