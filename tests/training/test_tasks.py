"""The examples of docs/add-a-task.md, read as a user's config would be, and what a user's task may not be."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ernie_tiny.config import load_config
from ernie_tiny.config.data import TaskConfig
from ernie_tiny.config.schema import RunConfig
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.read import read_split
from ernie_tiny.training.tasks import custom_tasks, task_specs, training_splits

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add-a-task.md"
FENCES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
BLOCKS = [yaml.safe_load(block) for block in FENCES]
EXAMPLES = {name: task for block in BLOCKS for name, task in block.get("data", {}).get("tasks", {}).items()}
CATEGORIES = ("书籍", "平板", "手机", "水果", "洗发水", "热水器", "蒙牛", "衣服", "计算机", "酒店")
SHOPPING = "".join(f'{CATEGORIES[number % 10]},{number % 2},"评论, 第{number}"\n' for number in range(200))
MSRA = "".join(f"王 B-PER\n{chr(0x4E00 + number)} E-PER\n来 O\n\n" for number in range(100))
# A small file of the form that the page describes, for each file that it names.
FILES = {
    "chnsenticorp/train.tsv": 'label\ttext_a\n1\t很"好\n0\t不好\n',
    "chnsenticorp/dev.tsv": "qid\tlabel\ttext_a\n7\t0\t太差\n8\t1\t不错\n",
    "chnsenticorp/test.tsv": "qid\ttext_a\n9\t还行\n",
    "lcqmc/train.tsv": "text_a\ttext_b\tlabel\n喜欢打篮球\t爱打篮球\t1\n",
    "lcqmc/dev.tsv": "text_a\ttext_b\tlabel\n你好\t再见\t0\n",
    "lcqmc-plain/train.tsv": "喜欢打篮球\t爱打篮球\t1\n",
    "lcqmc-plain/dev.tsv": "你好\t再见\t0\n",
    "shopping_10/online_shopping_10_cats.csv": f"cat,label,review\n{SHOPPING}",
    "ner/msra/train.txt": MSRA,
    "ner/msra/test.txt": MSRA,
    "hotels/labelled.csv": "label,review\n1,很好\n0,不好\n",
    "hotels/more.csv": "review\n还行\n",
    "hotels/questions.jsonl": '{"review": "一般"}\n',
    "hotels/dev.csv": "label,review\n1,不错\n",
    "similarity/train.jsonl": '{"sentence1": "甲", "sentence2": "乙", "score": 2.5}\n',
    "similarity/dev.jsonl": '{"sentence1": "甲", "sentence2": "丙", "score": 0}\n',
}


def config(folder: Path, **blocks: Any) -> RunConfig:
    content = {
        "name": "own",
        "models": {"student": {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2}},
        **blocks,
    }
    stage = {
        "name": "finetune",
        "train": "student",
        "data": {"tasks": list(content.get("data", {}).get("tasks", {}))},
        "objective": {"hard": {}},
        "optim": {"epochs": 1, "batch_size": 8},
    }
    content.setdefault("stages", [stage])
    (folder / "own.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return load_config(folder / "own.yaml")


def test_the_keys_of_a_task_are_the_fields_of_a_spec_with_its_types_and_defaults() -> None:
    """Config and data may not import each other, so that each has them."""
    keys, spec = (
        {item.name: (item.type, item.default, item.default_factory) for item in dataclasses.fields(kind)}
        for kind in (TaskConfig, TaskSpec)
    )
    assert keys == {name: field for name, field in spec.items() if name not in ("name", "submission")}


def test_the_page_has_an_example_of_each_form() -> None:
    assert set(EXAMPLES) == {
        "reviews",
        "questions",
        "questions-without-header",
        "shopping",
        "shopping-categories",
        "similarity",
        "msra",
        "hotels",
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_the_page_reads_its_files(tmp_path: Path, name: str) -> None:
    (block,) = (block for block in BLOCKS if name in block.get("data", {}).get("tasks", {}))
    spec = task_specs(config(tmp_path, data=block["data"]))[name]
    for file, text in FILES.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    train, dev = (read_split(spec, tmp_path, split).examples for split in ("train", "dev"))
    assert train and dev and all(example.label is not None or example.answers for example in (*train, *dev))
    assert all(len(example.texts) == max(1, len(spec.texts)) for example in train)
    if name == "reviews":
        assert [(example.id, *example.texts) for example in train] == [("0", '很"好'), ("1", "不好")]
        assert [example.id for example in dev] == ["7", "8"]
        assert read_split(spec, tmp_path, "test").examples[0].label is None
    if name == "hotels":
        unlabelled = read_split(spec, tmp_path, "unlabelled").examples
        assert [(*example.texts, example.label) for example in unlabelled] == [("还行", None), ("一般", None)]
    if name.startswith("shopping"):
        test = read_split(spec, tmp_path, "test").examples
        assert sorted(int(example.id) for example in (*train, *dev, *test)) == list(range(200))


def test_the_draws_of_the_page_are_tasks(tmp_path: Path) -> None:
    (block,) = (block for block in BLOCKS if "stages" in block)
    specs = task_specs(config(tmp_path, stages=block["stages"]))
    assert list(specs) == [f"bustm-{draw}" for draw in range(5)]
    assert [spec.files["train"] for spec in specs.values()] == [
        (f"fewclue/bustm/train_{draw}.json",) for draw in range(5)
    ]


def test_a_built_in_task_gets_unlabelled_files_for_stages_with_a_teacher(tmp_path: Path) -> None:
    stage = {"train": "student", "data": {"tasks": ["tnews"]}, "optim": {"epochs": 1, "batch_size": 8}}
    taught = {"teacher": "student", "objective": {"hard": {}, "soft": {}}}
    stages = [
        {**stage, "name": "finetune", "objective": {"hard": {}}},
        {**stage, **taught, "name": "distil"},
        {**stage, **taught, "name": "few", "data": {"tasks": ["tnews"], "examples": 7, "unlabelled_examples": 9}},
        {**stage, **taught, "name": "none", "data": {"tasks": ["tnews"], "unlabelled_examples": 0}},
    ]
    run = config(tmp_path, data={"unlabelled": {"tnews": ["clue/more.json"]}}, stages=stages)
    tnews = task_specs(run)["tnews"]
    assert tnews.files["unlabelled"] == ("clue/more.json",) and "train" in tnews.files
    assert [list(training_splits(stage, tnews)) for stage in run.stages] == [
        [("train", None)],
        [("train", None), ("unlabelled", None)],
        [("train", 7), ("unlabelled", 9)],
        [("train", None)],
    ]


def test_a_task_of_unlabelled_texts_alone_is_learnt_from_a_teacher_that_a_base_run_trained(tmp_path: Path) -> None:
    task = {"kind": "classification", "texts": ["a"], "labels": ["0", "1"], "files": {"unlabelled": ["x.jsonl"]}}
    stage = {"train": "student", "data": {"tasks": ["own"]}, "optim": {"epochs": 1, "batch_size": 8}}
    stages = [
        {**stage, "name": "finetune", "objective": {"hard": {}}},
        {**stage, "name": "distil", "teacher": "student@finetune", "objective": {"soft": {}}},
    ]
    run = config(tmp_path, data={"tasks": {"own": task}}, stages=stages)
    with pytest.raises(InputError, match="stages.finetune.data.tasks: own has unlabelled files alone"):
        task_specs(run)
    finished = dataclasses.replace(run.stages[0], taken_from="base")
    spec = task_specs(dataclasses.replace(run, stages=(finished, run.stages[1])))["own"]
    assert list(training_splits(run.stages[1], spec)) == [("unlabelled", None)]


def test_settings_of_a_task_bound_its_unlabelled_texts(tmp_path: Path) -> None:
    stage = {
        "name": "distil",
        "train": "student",
        "teacher": "student",
        "per_task": True,
        "data": {"tasks": ["tnews", "ocnli"]},
        "objective": {"soft": {}},
        "optim": {"epochs": 1, "batch_size": 8},
        "task_settings": {"ocnli": {"unlabelled_examples": 5}},
    }
    unlabelled = {"tnews": ["a.json"], "ocnli": ["b.json"]}
    run = config(tmp_path, data={"unlabelled": unlabelled}, stages=[stage])
    specs = task_specs(run)
    found = {name: dict(training_splits(run.stages[0].of_task(name), spec)) for name, spec in specs.items()}
    assert found == {name: {"train": None, "unlabelled": limit} for name, limit in (("tnews", None), ("ocnli", 5))}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "regression", "texts": []}, r"data.tasks.own.texts = \[\]: the kind regression has 1 or 2"),
        ({"kind": "pair", "texts": ["a"], "labels": ["0", "1"]}, "the kind pair has 2"),
        (
            {"kind": "classification", "texts": ["a"], "labels": ["0", "1"], "metric": "acc"},
            "metric = 'acc'. Did you mean",
        ),
        ({"kind": "classification", "texts": ["a"]}, r"labels = \[\]. Name them"),
    ],
)
def test_what_no_task_can_be(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    run = config(tmp_path, data={"tasks": {"own": {"files": {"train": ["x.jsonl"]}, **fields}}})
    with pytest.raises(InputError, match=message):
        custom_tasks(run)


@pytest.mark.skipif("ERNIE_TINY_DATA" not in os.environ, reason="ERNIE_TINY_DATA does not name a data root")
def test_shopping_10_is_parted_without_a_review_in_two_splits(tmp_path: Path) -> None:
    (block,) = (block for block in BLOCKS if "shopping" in block.get("data", {}).get("tasks", {}))
    for spec in task_specs(config(tmp_path, data=block["data"])).values():
        root = Path(os.environ["ERNIE_TINY_DATA"])
        splits = {split: read_split(spec, root, split).examples for split in ("train", "dev", "test")}
        assert sum(map(len, splits.values())) == 62_774
        assert {split: len(examples) / 62_774 for split, examples in splits.items()} == pytest.approx(
            {"train": 0.8, "dev": 0.1, "test": 0.1}, abs=0.005
        )
        texts = [{example.texts for example in examples} for examples in splits.values()]
        assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]
