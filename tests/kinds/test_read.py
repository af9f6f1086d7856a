"""Every kind of task from small files, and every message about a broken one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ernie_tiny.data.clue import CLUE
from ernie_tiny.data.task import Answer, Example, Split, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.read import read_split, split_reader

SPLITS = ("train", "dev", "test")


def spec(kind: str, suffix: str = "jsonl", **fields: Any) -> TaskSpec:
    files = {split: (f"{split}.{suffix}",) for split in SPLITS}
    return TaskSpec(**{"name": "toy", "kind": kind, "files": files, "file_format": suffix, **fields})


PAIR = spec("pair", texts=("a", "b"), labels=("no", "yes"), drop_labels=("-",))
CLASSES = spec("classification", texts=("text",), labels=("0", "1"))
KEYWORDS = spec("keywords", texts=("keyword", "abst"), labels=("0", "1"))
CHOICE = spec("multiple_choice", "json")
READING = spec("reading", "json")
CLOZE = spec(
    "cloze",
    files={
        "train": ("train.json", "answer.json"),
        "dev": ("train.json",),
        "test": ("train.json",),
    },
)


def table(file_format: str) -> TaskSpec:
    return spec("classification", file_format, texts=("text",), labels=("0", "1"))


def lines(*records: Any) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def read(root: Path, task: TaskSpec, text: str, split: str = "train") -> Split:
    (root / task.files[split][0]).write_bytes(text.encode("utf-8"))
    return read_split(task, root, split)


def drawn(root: Path, task: TaskSpec, text: str, limit: int) -> tuple[Example, ...]:
    """So many of the examples that a text holds."""
    (root / task.files["train"][0]).write_bytes(text.encode("utf-8"))
    return split_reader(lambda name: task, root)("toy", "train", limit).examples


def squad(*questions: Any, context: str = "甲乙丙甲乙") -> str:
    return json.dumps({"data": [{"paragraphs": [{"context": context, "qas": list(questions)}]}]})


def test_pairs_with_row_numbers_drops_and_a_line_separator_in_a_text(tmp_path: Path) -> None:
    text = lines({"a": "甲\u2028乙", "b": "丙", "label": "yes"}, {"a": "x", "b": "y", "label": "-"}) + "\n"
    text += lines({"a": "丁", "b": "戊", "label": "no", "id": 7})
    split = read(tmp_path, PAIR, text)
    assert split == Split((Example("0", ("甲\u2028乙", "丙"), 1), Example("7", ("丁", "戊"), 0)), dropped=1)


def test_row_numbers_run_on_over_several_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(lines({"text": name, "label": 0}), encoding="utf-8")
    task = dataclasses.replace(CLASSES, files={"train": ("a", "b")})
    assert [example.id for example in read_split(task, tmp_path, "train").examples] == ["0", "1"]


@pytest.mark.parametrize("label", ["1", 1])
def test_labels_are_compared_as_text(tmp_path: Path, label: Any) -> None:
    assert read(tmp_path, CLASSES, lines({"text": "x", "label": label})).examples[0].label == 1


def test_a_json_true_is_the_label_true(tmp_path: Path) -> None:
    task = spec("classification", texts=("text",), labels=("true", "false"))
    assert read(tmp_path, task, lines({"text": "x", "label": False})).examples[0].label == 1


def test_a_test_split_may_lack_labels_or_have_them(tmp_path: Path) -> None:
    split = read(tmp_path, CLASSES, lines({"text": "x"}, {"text": "y", "label": 1}), "test")
    assert [example.label for example in split.examples] == [None, 1]


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_empty_label_of_a_test_split_is_none(tmp_path: Path, nothing: Any) -> None:
    content = lines({"text": "x", "label": nothing})
    for task in (CLASSES, spec("regression", texts=("text",))):
        assert [example.label for example in read(tmp_path, task, content, "test").examples] == [None]
        with pytest.raises(InputError, match=r"train\.jsonl:1: "):
            read(tmp_path, task, content)
    stated = dataclasses.replace(CLASSES, labels=("0", "", "null"))  # of a task that has such a label it is one
    assert read(tmp_path, stated, content, "test").examples[0].label in (1, 2)


def test_a_limit_draws_rows_of_a_file_that_is_sorted_by_label(tmp_path: Path) -> None:
    text = lines(*({"text": str(n), "label": n // 500, "id": n} for n in range(1000)))
    some = drawn(tmp_path, CLASSES, text, 100)
    assert 30 < sum(example.label for example in some) < 70 and len(some) == 100
    assert [int(example.id) for example in some] == sorted(int(example.id) for example in some)
    assert drawn(tmp_path, CLASSES, text, 5000) == read(tmp_path, CLASSES, text).examples


def test_what_a_limit_draws_stays_drawn_among_other_rows_and_with_a_higher_limit(tmp_path: Path) -> None:
    rows = [{"text": str(n), "label": 0} for n in range(200)]
    few = {example.texts for example in drawn(tmp_path, CLASSES, lines(*rows), 20)}
    assert few < {example.texts for example in drawn(tmp_path, CLASSES, lines(*rows), 40)}
    assert few == {example.texts for example in drawn(tmp_path, CLASSES, lines(*reversed(rows)), 20)}


def test_a_split_is_read_once_for_all_limits(tmp_path: Path) -> None:
    text = lines(*({"text": str(number), "label": number % 2} for number in range(9)))
    whole, limited = read(tmp_path, CLASSES, text), {limit: drawn(tmp_path, CLASSES, text, limit) for limit in (2, 5)}
    reader = split_reader({"toy": CLASSES}.__getitem__, tmp_path)
    assert reader("toy", "train", 2).examples == limited[2]
    (tmp_path / "train.jsonl").unlink()
    assert reader("toy", "train", None) == whole and reader("toy", "train", 5).examples == limited[5]


def test_a_limit_takes_all_blanks_of_a_passage_before_those_of_another(tmp_path: Path) -> None:
    passages = [
        {"content": [f"#idiom{9 * n + k:06d}#" for k in range(3)], "candidates": [f"甲{n}", f"乙{n}"]} for n in range(9)
    ]
    (tmp_path / "answer.json").write_text(
        json.dumps({blank: 0 for each in passages for blank in each["content"]}), encoding="utf-8"
    )
    some = drawn(tmp_path, CLOZE, lines(*passages), 6)
    assert len(some) == 6 and len({example.group for example in some}) == 2


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte-order mark"])
def test_csv_with_quotes_and_line_breaks(tmp_path: Path, mark: str) -> None:
    split = read(tmp_path, table("csv"), mark + 'label,text\r\n1,"好,""很""\n好"\r\n0,差\r\n')
    assert split.examples == (Example("0", ('好,"很"\n好',), 1), Example("1", ("差",), 0))


def test_quotes_of_a_tsv_are_text(tmp_path: Path) -> None:
    task = spec("pair", "tsv", texts=("a", "b"), labels=("0", "1"))
    assert read(tmp_path, task, 'a\tb\tlabel\n"甲\t乙"\t0\n').examples[0].texts == ('"甲', '乙"')


def test_keywords_are_joined_and_come_first(tmp_path: Path) -> None:
    split = read(tmp_path, KEYWORDS, lines({"id": 9, "abst": "摘要", "keyword": ["甲", "乙"], "label": "1"}))
    assert split.examples == (Example("9", ("甲 乙", "摘要"), 1),)


def test_multiple_choice(tmp_path: Path) -> None:
    question = {"question": "谁?", "choice": ["甲", "乙", "丙"], "answer": "乙"}
    text = json.dumps([[["男：你好", "女：好"], [question, {**question, "answer": "丙"}], "3-5"]])
    assert read(tmp_path, CHOICE, text).examples == (
        Example("train-3-5-0", ("男：你好\n女：好", "谁?"), 1, ("甲", "乙", "丙")),
        Example("train-3-5-1", ("男：你好\n女：好", "谁?"), 2, ("甲", "乙", "丙")),
    )


def test_multiple_choice_of_a_test_split_keeps_the_questions_id(tmp_path: Path) -> None:
    text = json.dumps([[["短文"], [{"question": "谁?", "choice": ["甲", "乙"], "id": 508}]]])
    expected = Example("508", ("短文", "谁?"), None, ("甲", "乙"))
    assert read(tmp_path, CHOICE, text, "test").examples == (expected,)


def test_cloze_gives_an_example_per_blank(tmp_path: Path) -> None:
    content = ["前#idiom000001#中#idiom000002#后", "x#idiom000003#"]
    record = {"content": content, "candidates": ["甲", "乙", "丙"]}
    answers = {"#idiom000001#": 2, "#idiom000002#": 0, "#idiom000003#": 1}
    (tmp_path / "answer.json").write_text(json.dumps(answers), encoding="utf-8")
    examples = read(tmp_path, CLOZE, lines(record)).examples
    assert [(example.id, example.texts, example.label) for example in examples] == [
        ("#idiom000001#", ("前", "中□□□□后"), 2),
        ("#idiom000002#", ("前□□□□中", "后"), 0),
        ("#idiom000003#", ("x", ""), 1),
    ]
    assert {(example.group, example.candidates) for example in examples} == {("0", ("甲", "乙", "丙"))}
    assert [example.label for example in read_split(CLOZE, tmp_path, "test").examples] == [None] * 3


def test_cloze_lines_are_groups(tmp_path: Path) -> None:
    records = [{"content": [f"#idiom{n}#"], "candidates": ["甲", "乙"]} for n in range(2)]
    examples = read(tmp_path, CLOZE, lines(*records), "test").examples
    assert [example.group for example in examples] == ["0", "1"]


def test_reading_moves_misplaced_answers_to_the_nearest_place_and_reports_it(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = [("甲乙", 0), ("甲乙", 2), ("甲乙", -1), ("丁", 1)]
    stated = [{"text": text, "answer_start": start} for text, start in answers]
    split = read(tmp_path, READING, squad({"id": "Q", "question": "谁?", "answers": stated}))
    assert split.examples == (
        Example(
            "Q",
            ("谁?", "甲乙丙甲乙"),
            answers=(
                Answer("甲乙", 0),
                Answer("甲乙", 3),
                Answer("甲乙", 0),
                Answer("丁", -1),
            ),
        ),
    )
    assert "2 answers do not start" in caplog.text
    assert "1 stand nowhere" in caplog.text


def test_reading_of_a_test_split_has_no_answers(tmp_path: Path) -> None:
    fake = [{"text": "FAKE_ANSWER_1", "answer_start": -1}]
    text = squad({"id": "A", "question": "?", "answers": fake}, {"id": "B", "question": "?"})
    assert [example.answers for example in read(tmp_path, READING, text, "test").examples] == [(), ()]


GOOD = {"text": "x", "label": "0"}
ASKED = {"question": "谁?", "choice": ["甲", "乙"], "answer": "丙"}


@pytest.mark.parametrize(
    ("task", "text", "message"),
    [
        (CLASSES, lines({"text": "x"}), r"train\.jsonl:1: no field 'label'"),
        (CLASSES, lines([1]), r"train\.jsonl:1: is not an object with fields: \[1\]"),
        (CLASSES, "", r"train\.jsonl: the split 'train' of toy is empty \(0 rows dropped\)"),
        (PAIR, lines({"a": "", "b": "", "label": None}), r"toy has no label 'null'. Valid: no, yes"),
        (PAIR, lines({"a": ["x"], "b": "", "label": "no"}), r"train\.jsonl:1: 'a' is not text: \[\"x\"\]"),
        (KEYWORDS, lines({"keyword": ["x", 1], "abst": "", "label": "0"}), "a part of 'keyword' is not text"),
        (CHOICE, json.dumps([[["x"], [{**ASKED, "choice": ["甲"]}], "1"]]), "holds 1 choices, at least 2"),
        (CHOICE, json.dumps([[["x"]]]), r"passage 0: is not \[lines, questions, id\]"),
        (CHOICE, "{}", r"train\.json: the file is not a list"),
        (READING, squad({"id": "Q", "question": "?", "answers": []}), "question 0: 'answers' is empty"),
        (READING, squad({"id": "Q", "question": "?"}), "question 0: no field 'answers'"),
        (table("tsv"), "text\tlabel\nx\t0\ty\n", r"train\.tsv:2: has 3 columns, the header 2"),
        (table("json"), "[]", "file_format 'json' does not serve the kind 'classification'"),
    ],
)
def test_messages_about_broken_files(tmp_path: Path, task: TaskSpec, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, task, text)


@pytest.mark.parametrize("name", ["label ", "\ufefflabel"])
def test_a_label_whose_key_has_a_blank_is_not_taken_for_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"test\.jsonl:1: no field 'label'\..* differs by a blank"):
        read(tmp_path, CLASSES, lines({"text": "x", name: "0"}), "test")


@pytest.mark.parametrize("task", [CHOICE, READING, CLOZE], ids=lambda task: task.kind)
def test_nested_files_have_ids_of_their_own(tmp_path: Path, task: TaskSpec) -> None:
    with pytest.raises(InputError, match=f"task toy: id_field = 'qid' is for .* of the kind {task.kind} have ids"):
        read(tmp_path, dataclasses.replace(task, id_field="qid"), "[]", "test")


def test_a_null_is_no_id_of_a_passage_nor_of_a_question_of_reading(tmp_path: Path) -> None:
    (example,) = read(tmp_path, CHOICE, json.dumps([[["x"], [{**ASKED, "answer": "甲"}], None]])).examples
    assert example.id == "train-0-0"
    with pytest.raises(InputError, match=r"question 0: 'id' = null: an id is a text or a whole number"):
        read(tmp_path, READING, squad({"id": None, "question": "?", "answers": [{"text": "甲", "answer_start": 0}]}))


def test_an_empty_cell_is_no_id(tmp_path: Path) -> None:
    found = read(tmp_path, table("tsv"), "id\ttext\tlabel\n\t甲\t0\nx\t乙\t1\n").examples
    assert [example.id for example in found] == ["0", "x"]


def test_a_file_that_a_split_names_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(lines(GOOD), encoding="utf-8")
    (tmp_path / "link.jsonl").symlink_to("train.jsonl")
    task = dataclasses.replace(CLASSES, files={"train": ("train.jsonl", "link.jsonl")})
    with pytest.raises(InputError, match=r"the split 'train' names .*train\.jsonl twice"):
        read_split(task, tmp_path, "train")


def test_a_blank_without_an_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"answer\.json: no field '#idiom1#'"):
        read(tmp_path, CLOZE, lines({"content": ["#idiom1#"], "candidates": ["甲", "乙"]}))


def test_more_files_of_a_cloze_than_passages_and_answers_are_refused(tmp_path: Path) -> None:
    files = ("train.json", "answer.json", "more.json", "more_answer.json")
    for name in files:
        (tmp_path / name).write_text(lines({"content": ["#idiom1#"], "candidates": ["甲", "乙"]}), encoding="utf-8")
    for split in ("train", "test"):
        with pytest.raises(InputError, match=rf"more\.json: is one file too many\. The split '{split}' of toy has two"):
            read_split(dataclasses.replace(CLOZE, files={split: files}), tmp_path, split)


def test_message_about_a_missing_file_says_where_it_belongs_and_what_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_split(CLUE["ocnli"], tmp_path, "train")
    for part in ("clue/ocnli_public/train.50k.json", str(tmp_path), "tools/download_clue.py"):
        assert part in str(caught.value)


def test_message_about_an_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tnews has no split 'test1.1'. Did you mean 'test1.0'"):
        read_split(CLUE["tnews"], tmp_path, "test1.1")
    with pytest.raises(InputError, match="afqmc has no split 'all'. Valid: train, dev, test"):
        read_split(CLUE["afqmc"], tmp_path, "all")


def test_columns_name_those_of_a_table_without_a_header(tmp_path: Path) -> None:
    task = dataclasses.replace(table("tsv"), columns={"train": ("text", "label")})
    assert read(tmp_path, task, "甲\t1\n").examples == (Example("0", ("甲",), 1),)
    assert read(tmp_path, task, "label\ttext\n1\t甲\n", "dev").examples == (Example("0", ("甲",), 1),)
    with pytest.raises(InputError, match=r"train\.tsv:1: has 3 columns, the header 2 \(text, label\)"):
        read(tmp_path, task, "甲\t乙\t1\n")


def test_regression_has_numbers_of_one_text_or_two(tmp_path: Path) -> None:
    task = spec("regression", texts=("a", "b"), label_field="score")
    split = read(tmp_path, task, lines({"a": "甲", "b": "乙", "score": 2}, {"a": "甲", "b": "丙", "score": "3.25"}))
    assert [example.label for example in split.examples] == [2.0, 3.25]
    with pytest.raises(InputError, match="train.jsonl:1: 'score' is not a number: 'true'"):
        read(tmp_path, task, lines({"a": "甲", "b": "乙", "score": True}))


def test_held_out_splits_are_read_from_the_train_files(tmp_path: Path) -> None:
    files = {"train": ("all.csv",)}
    task = spec("classification", "csv", texts=("text",), labels=("0", "1"), files=files, held_out={"dev": 0.3})
    rows = [f"{number % 40},{number % 2}" for number in range(80)]  # each text twice
    (tmp_path / "all.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    train, dev = (read_split(task, tmp_path, split).examples for split in ("train", "dev"))
    assert sorted(int(example.id) for example in (*train, *dev)) == list(range(80))
    (tmp_path / "all.csv").write_text("\n".join(rows), encoding="utf-8")  # without a header
    without = dataclasses.replace(task, columns={"train": ("text", "label")})
    assert [read_split(without, tmp_path, split).examples for split in ("train", "dev")] == [train, dev]
    assert {example.texts for example in train}.isdisjoint(example.texts for example in dev)
    assert 0 < len(dev) < len(train)
    with pytest.raises(InputError, match="toy has no split 'test'. Valid: train, dev"):
        read_split(task, tmp_path, "test")


def test_a_null_id_is_none_and_others_are_texts_or_whole_numbers(tmp_path: Path) -> None:
    task = TaskSpec("mine", "classification", {"train": ("ids.jsonl",)}, ("text",), ("0", "1"))
    file = tmp_path / "ids.jsonl"
    record = '{"text": "a", "label": "0", "id": %s}\n'
    file.write_text(record % "null" + record % "null" + record % '"x"', encoding="utf-8")
    assert [example.id for example in read_split(task, tmp_path, "train").examples] == ["0", "1", "x"]
    for wrong in ("1.5", "true", "[1]", "{}", "NaN"):
        file.write_text(record % wrong, encoding="utf-8")
        with pytest.raises(InputError, match=r"ids.jsonl:1: 'id' = .*: an id is a text or a whole number"):
            read_split(task, tmp_path, "train")


def test_an_answer_of_a_test_split_may_be_null(tmp_path: Path) -> None:
    asked = {"question": "丁", "choice": ["甲", "乙"], "answer": None}
    (tmp_path / "c3.json").write_text(json.dumps([[["甲乙"], [asked], "1"]]), encoding="utf-8")
    asked = {"id": "q", "question": "丁", "answers": None}
    squad = {"data": [{"paragraphs": [{"context": "甲乙丙", "qas": [asked]}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(squad), encoding="utf-8")
    for kind, file in (("multiple_choice", "c3.json"), ("reading", "squad.json")):
        (example,) = read_split(TaskSpec("mine", kind, {"test": (file,)}), tmp_path, "test").examples
        assert example.label is None and example.answers == ()
