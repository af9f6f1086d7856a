"""The corpus on disk, the order of its documents, packing, processes, resumption and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paddlenlp.data.indexed_dataset import MMapIndexedDataset

from ernie_tiny.batch import Batch
from ernie_tiny.data.corpus import (
    CorpusStream,
    build_corpus,
    check_general_text,
    corpus_files,
    is_built_from,
    paragraphs_of,
    permuted,
)
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer, build_vocabulary
from ernie_tiny.errors import InputError

DOCUMENTS, LENGTH = 450, 16
WORDS = [f"w{number}" for number in range(DOCUMENTS)]
TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *WORDS, "中", "文"])
FIRST = len(SPECIAL_TOKENS)  # document i repeats the word of id FIRST + i
DATA = os.environ.get("ERNIE_TINY_DATA")

MEASURE = """
import json, re, sys, tracemalloc
from pathlib import Path
from ernie_tiny.runtime import prepare
prepare("cpu")
import paddlenlp.data.indexed_dataset
from ernie_tiny.data.corpus import CorpusStream

def anonymous_memory():  # without the pages of mapped files, which the system takes back when it needs them
    return int(re.search(r"RssAnon:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024

tracemalloc.start()
before = anonymous_memory()
stream = CorpusStream(Path(sys.argv[1]), 0, 32, 128, 2, 3, 0)
tokens = sum(stream.next_batch().num_tokens for _ in range(25))
print(json.dumps([tokens, tracemalloc.get_traced_memory()[1], anonymous_memory() - before]))
"""


def document_length(number: int) -> int:
    return 1 + number * 7 % 40


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8"))
    return path


def build(folder: Path, text: str) -> MMapIndexedDataset:
    build_corpus([write(folder.with_suffix(".txt"), text)], TOKENIZER, folder)
    return MMapIndexedDataset(str(folder / "tokens"), skip_warmup=True)


def spelled(dataset: MMapIndexedDataset) -> list[list[str]]:
    """The documents' paragraphs."""
    edges = dataset.doc_idx.tolist()
    texts = [" ".join(TOKENIZER.tokens[token] for token in dataset[item]) for item in range(len(dataset))]
    return [texts[start:end] for start, end in zip(edges, edges[1:])]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    text = ""
    for number, word in enumerate(WORDS):  # a paragraph holds at most ten tokens
        words = [word] * document_length(number)
        for start in range(0, len(words), 10):
            text += " ".join(words[start : start + 10]) + "\n"
        text += "\n"
    build_corpus([write(folder / "text.txt", text)], TOKENIZER, folder / "built")
    return folder / "built"


def stream(folder: Path, seed: int = 5, batch_size: int = 4, **options) -> CorpusStream:
    ids = TOKENIZER.cls_id, TOKENIZER.sep_id
    return CorpusStream(folder, seed, batch_size, LENGTH, *ids, **options)


def contents(batch: Batch) -> tuple:
    return batch.example_ids, batch.input_ids.tolist()


def take(source: CorpusStream, count: int) -> list[tuple]:
    return [contents(source.next_batch()) for _ in range(count)]


def documents_of(source: CorpusStream, count: int) -> list[int]:
    """The documents of a stream's first tokens, each token's one by one."""
    tokens: list[int] = []
    while len(tokens) < count:
        ids = source.next_batch().input_ids
        tokens.extend((ids[ids >= FIRST] - FIRST).tolist())
    return tokens[:count]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 63, 64, 65, 1000])
def test_the_permutation_is_a_bijection(size):
    assert sorted(permuted(index, size, seed=1, epoch=2) for index in range(size)) == list(range(size))


def test_the_permutation_changes_with_seed_and_epoch_and_looks_random():
    size = 2000
    orders = [np.array([permuted(i, size, *key) for i in range(size)]) for key in [(0, 0), (0, 1), (1, 0)]]
    for order in orders:
        assert abs(np.corrcoef(order, np.arange(size))[0, 1]) < 0.1
        assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.1
        assert (order == np.arange(size)).sum() < 10
    assert abs(np.corrcoef(orders)[np.triu_indices(3, 1)]).max() < 0.1


def test_the_permutation_of_many_is_not_stored():
    size = 10**12
    images = {permuted(index, size, 0, 0) for index in range(100)}
    assert len(images) == 100 and max(images) < size


def test_paragraphs_and_documents_are_kept(tmp_path):
    text = "\ufeffw1 w2\r\n 中文 \n\n\n \t\nw3\u2028w4\n\x01\nw5\n"
    dataset = build(tmp_path / "built", text)
    assert spelled(dataset) == [["w1 w2", "中 文"], ["w3 w4", "w5"]]
    assert dataset[0].dtype == np.uint16


def test_a_file_ends_a_document(tmp_path):
    files = [write(tmp_path / "a.txt", "w1\nw2"), write(tmp_path / "b.txt", "\nw3")]
    build_corpus(files, TOKENIZER, tmp_path / "built")
    assert spelled(MMapIndexedDataset(str(tmp_path / "built" / "tokens"))) == [["w1", "w2"], ["w3"]]
    assert json.loads((tmp_path / "built" / "corpus.json").read_text()) == {
        "files": [{"name": "a.txt", "size": 5}, {"name": "b.txt", "size": 3}],
        "tokenizer": TOKENIZER.fingerprint,
        "documents": 2,
        "paragraphs": 3,
        "tokens": 3,
    }


def test_a_field_of_json_lines_is_read_as_the_same_text_in_a_text_file(tmp_path):
    texts = ["w1 w2\nw3", "w4"]
    plain = build(tmp_path / "plain", "\n\n".join(texts))
    records = "".join(json.dumps({"title": "w9", "content": text}) + "\n" for text in texts)
    build_corpus([write(tmp_path / "a.jsonl", records)], TOKENIZER, tmp_path / "json", "content")
    found = MMapIndexedDataset(str(tmp_path / "json" / "tokens"), skip_warmup=True)
    assert [item.tolist() for item in found] == [item.tolist() for item in plain]
    assert list(found.doc_idx) == list(plain.doc_idx)


def test_a_record_with_blank_lines_is_one_document(tmp_path):
    records = "".join(json.dumps({"text": text}) + "\n" for text in ("\nw1\n\n \nw2 w3\n\n", "", "w4"))
    files = [write(tmp_path / "a.jsonl", records)]
    assert list(paragraphs_of(files, "text")) == ["w1", "w2 w3", "", "", "w4", ""]
    build_corpus(files, TOKENIZER, tmp_path / "built", "text")
    assert spelled(MMapIndexedDataset(str(tmp_path / "built" / "tokens"))) == [["w1", "w2 w3"], ["w4"]]


def test_a_corpus_is_of_its_field(tmp_path):
    files = [write(tmp_path / "a.jsonl", json.dumps({"title": "w9", "content": "w1"}))]
    build_corpus(files, TOKENIZER, tmp_path / "corpus", "content")
    assert is_built_from(files, TOKENIZER, tmp_path / "corpus", "content")
    assert not is_built_from(files, TOKENIZER, tmp_path / "corpus", "title")
    assert not is_built_from(files, TOKENIZER, tmp_path / "corpus")


@pytest.mark.parametrize(
    "text",
    [
        '{"text": "w1"}\n{"text": "w2"}',
        '\n\n{"text": "w1"}',
        '[{"text": "w1"}]',
        '{\n "text": "w1"\n}',
        '[\n{"text": 1}]',
    ],
)
def test_json_is_no_general_text(tmp_path, text):
    good = write(tmp_path / "good.txt", "w1")
    bad = write(tmp_path / "bad.txt", text)
    with pytest.raises(InputError, match=r"bad\.txt:\d: is JSON, not text\..*data\.corpora\.NAME\.field="):
        build_corpus([good, bad], TOKENIZER, tmp_path / "corpus")
    with pytest.raises(InputError, match=r"bad\.txt:\d: is JSON, not text"):
        check_general_text([good, bad], None)


@pytest.mark.parametrize("text", ["[1]", "[1] w1\n{}", "123", '"w1"', "{w1}", "null"])
def test_text_that_only_looks_like_json_is_text(tmp_path, text):
    check_general_text([write(tmp_path / "a.txt", text)], None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"text": "w1"}\n{"text": null}', r"a\.jsonl:2: 'text' is not text: null"),
        ('{"title": "w1"}', r"a\.jsonl:1: no field 'text'. Fields here: title"),
        ("w1", r"a\.jsonl:1: is not JSON"),
    ],
)
def test_faults_of_json_lines_have_a_place(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        build_corpus([write(tmp_path / "a.jsonl", text)], TOKENIZER, tmp_path / "corpus", "text")


def test_a_file_that_two_patterns_match_is_read_once(tmp_path):
    first, second = write(tmp_path / "a.txt", "w1"), write(tmp_path / "b.txt", "w2")
    (tmp_path / "link.txt").symlink_to("b.txt")
    assert corpus_files(tmp_path, ["a.txt", "*.txt", "./a.txt"], "key") == [first, second]


def test_a_corpus_is_of_its_files_and_the_tokenizer_and_is_made_anew_in_its_place(tmp_path):
    source, folder = write(tmp_path / "text.txt", "w1 w2\n"), tmp_path / "built"
    build_corpus([source], TOKENIZER, folder)
    assert is_built_from([source], TOKENIZER, folder)
    assert not is_built_from([source], Tokenizer([*SPECIAL_TOKENS, "w1", "w2", "w3"]), folder)
    write(source, "w1 w2 w3\n")
    assert not is_built_from([source], TOKENIZER, folder)
    build_corpus([source], TOKENIZER, folder)
    assert spelled(MMapIndexedDataset(str(folder / "tokens"), skip_warmup=True)) == [["w1 w2 w3"]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built", "text.txt"]


def test_building_writes_to_standard_error_alone(tmp_path, capsys):
    build_corpus([write(tmp_path / "text.txt", "w1\n")], TOKENIZER, tmp_path / "built")
    stream(tmp_path / "built").next_batch()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "tokenising: 100%" in captured.err


def test_a_build_that_failed_leaves_nothing_in_the_way(tmp_path):
    source, folder = tmp_path / "text.txt", tmp_path / "built"
    source.write_bytes(b"w1\n\nw2 \xff\n")
    with pytest.raises(InputError, match=r"text\.txt:3: is not UTF-8"):
        build_corpus([source], TOKENIZER, folder)
    assert not folder.exists()
    write(source, "w1\n")
    build_corpus([source], TOKENIZER, folder)
    assert spelled(MMapIndexedDataset(str(folder / "tokens"), skip_warmup=True)) == [["w1"]]


def test_files_without_text(tmp_path):
    with pytest.raises(InputError, match=r"empty\.txt: no text"):
        build_corpus([write(tmp_path / "empty.txt", "\n \n")], TOKENIZER, tmp_path / "built")


def test_sequences_are_full_and_documents_go_on_in_the_next(tmp_path):
    build(tmp_path / "built", "w0 w1 w2 w3\nw4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15\n")
    source = stream(tmp_path / "built", batch_size=3)
    batch = source.next_batch()
    w = [FIRST + number for number in range(16)]
    cls, sep = TOKENIZER.cls_id, TOKENIZER.sep_id
    assert batch.input_ids.tolist() == [
        [cls, *w[:14], sep],
        [cls, *w[14:], sep, *w[:11], sep],
        [cls, *w[11:], sep, *w[:8], sep],
    ]
    assert batch.example_ids == ("general-0", "general-1", "general-2")
    assert batch.task == "" and batch.labels is None
    assert not batch.token_type_ids.any() and batch.attention_mask.all()
    assert batch.input_ids.dtype == batch.attention_mask.dtype == np.int64
    assert source.state_dict() == {"epoch": 2, "document": 0, "offset": 8, "sequences": 3}


def test_a_place_too_small_for_text_holds_a_separator(tmp_path):
    build(tmp_path / "built", " ".join(["w0"] * 13) + "\n")
    sequence = [TOKENIZER.cls_id, *13 * [FIRST], TOKENIZER.sep_id, TOKENIZER.sep_id]
    assert stream(tmp_path / "built").next_batch().input_ids.tolist() == 4 * [sequence]


def test_every_document_comes_once_an_epoch_and_whole(corpus):
    train = [number for number in range(DOCUMENTS) if number % 200 != 199]
    size = sum(map(document_length, train))
    tokens = documents_of(stream(corpus), 2 * size)
    epochs = tokens[:size], tokens[size:]
    for epoch in epochs:
        assert Counter(epoch) == {number: document_length(number) for number in train}
        assert 1 + sum(a != b for a, b in zip(epoch, epoch[1:])) == len(train)  # none is torn apart
    assert epochs[0] != epochs[1]


def test_every_200th_document_is_held_out(corpus):
    size = document_length(199) + document_length(399)
    assert Counter(documents_of(stream(corpus, split="heldout"), size)) == {
        199: document_length(199),
        399: document_length(399),
    }


def test_the_order_depends_on_the_seed(corpus):
    assert take(stream(corpus, seed=5), 5) == take(stream(corpus, seed=5), 5)
    assert take(stream(corpus, seed=5), 5) != take(stream(corpus, seed=6), 5)


@settings(max_examples=25, deadline=None)
@given(position=st.integers(0, 400), split=st.sampled_from(["train", "heldout"]))
def test_resuming_anywhere_equals_going_on(corpus, position, split):
    undisturbed = stream(corpus, split=split)
    take(undisturbed, position)
    state = json.loads(json.dumps(undisturbed.state_dict()))
    resumed = stream(corpus, split=split)
    take(resumed, 3)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == undisturbed.state_dict()
    assert take(resumed, 8) == take(undisturbed, 8)


def test_a_position_far_away_needs_no_replay(corpus):
    source = stream(corpus)
    source.load_state_dict({"epoch": 10**9, "document": 17, "offset": 0, "sequences": 10**12})
    assert source.next_batch().example_ids[0] == f"general-{10**12}"


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_part_the_global_batch_between_them(corpus, world_size):
    alone = stream(corpus)
    ranks = [stream(corpus, rank=rank, world_size=world_size) for rank in range(world_size)]
    for _ in range(30):
        whole, parts = alone.next_batch(), [rank.next_batch() for rank in ranks]
        for rank, part in enumerate(parts):
            assert part.example_ids == whole.example_ids[rank::world_size]
            assert part.input_ids.tolist() == whole.input_ids[rank::world_size].tolist()
        assert all(rank.state_dict() == alone.state_dict() for rank in ranks)


def test_faults_of_streams(corpus, tmp_path):
    with pytest.raises(InputError, match="batch_size = 4: 5 processes"):
        stream(corpus, world_size=5)
    with pytest.raises(InputError, match="max_length = 2"):
        CorpusStream(corpus, 0, 4, 2, 2, 3, 0)
    with pytest.raises(InputError, match=r"holds no corpus\.json"):
        stream(tmp_path)
    build(tmp_path / "built", "w1\n\nw2\n")
    with pytest.raises(InputError, match="with 2 documents none is held out"):
        stream(tmp_path / "built", split="heldout")
    for state in ({"document": 2, "offset": 0}, {"document": 1, "offset": 1}):
        with pytest.raises(InputError, match=f"token {state['offset']} of document {state['document']}"):
            stream(tmp_path / "built").load_state_dict({"epoch": 0, "sequences": 0, **state})


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory as Linux shows it")
def test_memory_does_not_grow_with_the_corpus(tmp_path):
    used = {}
    for paragraphs in (2_000, 200_000):
        dataset = tmp_path / str(paragraphs)
        text = "".join("w1 w2 w3 w4 w5 w6 w7 w8\n" + "\n" * (number % 2) for number in range(paragraphs))
        build_corpus([write(tmp_path / "text.txt", text)], TOKENIZER, dataset)
        command = [sys.executable, "-c", MEASURE, str(dataset)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        used[paragraphs] = json.loads(done.stdout)
    (tokens, python, anonymous), (tokens_large, python_large, anonymous_large) = used.values()
    assert tokens == tokens_large == 25 * 32 * 128
    index = 198_000 * 12 + 99_000 * 8  # bytes that the larger one adds to sizes, pointers and document index
    assert python_large - python < index / 20
    assert anonymous_large - anonymous < index / 2


@pytest.mark.skipif(DATA is None, reason="set ERNIE_TINY_DATA to the data root to read real text")
def test_real_text(tmp_path):
    source = Path(str(DATA)) / "corpus" / "boson_news_sample.txt"
    lines = source.read_text(encoding="utf-8").splitlines()
    tokenizer = Tokenizer(build_vocabulary(lines, 8000))
    build_corpus([source], tokenizer, tmp_path / "built")
    record = json.loads((tmp_path / "built" / "corpus.json").read_text())
    ids = tokenizer.cls_id, tokenizer.sep_id
    batch = CorpusStream(tmp_path / "built", 0, 8, 128, *ids).next_batch()
    assert record["tokens"] > 100_000
    text = "".join(tokenizer.tokens[token] for token in batch.input_ids[0, 1:-1]).replace("##", "")
    assert "".join(lines).lower().replace(" ", "").find(text[:8]) >= 0
