"""The rows D of docs/errors.md."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from ernie_tiny.config import RunConfig, load_config
from ernie_tiny.config.data import TaskConfig
from ernie_tiny.data.clue import CLUE
from ernie_tiny.data.corpus import build_corpus
from ernie_tiny.data.sample import write_sample
from ernie_tiny.data.sampling import TaskStream
from ernie_tiny.data.task import Example, Split, TaskSpec
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.ask import featurise
from ernie_tiny.kinds.read import read_inputs, read_split, split_reader
from ernie_tiny.runs.pipeline import run_pipeline
from ernie_tiny.runs.plan import check_data
from ernie_tiny.runs.preflight import check_run
from ernie_tiny.training.tasks import task_specs

TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *"今天气很好"])
GOOD = {"text": "今天", "label": "yes"}


def spec(kind: str = "classification", file_format: str = "jsonl", **fields: Any) -> TaskSpec:
    flat = {"texts": ("text",), "labels": ("no", "yes"), "drop_labels": ("-",)}
    suffix = "json" if kind in ("multiple_choice", "reading", "cloze") else file_format
    values = {"name": "mine", "kind": kind, "files": {"train": (f"train.{suffix}",)}, "file_format": file_format}
    return TaskSpec(**{**values, **(flat if suffix != "json" else {}), **fields})


CLASSES, CSV = spec(), spec(file_format="csv")
COREFERENCE = spec("coreference")
CHOICE, READING = spec("multiple_choice"), spec("reading")
CLOZE = spec("cloze", files={"train": ("train.json", "answer.json"), "dev": ("train.json",)})
NUMBERS = TaskSpec("mine", "regression", {"train": ("train.jsonl",)}, ("text",))
SPANS = {"span1_text": "甲", "span1_index": 1, "span2_text": "乙", "span2_index": 1}


def lines(*records: Any) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def spans(first: str, start: int, second: str, second_start: int) -> bytes:
    target = {"span1_text": first, "span1_index": start, "span2_text": second, "span2_index": second_start}
    return lines({"text": "甲乙丙丁", "target": target, "label": "yes"})


def question(**changes: Any) -> bytes:
    asked = {"question": "?", "choice": ["甲", "乙"], "answer": "甲", **changes}
    return json.dumps([[["甲乙"], [asked], "1"]]).encode()


def read(folder: Path, task: TaskSpec, content: bytes, split: str = "train") -> Split:
    (folder / task.files[split][0]).write_bytes(content)
    return read_split(task, folder, split)


@pytest.mark.parametrize(
    ("row", "task", "content"),
    [
        ("D2", CLASSES, lines(GOOD) + '{"text": "甲"}\n'.encode("gb18030")),
        ("D35", CLASSES, lines({**GOOD, "id": True})),
        ("D34", CLASSES, lines(GOOD).decode().encode("utf-16")),
        ("D4", CLASSES, lines(GOOD) + b"{'text'}\n"),
        ("D87", CLASSES, b'{"text": "x", "text": "y", "label": "no"}\n'),
        ("D5", CLASSES, lines({"txt": "", "label": "no"})),
        ("D6", CLASSES, lines({"text": 5, "label": "no"})),
        ("D7", CLASSES, lines(GOOD, {"text": "", "label": "yess"})),
        ("D8", CLASSES, lines({"text": "", "label": "-"})),
        ("D9", COREFERENCE, lines({"text": "甲乙", "target": SPANS, "label": "yes"})),
        ("D11", CHOICE, question(choice=[])),
        ("D14", CLASSES, lines({**GOOD, "id": 3}, {**GOOD, "id": "3"})),
        ("D16", CSV, b"text,label\nx,no\ny\n"),
        ("D17", CSV, b'text,label\n"x,no\n' + b"y,no\n" * 30_000),
        ("D36", CLASSES, b'{"text": "\xff\xff", "label": "no"}'),
        ("D37", CLASSES, lines({"text ": "x", "label": "no"})),
        ("D38", CSV, b"text,text\nx,no\n"),
        ("D39", CSV, b'text,label\n"x"y,no\n'),
        ("D40", CSV, b"text,label\nx\ry,no\n"),
        ("D41", COREFERENCE, spans("甲乙", 0, "乙丙", 1)),
        ("D42", COREFERENCE, spans("", 0, "乙丙", 1)),
        ("D49", spec(files={"train": ("train.jsonl", "./train.jsonl")}), lines(GOOD)),
        ("D50", CSV, b'text,label\n"x,no\n"y",no\n'),
        ("D51", spec(file_format="tsv"), b"text\tlabel\rx\tno\r"),
        ("D86", spec(file_format="tsv", columns={"train": ("text", "label")}), b"text\tlabel\nx\tno\n"),
        ("D18", CHOICE, question()[:-5]),
        ("D19", CHOICE, question(answer="丙")),
        ("D83", spec("reading", id_field="qid"), b"{}"),
        ("D33", NUMBERS, lines({"text": "", "label": "high"})),
    ],
)
def test_files(row: str, task: TaskSpec, content: bytes, tmp_path: Path, refuses) -> None:
    with refuses(row):
        read(tmp_path, task, content)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"text": ' + "9" * 5000 + "}"], ids=["nested", "digits"])
def test_json_that_python_refuses_is_no_crash(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.jsonl:1: is not JSON"):
        read(tmp_path, CLASSES, text.encode())


@pytest.mark.parametrize(
    ("row", "content", "text"),
    [
        ("D3", b"\xef\xbb\xbf" + lines(GOOD), "今天"),
        ("D12", lines({**GOOD, "text": "今天" * 1_700_000}), "今天" * 1_700_000),
        ("D13", lines({**GOOD, "text": "今\u2028天\x85气"}), "今\u2028天\x85气"),
        ("D23", b'{"text": "\\ud83d x \\ud83d\\ude00", "label": "yes"}', "\ufffd x \U0001f600"),
    ],
)
def test_what_is_no_fault(row: str, content: bytes, text: str, tmp_path: Path, rows) -> None:
    assert rows[row].startswith("nothing")
    examples = read(tmp_path, CLASSES, content).examples
    assert [example.texts for example in examples] == [(text,)]
    start = dataclasses.replace(examples[0], texts=(text[:20_000],))  # tokenising takes 3 s a million
    (feature,) = featurise(CLASSES, [start], TOKENIZER, 16)
    assert len(feature.sequences[0][0]) <= 16


def test_answers_that_stand_elsewhere(tmp_path: Path, says, caplog: pytest.LogCaptureFixture) -> None:
    stated = [{"text": "甲乙", "answer_start": 1}, {"text": "乙", "answer_start": 0}, {"text": "丁", "answer_start": 0}]
    asked = {"id": "Q", "question": "?", "answers": stated}
    content = json.dumps({"data": [{"paragraphs": [{"context": "甲乙丙", "qas": [asked]}]}]})
    read(tmp_path, READING, content.encode())
    says("D10", caplog.text)


def test_cloze(tmp_path: Path, refuses) -> None:
    passages = lines({"content": ["#idiom1#"], "candidates": ["甲", "乙"]})
    (tmp_path / "answer.json").write_text('{"#idiom1#": 2}', encoding="utf-8")
    for row, split in (("D20", "train"), ("D21", "dev")):
        with refuses(row):
            read(tmp_path, CLOZE, passages, split)
    (tmp_path / "more.json").write_bytes(passages)
    with refuses("D82"):
        read(tmp_path, dataclasses.replace(CLOZE, files={"train": (*CLOZE.files["train"], "more.json")}), passages)


def test_an_unknown_split(tmp_path: Path, refuses) -> None:
    with refuses("D22"):
        read_split(CLUE["tnews"], tmp_path, "tset")


def test_no_room_for_text(refuses) -> None:
    with refuses("D28"):
        featurise(CLASSES, [Example("0", ("今", "天"))], TOKENIZER, 3)


def test_questions(tmp_path: Path, refuses) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_bytes(lines({"text": "今天"}))
    with refuses("D31"):
        read_inputs(CLUE["tnews"], path)


def test_too_few_examples_for_the_processes(tmp_path: Path, refuses) -> None:
    examples = read(tmp_path, CLASSES, lines(*[GOOD] * 4)).examples
    with refuses("D32"):
        features = {"mine": featurise(CLASSES, examples, TOKENIZER, 8)}
        TaskStream(features, {"mine": 1.0}, seed=0, batch_size=1, max_tokens=None, pad_id=0, world_size=2)


def test_a_data_root_of_something_else(tmp_path: Path, refuses) -> None:
    (tmp_path / "clue").mkdir()
    with refuses("D30"):
        write_sample(tmp_path)


# ---- entities

COLUMNS = TaskSpec(
    "mine", "labelling", {"train": ("train.txt",)}, labels=("PER", "LOC"), file_format="conll", scheme="bmes"
)
CLUENER = dataclasses.replace(COLUMNS, files={"train": ("train.jsonl",)}, file_format="jsonl")


def entities(text: str, **label: dict[str, Any]) -> bytes:
    return lines({"text": text, "label": label})


@pytest.mark.parametrize(
    ("row", "task", "content"),
    [
        ("D52", COLUMNS, "甲\n".encode()),
        ("D53", COLUMNS, "甲 I-PER\n".encode()),
        ("D54", COLUMNS, "甲 O\n乙 B-ORG\n".encode()),
        ("D79", COLUMNS, "甲 NR O\n".encode()),
        ("D56", CLUENER, entities("甲乙", PER={"乙": [[0, 0]]})),
        ("D57", CLUENER, entities("甲乙", PER={"乙": [1, 1]})),
        ("D58", CLUENER, entities("甲乙", PER={"甲乙": [[0, 1]]}, LOC={"乙": [[1, 1]]})),
    ],
)
def test_entities(row: str, task: TaskSpec, content: bytes, tmp_path: Path, refuses) -> None:
    with refuses(row):
        read(tmp_path, task, content)


def test_tags_that_do_not_keep_to_their_scheme(tmp_path: Path, says, caplog: pytest.LogCaptureFixture) -> None:
    read(tmp_path, COLUMNS, "甲 B-PER\n乙 O\n".encode())
    says("D55", caplog.text)


def test_a_text_that_is_tagged_in_part(tmp_path: Path, refuses) -> None:
    with refuses("D80"):
        read(tmp_path, dataclasses.replace(COLUMNS, files={"test": ("test.txt",)}), "甲\n乙 O\n".encode(), "test")


# ---- general text


@pytest.mark.parametrize(
    ("row", "content"),
    [
        ("D25", "今天\n".encode() + "天气\n".encode("gb18030")),
        ("D26", b"\n\n"),
        ("D43", lines({"title": "今天", "content": "今天天气"})),
    ],
)
def test_general_text(row: str, content: bytes, tmp_path: Path, refuses) -> None:
    (tmp_path / "text.txt").write_bytes(content)
    with refuses(row):
        build_corpus([tmp_path / "text.txt"], TOKENIZER, tmp_path / "corpus")


# ---- a run's data

CONFIG = """\
name: toy
tokenizer: {build_from: general, vocab_size: 100}
models: {student: {num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 64}}
data:
  tasks:
    mine: {kind: classification, texts: [text], labels: [a, b], files: {train: [train.jsonl], dev: [dev.jsonl]}}
    late: {kind: classification, texts: [text], labels: [a, b], files: {train: [late.jsonl], dev: [dev.jsonl]}}
  corpora: {general: {files: [text.txt]}}
stages:
  - name: first
    train: student
    data: {tasks: [mine], max_length: 8}
    objective: {hard: {}}
    optim: {max_steps: 1, batch_size: 2}
    select: {every: 1}
  - name: second
    train: student@first
    data: {tasks: [late], max_length: 8}
    objective: {hard: {}}
    optim: {max_steps: 1, batch_size: 2}
"""


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    return write_run(tmp_path)


def write_run(tmp_path: Path) -> RunConfig:
    """The run of CONFIG with its files."""
    (tmp_path / "run.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "train.jsonl").write_bytes(lines(*({"text": text, "label": "a"} for text in "今天气")))
    (tmp_path / "late.jsonl").write_bytes(lines({"text": "好", "label": "b"}))
    (tmp_path / "dev.jsonl").write_bytes(lines(*({"text": text, "label": "b"} for text in "天天很")))
    (tmp_path / "text.txt").write_text("今天天气很好\n", encoding="utf-8")
    return load_config(tmp_path / "run.yaml", [f"data.root={tmp_path}", f"output_dir={tmp_path}/run"])


def check(run: RunConfig) -> None:
    check_data(run)
    read = split_reader(task_specs(run).__getitem__, Path(run.data.root))
    check_run(run, lambda *key: read(*key).examples, lambda: TOKENIZER)


def test_missing_files(run: RunConfig, tmp_path: Path, refuses) -> None:
    for row, file in (("D24", "text.txt"), ("D1", "dev.jsonl")):
        (tmp_path / file).unlink()
        with refuses(row):
            check(run)


def test_an_absolute_pattern(run: RunConfig, refuses) -> None:
    general = dataclasses.replace(run.data.corpora["general"], files=("/x/*.txt",))
    with refuses("D27"):
        check(dataclasses.replace(run, data=dataclasses.replace(run.data, corpora={"general": general})))


def test_a_pattern_that_is_none(run: RunConfig, refuses) -> None:
    def files(pattern: str) -> RunConfig:
        general = dataclasses.replace(run.data.corpora["general"], files=(pattern,))
        return dataclasses.replace(run, data=dataclasses.replace(run.data, corpora={"general": general}))

    with refuses("D90"):
        check(files("corpus/**.txt"))
    with pytest.raises(InputError, match="general.files = '.': is no pattern of files"):
        check(files("."))
    (Path(run.data.root) / "corpus").mkdir()
    with pytest.raises(InputError, match=r"no file 'corpus' .*It is a folder: name its files, as in corpus/\*.txt"):
        check(files("corpus"))


def test_keys_that_the_files_of_a_task_have_no_use_for(run: RunConfig, refuses) -> None:
    def with_task(**fields: Any) -> RunConfig:
        task = TaskConfig(kind="reading", files={"train": ("train.json",)}, **fields)
        return dataclasses.replace(run, data=dataclasses.replace(run.data, tasks={"mine": task}))

    with refuses("D88"):
        task_specs(with_task(texts=("context",)))
    with pytest.raises(InputError, match="data.tasks.mine.label_field is for records"):
        task_specs(with_task(label_field="gold"))
    with refuses("D89"):
        spec(files={"dev": ("dev.jsonl",)}, held_out={"test": 0.1})


def test_dev_examples_in_train(run: RunConfig, says, caplog: pytest.LogCaptureFixture) -> None:
    check(run)
    says("D15", caplog.text)
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


@pytest.fixture
def unlabelled(run: RunConfig, tmp_path: Path) -> RunConfig:
    """The run with a file of texts without labels, which its first stage learns from a teacher."""
    (tmp_path / "more.jsonl").write_bytes(lines({"text": "好"}))
    files = "{train: [train.jsonl], unlabelled: [more.jsonl], dev: [dev.jsonl]}"
    changes = [
        f"data.tasks.mine.files={files}",
        "stages.0.teacher=student",
        "stages.0.objective={hard: {}, hidden: {}}",
    ]
    places = [f"data.root={tmp_path}", f"output_dir={tmp_path}/run"]
    return load_config(tmp_path / "run.yaml", [*places, *changes])


def test_unlabelled_files(
    unlabelled: RunConfig, tmp_path: Path, says: Any, refuses: Any, caplog: pytest.LogCaptureFixture
) -> None:
    more = tmp_path / "more.jsonl"
    check(unlabelled)
    assert "unlabelled" not in caplog.text
    more.write_bytes(lines({"text": "很", "label": "a"}, {"text": "天", "label": "never heard of"}))
    check(unlabelled)
    says("D61", caplog.text)
    says("D62", caplog.text)
    more.write_bytes(lines({"txt": "很"}))
    with refuses("D63"):
        check(unlabelled)
    more.unlink()
    with refuses("D60"):
        check(unlabelled)


def test_sets_that_lack_labels(run: RunConfig, tmp_path: Path, says, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "train.jsonl").write_bytes(lines(*({"text": text, "label": "a"} for text in "今天气")))
    data = dataclasses.replace(run.stages[0].data, examples=2)
    check(dataclasses.replace(run, stages=(dataclasses.replace(run.stages[0], data=data), *run.stages[1:])))
    says("D45", caplog.text)
    three = {"labels": ("a", "b", "c"), "files": {"train": ("train.jsonl",), "dev": ("train.jsonl",)}}
    (tmp_path / "train.jsonl").write_bytes(lines(*({"text": label, "label": label} for label in "aca")))
    tasks = {**run.data.tasks, "mine": dataclasses.replace(run.data.tasks["mine"], **three)}
    check(dataclasses.replace(run, data=dataclasses.replace(run.data, tasks=tasks)))
    says("D44", caplog.text)


def test_texts_that_are_empty(run: RunConfig, tmp_path: Path, says, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "train.jsonl").write_bytes(lines(*({"text": text, "label": "a"} for text in ("今", " ", ""))))
    check(run)
    says("D85", caplog.text)


def test_a_fault_of_the_last_stage_is_found_before_the_first_trains(run: RunConfig, tmp_path: Path, refuses) -> None:
    with (tmp_path / "late.jsonl").open("ab") as file:
        file.write(lines({"text": "好", "label": "c"}))
    with refuses("D29"):
        run_pipeline(run)
    assert not (tmp_path / "run" / "stages").exists()
