"""The embedded sample data: read by every reader, the same for the same seed, sound in its labels."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest

from ernie_tiny.data.clue import CLUE, CLUENER, SUBMITTED
from ernie_tiny.data.sample import COUNTS, write_sample
from ernie_tiny.data.sample_words import IDIOMS
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.read import read_split

FLAT = [task for task in CLUE.values() if task.labels]  # a label a row


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("task", SUBMITTED.values(), ids=lambda task: task.name)
def test_every_split_of_every_task_is_read(sample: Path, task: TaskSpec) -> None:
    for split in task.files:
        examples = read_split(task, sample, split).examples
        if task in (*FLAT, CLUENER):
            train, dev, other = COUNTS[task.name]
            assert len(examples) == {"train": train, "dev": dev}.get(split, other)
        unlabelled = split.startswith("test")
        assert all((example.label is None and not example.answers) == unlabelled for example in examples)


@pytest.mark.parametrize("task", FLAT, ids=lambda task: task.name)
def test_all_labels_occur_and_dev_holds_nothing_of_train(sample: Path, task: TaskSpec) -> None:
    train, dev = (read_split(task, sample, split).examples for split in ("train", "dev"))
    assert {example.label for example in train} == set(range(len(task.labels)))
    assert not {example.texts for example in train} & {example.texts for example in dev}


def test_answers_stand_in_their_context(sample: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("train", "dev", "trial"):
        for example in read_split(CLUE["cmrc2018"], sample, split).examples:
            assert all(example.texts[1].startswith(answer.text, answer.start) for answer in example.answers)
    assert not caplog.records


def test_keywords_of_true_rows_stand_in_the_abstract_and_of_false_rows_do_not(sample: Path) -> None:
    for example in read_split(CLUE["csl"], sample, "dev").examples:
        keywords, abstract = example.texts
        assert all(word in abstract for word in keywords.split()) == bool(example.label)


def test_entities_of_every_type_stand_apart_in_sentences_that_stand_once(sample: Path) -> None:
    train, dev = (read_split(CLUENER, sample, split).examples for split in ("train", "dev"))
    for examples in (train, dev):  # reading checks that each entity stands at its place and overlaps none
        assert {entity.type for example in examples for entity in example.answers[0]} == set(CLUENER.labels)
        assert any(not example.answers[0] for example in examples)
    assert len({example.texts for example in [*train, *dev]}) == len(train) + len(dev)
    titles: dict[str, set[str]] = {}
    for example in train:
        for entity in example.answers[0]:
            titles.setdefault(entity.text, set()).add(entity.type)
    assert sum(len(types) > 1 for types in titles.values()) > 20  # whose type shows in the context alone


def test_the_other_tasks_and_general_text_are_what_they_were_before_entities_joined(sample: Path) -> None:
    digest = hashlib.sha256()
    for file, content in sorted(contents(sample).items()):
        if file != "sample.json" and "cluener" not in file:
            digest.update(file.encode() + b"\0" + content)
    assert digest.hexdigest() == "2cb2cbe80cb15fb11d611dc81c4da897a26465b5ea6cc19b5b4bc5e67c6bedd4"


def test_choices_differ_and_one_idiom_alone_has_the_meaning_of_its_blank(sample: Path) -> None:
    meaning = {idiom: number for number, (idioms, *_) in enumerate(IDIOMS) for idiom in idioms.split()}
    assert len(meaning) == 60
    for example in read_split(CLUE["chid"], sample, "train").examples:
        assert len({meaning[idiom] for idiom in example.candidates}) == len(example.candidates) == 10
    for example in read_split(CLUE["c3"], sample, "train").examples:
        assert len(set(example.candidates)) == 4


def test_general_text_is_documents_that_hold_the_characters_of_the_tasks(sample: Path) -> None:
    text = (sample / "corpus" / "general.txt").read_text(encoding="utf-8")
    documents = [document.split("\n") for document in text.rstrip("\n").split("\n\n")]
    assert sum(map(len, documents)) == 6000
    assert all(3 <= len(document) <= 8 and all(document) for document in documents[:-1])
    assert not re.search(r"[{}#]", text)
    for task in SUBMITTED.values():
        dev = read_split(task, sample, "dev").examples
        used = {character for example in dev for words in example.texts for character in words}
        assert len(used - set(text)) <= 0.02 * len(used)


def test_a_whole_sample_is_left_alone_and_a_part_or_one_of_another_version_is_written_anew(
    sample: Path, tmp_path: Path
) -> None:
    expected = contents(sample)
    shutil.copytree(sample, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "clue" / "afqmc_public" / "dev.json"
    file.write_text("mine", encoding="utf-8")
    write_sample(tmp_path)
    assert file.read_text(encoding="utf-8") == "mine"
    for marker in ("{}\n", '{"version": 1, "seed": 0, "size": 1}\n'):  # the first as an interrupted run leaves it
        file.write_text("mine", encoding="utf-8")
        (tmp_path / "sample.json").write_text(marker, encoding="utf-8")
        write_sample(tmp_path)
        assert contents(tmp_path) == expected


def test_real_data_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "clue").mkdir()
    with pytest.raises(InputError, match="is not the sample's and would be overwritten"):
        write_sample(tmp_path)
    (tmp_path / "sample.json").write_text('{"rows": []}', encoding="utf-8")
    with pytest.raises(InputError, match="was not written by the sample"):
        write_sample(tmp_path)
    assert not list((tmp_path / "clue").iterdir())
