"""What a TaskSpec refuses, and how it holds out splits."""

from __future__ import annotations

from typing import Any

import pytest

from ernie_tiny.data.task import TaskSpec
from ernie_tiny.errors import InputError

FILES = {"train": ("train.tsv",)}


def spec(**fields: Any) -> TaskSpec:
    return TaskSpec(
        **{
            "name": "toy",
            "kind": "classification",
            "files": FILES,
            "texts": ("text",),
            "labels": ("0", "1"),
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("kind", "metric"),
    [
        ("pair", "accuracy"),
        ("regression", "pearson"),
        ("cloze", "accuracy"),
        ("reading", "exact_match"),
    ],
)
def test_a_task_that_names_no_metric_has_its_heads_first(kind: str, metric: str) -> None:
    assert spec(kind=kind).metric == metric


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "pairs"}, "task toy: kind = 'pairs'. Did you mean 'pair'"),
        ({"metric": "acuracy"}, "task toy: metric = 'acuracy'. Did you mean 'accuracy'"),
        ({"kind": "reading", "metric": "accuracy"}, "metric = 'accuracy'. Valid: exact_match, f1"),
        ({"kind": "regression", "metric": "f1"}, "metric = 'f1'. Valid: pearson, spearman"),
        ({"kind": "reading", "scorer": "squat"}, "scorer = 'squat'. Did you mean 'squad'"),
        ({"labels": ("0",)}, r"task toy: labels = \['0'\]. Name them in the order of the logits"),
        (
            {"labels": ("0", "1", "2"), "metric": "f1"},
            "metric = 'f1' is that of the second of two labels, and there are 3",
        ),
        ({"held_out": {"train": 0.1}}, r"held_out = \{'train': 0.1\} names 'train', which has files"),
        ({"held_out": {"dev": 0.5, "test": 0.5}}, "each above 0 and together below 1"),
        ({"held_out": {"dev": 0.0}}, "each above 0 and together below 1"),
        ({"kind": "reading", "texts": (), "held_out": {"dev": 0.1}}, "is for kinds with texts"),
    ],
)
def test_what_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spec(**fields)


def test_held_out_splits_part_the_rows_by_their_texts() -> None:
    task = spec(held_out={"dev": 0.1, "test": 0.2})
    rows = [(f"text {number}",) for number in range(5000)]
    splits = {name: {row for row in rows if task.holds(name, row)} for name in ("train", "dev", "test")}
    assert sum(map(len, splits.values())) == len(set.union(*splits.values())) == len(rows)
    assert {name: len(part) / len(rows) for name, part in splits.items()} == pytest.approx(
        {"train": 0.7, "dev": 0.1, "test": 0.2}, abs=0.02
    )
    assert {task.files_of(name) for name in splits} == {("train.tsv",)}
    assert task.files_of("unlabeled") == ()


def test_a_held_out_split_has_the_columns_of_the_train_files() -> None:
    columns = {"train": ("text", "label"), "dev": ("text", "stars")}
    task = spec(columns=columns, files={**FILES, "more": ("more.tsv",)}, held_out={"dev": 0.1, "test": 0.1})
    found = {split: task.columns_of(split) for split in ("train", "dev", "test", "more")}
    assert found == {**columns, "test": ("text", "label"), "more": ()}


def test_a_row_never_moves_when_a_split_is_added() -> None:
    few, more = spec(held_out={"dev": 0.1}), spec(held_out={"dev": 0.1, "test": 0.1})
    rows = [(f"text {number}", "b") for number in range(500)]
    assert [few.holds("dev", row) for row in rows] == [more.holds("dev", row) for row in rows]


def test_splits_with_files_of_their_own_are_whole() -> None:
    task = spec(files={**FILES, "test": ("test.tsv",)}, held_out={"dev": 0.5})
    assert all(task.holds("test", (f"text {number}",)) for number in range(50))
    assert all(spec().holds("train", (f"text {number}",)) for number in range(50))
