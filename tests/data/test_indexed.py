"""The files of a corpus: equal to PaddleNLP's own, whatever came before, in memory that does not grow."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paddlenlp.data.indexed_dataset import MMapIndexedDatasetBuilder

from ernie_tiny import files
from ernie_tiny.data import corpus, indexed
from ernie_tiny.data.corpus import CorpusStream, build_corpus
from ernie_tiny.data.indexed import IndexedWriter
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from ernie_tiny.files import MANIFEST

WORDS = [f"w{number}" for number in range(450)]
TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *WORDS])
TEXT = "".join(
    f"{' '.join([word] * (1 + number % 9))}\n" + "\n" * (number % 3 == 2) for number, word in enumerate(WORDS)
)
# Of the first 300 batches of TEXT, from when PaddleNLP's builder wrote corpora: runs that began so go on with them.
BATCHES = "8334860ed5eaba1d00221b4471d6769635d40c20b630c19a9784f2fbcc26212d"
KILLED = """
import os, signal, sys
from pathlib import Path
from ernie_tiny.data.corpus import build_corpus
from ernie_tiny.data.indexed import IndexedWriter
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer

def end_document(self, whole=IndexedWriter.end_document):
    whole(self)
    if self.documents == 100:
        os.kill(os.getpid(), signal.SIGKILL)

IndexedWriter.end_document = end_document
build_corpus([Path(sys.argv[1])], Tokenizer([*SPECIAL_TOKENS, *sys.argv[3:]]), Path(sys.argv[2]))
"""


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    return file


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def batches(folder: Path) -> str:
    stream = CorpusStream(folder, 5, 4, 16, TOKENIZER.cls_id, TOKENIZER.sep_id)
    return hashlib.sha256(b"".join(stream.next_batch().input_ids.tobytes() for _ in range(300))).hexdigest()


@settings(max_examples=50, deadline=None)
@given(
    documents=st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=6), min_size=1, max_size=12),
    dtype=st.sampled_from([np.uint16, np.int32]),
    block=st.sampled_from([1, 3, indexed.BLOCK]),
)
def test_the_files_are_those_of_paddlenlps_builder(tmp_path_factory, documents, dtype, block):
    folder = tmp_path_factory.mktemp("files")
    theirs = MMapIndexedDatasetBuilder(f"{folder / 'theirs'}.bin", dtype=dtype)
    draw = np.random.default_rng(len(documents))
    with pytest.MonkeyPatch.context() as patch, IndexedWriter(folder / "ours", dtype) as ours:
        patch.setattr(indexed, "BLOCK", block)
        for sizes in documents:
            for size in sizes:
                ids = draw.integers(0, 2**16, size, np.int32)
                ours.add_item(ids)
                theirs.add_item(ids)
            ours.end_document()
            theirs.end_document()
    theirs.finalize(f"{folder / 'theirs'}.idx")
    found = files_of(folder)
    assert sorted(found) == ["ours.bin", "ours.idx", "theirs.bin", "theirs.idx"]
    assert found["ours.bin"] == found["theirs.bin"]
    assert found["ours.idx"] == found["theirs.idx"]


def test_batches_are_what_they_were(text, tmp_path):
    build_corpus([text], TOKENIZER, tmp_path / "built")
    assert batches(tmp_path / "built") == BATCHES


def test_a_corpus_of_paddlenlps_builder_is_read_as_it_is(text, tmp_path):
    folder = tmp_path / "built"
    build_corpus([text], TOKENIZER, folder)
    builder = MMapIndexedDatasetBuilder(str(folder / "tokens.bin"), dtype=np.uint16)
    for document in TEXT.strip("\n").split("\n\n"):
        for paragraph in document.split("\n"):
            builder.add_item(TOKENIZER.encode(paragraph)[0])
        builder.end_document()
    builder.finalize(str(folder / "tokens.idx"))
    assert batches(folder) == BATCHES


def test_a_build_that_was_killed_starts_anew(text, tmp_path):
    command = [sys.executable, "-c", KILLED, str(text), str(tmp_path / "built"), *WORDS]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / ".built.partial").iterdir()] == ["tokens.bin", "tokens.idx"]
    assert not (tmp_path / "built").exists()
    for folder in ("built", "undisturbed"):
        build_corpus([text], TOKENIZER, tmp_path / folder)
    assert files_of(tmp_path / "built") == files_of(tmp_path / "undisturbed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built", "text.txt", "undisturbed"]


def test_a_corpus_that_was_never_sealed_is_made_anew(text, tmp_path):
    """Earlier versions renamed a corpus before they synced and sealed it."""
    folder = tmp_path / "built"
    build_corpus([text], TOKENIZER, folder)
    whole = files_of(folder)
    (folder / MANIFEST).unlink()
    (folder / "tokens.idx").write_bytes(whole["tokens.idx"][:-100])
    build_corpus([text], TOKENIZER, folder)
    assert files_of(folder) == whole


def test_memory_of_building_does_not_grow_with_the_text(tmp_path, monkeypatch):
    monkeypatch.setattr(indexed, "BLOCK", 100)
    monkeypatch.setattr(corpus, "LINES_AT_ONCE", 100)
    monkeypatch.setattr(files, "seal", lambda folder: None)  # reads what was written by the MB, more than is looked for
    peaks = []
    for paragraphs in (100, 1_000, 4_000):  # the first imports and caches
        source = tmp_path / "text.txt"
        source.write_text("w1 w2\n\n" * paragraphs, encoding="utf-8")
        tracemalloc.start()
        try:
            build_corpus([source], TOKENIZER, tmp_path / str(paragraphs))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[2] < 1.5 * peaks[1], peaks  # an index in memory made it 3.1
