"""Entities from column files and from CLUENER's JSON lines, and every message about a broken one."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from ernie_tiny.data.task import Split, TaskSpec
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.ask import featurise
from ernie_tiny.kinds.entities import Entity
from ernie_tiny.kinds.read import read_inputs, read_split


def spec(file_format: str, scheme: str = "bmes", **fields: Any) -> TaskSpec:
    files = {"train": ("train.txt",), "test": ("test.txt",)}
    return TaskSpec("mine", "labelling", files, labels=("PER", "LOC"), file_format=file_format, scheme=scheme, **fields)


def read(folder: Path, task: TaskSpec, text: str, split: str = "train") -> Split:
    (folder / f"{split}.txt").write_bytes(text.encode("utf-8"))
    return read_split(task, folder, split)


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CR LF"])
@pytest.mark.parametrize("between", [" ", "\t"], ids=["space", "tab"])
def test_columns(tmp_path: Path, end: str, between: str) -> None:
    lines = ["王 S-PER", "在 O", "北 B-LOC", "京 E-LOC", "", "", "好 O", ""]
    text = "".join(line.replace(" ", between) + end for line in lines)
    first, second = read(tmp_path, spec("conll"), text).examples
    assert (first.id, first.texts) == ("0", ("王在北京",))
    assert first.answers == ((Entity("王", "PER", 0, 1), Entity("北京", "LOC", 2, 4)),)
    assert (second.texts, second.answers) == (("好",), ((),))


def test_a_space_an_emoji_and_a_piece_of_several_characters_are_pieces(tmp_path: Path) -> None:
    text = "在 O\n  O\n😀 B-LOC\nNew B-LOC\nYork I-LOC\n\u3000 O\n"
    (example,) = read(tmp_path, spec("conll", "bio"), text).examples
    assert example.texts == ("在 😀New York\u3000",)
    assert example.answers == ((Entity("😀", "LOC", 2, 3), Entity("New York", "LOC", 3, 11)),)


SENTENCE = "Today the German chemist Werner Zwingmann met Élodie Müller of BASF 's 2 labs in New York and Ħal Għaxaq"
TAGS = {"Werner": "B-PER", "Zwingmann": "I-PER", "Élodie": "B-PER", "Müller": "I-PER", "New": "B-LOC", "York": "I-LOC",
        "Ħal": "B-LOC", "Għaxaq": "I-LOC"}  # fmt: skip


def test_a_sentence_of_words_keeps_its_words_and_entities(tmp_path: Path) -> None:
    words = SENTENCE.split()
    text = "".join(f"{word} {TAGS.get(word, 'O')}\n" for word in words)
    (example,) = read(tmp_path, spec("conll", "bio"), text).examples
    assert len(words) == 20 and example.texts == (SENTENCE.replace(" 's", "'s"),)
    (entities,) = example.answers
    assert [entity.text for entity in entities] == ["Werner Zwingmann", "Élodie Müller", "New York", "Ħal Għaxaq"]
    assert all(example.texts[0][entity.start : entity.end] == entity.text for entity in entities)
    tokenizer = Tokenizer([*SPECIAL_TOKENS, *{word.lower() for word in words}, "'", "s"], strip_accents=False)
    (feature,) = featurise(spec("conll", "bio"), [example], tokenizer, 64)
    assert tokenizer.unk_id not in feature.sequences[0][0]
    assert [label for label in feature.label if label > 0] == [1, 2, 1, 2, 3, 4, 3, 4]  # B-PER I-PER, B-LOC I-LOC
    (asked,) = read(tmp_path, spec("conll", "bio"), "\n".join(words) + "\n", "test").examples
    assert asked.texts == example.texts


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ("乘 G 1 0 2 次", "乘G102次"),  # by characters
        ("用 iPhone 15 打", "用iPhone 15打"),
        ("I am", "I am"),
        ("Москва и Αθήνα", "Москва и Αθήνα"),
        ("( Reuters ) -", "(Reuters)-"),
        ("北京 大学 和 MIT", "北京大学和MIT"),
    ],
)
def test_where_pieces_of_a_column_file_have_a_space_between(tmp_path: Path, pieces: str, text: str) -> None:
    lines = "".join(f"{piece} S-LOC\n" for piece in pieces.split())
    (example,) = read(tmp_path, spec("conll"), lines).examples
    assert example.texts == (text,)
    assert [(entity.text, text[entity.start : entity.end]) for entity in example.answers[0]] == [
        (piece, piece) for piece in pieces.split()
    ]


def test_broken_sequences_are_counted_and_no_entities(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "甲 O\n\n乙 B-PER\n丙 O\n\n丁 E-LOC\n戊 S-LOC\n"
    examples = read(tmp_path, spec("conll"), text).examples
    assert [example.answers[0] for example in examples] == [(), (), (Entity("戊", "LOC", 1, 2),)]
    assert (
        "2 sequences of tags do not keep to BMES and count as no entity; the first is in the text that begins on line 3"
        in caplog.text
    )
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_test_file_may_lack_tags(tmp_path: Path) -> None:
    (example,) = read(tmp_path, spec("conll"), "北\n京\n", "test").examples
    assert (example.texts, example.answers) == (("北京",), ())


def test_untagged_texts_beside_tagged_ones_of_a_test_file(tmp_path: Path) -> None:
    first, second = read(tmp_path, spec("conll"), "北\n京 \n\n京 S-LOC\n", "test").examples
    assert (first.texts, first.answers) == (("北京",), ())
    assert (second.texts, second.answers) == (("京",), ((Entity("京", "LOC", 0, 1),),))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("在\n北 B-LOC\n京 E-LOC\n", r"test\.txt:2: '北 B-LOC' has a tag, and line 1, where its text begins"),
        ("北 B-LOC\n京\n", r"test\.txt:2: '京' is no character and its tag"),
        ("甲 O\n\n甲\n乙\n丙 O\n", r"test\.txt:5: '丙 O' has a tag, and line 3, where"),
    ],
)
def test_a_text_that_is_tagged_in_part_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(tmp_path, spec("conll"), text, "test")


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("王 NR S-PER", r"2: '王 NR S-PER' has 3 columns, and must have two: .* Take out 'NR'\."),
        ("王\tNR\tX\tS-PER", r"2: '王\\tNR\\tX\\tS-PER' has 4 columns, .* Take out 'NR', 'X'\."),
        ("\u3000 NR O", "2: .* has 3 columns, and must have two: .* Take out 'NR'"),
        (" 王 S-PER", r"2: ' 王 S-PER' is no character and its tag"),
    ],
)
def test_a_line_has_two_columns(tmp_path: Path, line: str, said: str, split: str) -> None:
    with pytest.raises(InputError, match=rf"{split}\.txt:{said}"):
        read(tmp_path, spec("conll"), f"在 O\n{line}\n", split)


def test_cluener(tmp_path: Path) -> None:
    record = {"text": "叶老桂在北京叶老桂", "label": {"PER": {"叶老桂": [[6, 8], [0, 2]]}, "LOC": {"北京": [[4, 5]]}}}
    rows = [record, {"text": "无", "label": {}}]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    first, second = read(tmp_path, spec("jsonl", "bio"), text).examples
    assert first.answers == (
        (Entity("叶老桂", "PER", 0, 3), Entity("北京", "LOC", 4, 6), Entity("叶老桂", "PER", 6, 9)),
    )
    assert second.answers == ((),)
    (tmp_path / "asked.jsonl").write_text('{"text": "甲"}\n{"text": "乙", "id": 7}\n', encoding="utf-8")
    asked = read_inputs(spec("jsonl", "bio"), tmp_path / "asked.jsonl")
    assert [(one.id, one.texts, one.answers) for one in asked] == [("0", ("甲",), ()), ("7", ("乙",), ())]


def test_a_null_label_of_a_test_split_is_none(tmp_path: Path) -> None:
    text = '{"text": "甲", "label": null}'
    assert read(tmp_path, spec("jsonl"), text, "test").examples[0].answers == ()
    with pytest.raises(InputError, match=r"train\.txt:1: "):
        read(tmp_path, spec("jsonl"), text)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_ids_of_cluener_stand_in_the_field_that_the_task_names(tmp_path: Path, split: str) -> None:
    label = {"label": {}} if split == "train" else {}
    rows = [{"qid": "x", "id": 5, "text": "甲", **label}, {"id": 5, "text": "乙", **label}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    examples = read(tmp_path, spec("jsonl", id_field="qid"), text, split).examples
    assert [example.id for example in examples] == ["x", "1"]


def test_a_part_is_held_out_by_its_texts(tmp_path: Path) -> None:
    task = spec("conll", held_out={"dev": 0.3})
    text = "".join(f"{chr(0x4E00 + number)} O\n\n" for number in range(200))
    train = {example.texts for example in read(tmp_path, task, text).examples}
    dev = {example.texts for example in read_split(task, tmp_path, "dev").examples}
    assert len(train) + len(dev) == 200 and not train & dev and 30 < len(dev) < 90


@pytest.mark.parametrize(
    ("task", "content", "said"),
    [
        (spec("csv"), "", r"mine: file_format 'csv' does not serve the kind 'labelling'\. Valid: conll, jsonl"),
        (spec("jsonl"), '{"text": "甲乙"}', r"train\.txt:1: no field 'label'"),
        (spec("jsonl"), '{"text": "甲乙", "label": {"ORG": {}}}', r"train\.txt:1: mine has no label 'ORG'"),
    ],
)
def test_messages(tmp_path: Path, task: TaskSpec, content: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(tmp_path, task, content)


def test_an_unknown_scheme() -> None:
    with pytest.raises(InputError, match=r"task mine: scheme = 'iob'\. Did you mean 'bio'\?"):
        spec("conll", "iob")
