"""The list of kinds, their facts, and kinds of other packages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest

from ernie_tiny.batch import Feature
from ernie_tiny.data.batching import collate
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import FACTS, facts_of
from ernie_tiny.kinds.ask import head_of
from ernie_tiny.kinds.read import read_inputs
from ernie_tiny.kinds.registry import KINDS, kind_named
from ernie_tiny.models.forms import FORMS
from tests.end_to_end.multi_label import MULTI_LABEL


def spec(kind: str) -> TaskSpec:
    facts = FACTS[kind]
    texts = ("a", "b")[: facts.texts[-1]] if facts.texts else ()
    return TaskSpec("toy", kind, files={}, texts=texts, labels=("no", "yes", "maybe") if facts.labelled else ())


def package(folder: Path, value: str) -> None:
    """A package in a folder that says it has a kind."""
    info = folder / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[ernie_tiny.kinds]\nforeign = {value}\n", encoding="utf-8")


def test_every_kind_has_facts_and_they_are_its_own() -> None:
    assert list(KINDS) == list(FACTS)
    assert all(kind.facts is FACTS[name] for name, kind in KINDS.items())


def test_a_kind_of_another_package_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "tests.end_to_end.multi_label:MULTI_LABEL")
    with pytest.raises(InputError, match="kind = 'foreign'"):
        kind_named("foreign")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert kind_named("foreign") is MULTI_LABEL and facts_of("foreign") is MULTI_LABEL.facts
    assert TaskSpec("toy", "foreign", files={}, labels=("a", "b")).metric == "micro_f1"
    with pytest.raises(InputError, match="task toy: kind = 'foreing'. Did you mean 'foreign'?"):
        TaskSpec("toy", "foreing", files={})


@pytest.mark.parametrize("value", ["no_such_module:KIND", "tests.end_to_end.multi_label:NOTHING"])
def test_a_package_that_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    package(tmp_path, value)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=f"task toy: kind = 'foreign' is said to be {value}, which cannot be imported"):
        TaskSpec("toy", "foreign", files={})


@pytest.mark.parametrize("value", ["tests.end_to_end.multi_label", "tests.end_to_end.multi_label:read"])
def test_what_is_no_kind_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    package(tmp_path, value)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=f"is said to be {value}, which is no Kind but (module|function)"):
        TaskSpec("toy", "foreign", files={})


def test_the_kind_of_the_example_has_ids_of_its_records_and_needs_no_labels(tmp_path: Path) -> None:
    contents = {"a": [{"text": "甲"}, {"id": "x", "text": "乙"}], "b": [{"text": "丙", "labels": ["no"]}]}
    for name, records in contents.items():
        (tmp_path / name).write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    labelled = TaskSpec("toy", "classification", {}, ("text",), ("no", "yes"), label_field="labels")
    for split, answers in (("test", [(), (), (("no",),)]), ("unlabelled", [(), (), ()])):
        found = [example for _, example in MULTI_LABEL.read(labelled, [tmp_path / "a", tmp_path / "b"], split)]
        assert [example.id for example in found] == ["0", "x", "2"] and [each.answers for each in found] == answers
    with pytest.raises(InputError, match="a:1: no field 'labels'"):
        list(MULTI_LABEL.read(labelled, [tmp_path / "a"], "train"))


@pytest.mark.parametrize("name", list(KINDS))
def test_a_table_has_a_row_a_decision(name: str) -> None:
    """Three features, of logits as the form of the head has them."""
    kind, head = kind_named(name), head_of(spec(name))
    width = 2 if name in ("multiple_choice", "cloze") else 1
    label = (1, 2) if name == "reading" else (0.5,) if name == "regression" else (1,)
    features = []
    for number in range(3):
        sequence = (np.arange(3 + number, dtype=np.int32), np.zeros(3 + number, np.int32))
        own = (1,) * (3 + number) if name == "labelling" else label
        features.append(Feature(str(number), (sequence,) * max(1, width - number % 2), own))
    batch = collate(features, "toy", 0)
    shape = FORMS[head.form].shape(batch, head.outputs)
    logits = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    table = kind.decisions(paddle.to_tensor(logits), batch)
    each = 2 if name == "reading" else 1  # a window is two decisions
    assert table.labels is not None and table.logits.shape[0] == len(table.labels) == each * kind.count(batch)
    assert (table.real is not None) == (name in ("multiple_choice", "cloze", "reading"))
    assert table.real is None or list(table.real.shape) == table.logits.shape
    assert table.numeric == (name == "regression")
    if name == "labelling":  # a token a row, padding left out
        logits = np.concatenate([values[:, : 3 + number].T for number, values in enumerate(logits)])
    np.testing.assert_array_equal(table.logits.numpy().ravel(), logits.ravel())
    widths = FORMS[head.form].widths(batch, head.outputs)
    if table.real is not None:
        assert sorted({*table.real.sum(axis=-1).tolist()}) == sorted({*widths.tolist()})


@pytest.mark.parametrize("name", list(KINDS))
def test_the_sample_of_a_model_card_is_an_input_of_the_kind(name: str, tmp_path: Path) -> None:
    line = json.dumps(kind_named(name).sample_input(spec(name)), ensure_ascii=False)
    (tmp_path / "lines.jsonl").write_text(line, encoding="utf-8")
    assert len(read_inputs(spec(name), tmp_path / "lines.jsonl")) == 1
    assert kind_named(name).answers(spec(name))
