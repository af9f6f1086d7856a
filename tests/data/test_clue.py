"""The built-in tasks: their labels, files and sizes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ernie_tiny.data.clue import CLUE, find_task
from ernie_tiny.data.fewclue import FEWCLUE
from ernie_tiny.data.glue import GLUE
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import facts_of
from ernie_tiny.kinds.read import read_split

real_data = pytest.mark.skipif(
    "ERNIE_TINY_DATA" not in os.environ, reason="ERNIE_TINY_DATA does not name a folder with CLUE's data"
)


def test_the_ten_tasks_and_their_kinds() -> None:
    assert {name: task.kind for name, task in CLUE.items()} == {
        "afqmc": "pair",
        "tnews": "classification",
        "iflytek": "classification",
        "cmnli": "pair",
        "ocnli": "pair",
        "cluewsc2020": "coreference",
        "csl": "keywords",
        "cmrc2018": "reading",
        "chid": "cloze",
        "c3": "multiple_choice",
    }


@pytest.mark.parametrize("task", [*CLUE.values(), *FEWCLUE.values(), *GLUE.values()], ids=lambda task: task.name)
def test_a_task_is_consistent(task: TaskSpec) -> None:
    facts = facts_of(task.kind)
    assert bool(task.labels) == facts.labelled and len(task.texts) in (facts.texts or (0,))
    assert len(set(task.labels)) == len(task.labels)
    assert set(task.submission) <= set(task.files)


def test_label_orders_of_the_two_inference_tasks_differ_as_in_paddlenlp() -> None:
    assert CLUE["cmnli"].labels == ("contradiction", "entailment", "neutral")
    assert CLUE["ocnli"].labels == ("entailment", "contradiction", "neutral")


def test_numbers_of_labels() -> None:
    labels = {name: len(task.labels) for name, task in {**CLUE, **FEWCLUE}.items() if task.labels and "-" not in name}
    assert labels == {
        "afqmc": 2,
        "tnews": 15,
        "iflytek": 119,
        "cmnli": 3,
        "ocnli": 3,
        "cluewsc2020": 2,
        "csl": 2,
        "bustm": 2,
        "eprstmt": 2,
        "csldcp": 67,
    }


def test_five_draws_and_their_union_are_tasks() -> None:
    assert len(FEWCLUE) == 3 * 6
    assert FEWCLUE["bustm-3"].files == {
        "train": ("fewclue/bustm/train_3.json",),
        "dev": ("fewclue/bustm/dev_3.json",),
        "dev_few_all": ("fewclue/bustm/dev_few_all.json",),
        "test_public": ("fewclue/bustm/test_public.json",),
    }
    assert FEWCLUE["csldcp"].files["train"] == ("fewclue/csldcp/train_few_all.json",)
    assert (FEWCLUE["csldcp-0"].name, FEWCLUE["csldcp-0"].max_length) == ("csldcp-0", 256)


def test_submission_names_are_those_of_the_leaderboard() -> None:
    names = {name for task in CLUE.values() for name in task.submission.values()}
    assert names == {
        "afqmc_predict.json",
        "tnews11_predict.json",
        "tnews10_predict.json",
        "iflytek_predict.json",
        "cmnli_predict.json",
        "ocnli_50k_predict.json",
        "cluewsc11_predict.json",
        "cluewsc10_predict.json",
        "csl_predict.json",
        "cmrc2018_predict.json",
        "chid11_predict.json",
        "chid10_predict.json",
        "c311_predict.json",
        "c310_predict.json",
    }
    assert CLUE["c3"].submission == {"test1.1": "c311_predict.json", "test1.0": "c310_predict.json"}


def test_find_task_prefers_the_users_own() -> None:
    own = TaskSpec(name="tnews", kind="reading", files={})
    assert find_task("tnews") is CLUE["tnews"]
    assert find_task("bustm") is FEWCLUE["bustm"]
    assert find_task("tnews", {"tnews": own}) is own


def test_find_task_offers_the_nearest_name() -> None:
    with pytest.raises(InputError, match="no task 'tnew'. Did you mean 'tnews'"):
        find_task("tnew")
    with pytest.raises(InputError, match="Did you mean 'shopping'"):
        find_task("shoping", {"shopping": CLUE["tnews"]})
    with pytest.raises(InputError, match="Valid: afqmc, tnews"):
        find_task("zzz")


@real_data
@pytest.mark.parametrize(
    ("task", "split", "examples", "dropped"),
    [
        ("afqmc", "train", 34334, 0),
        ("afqmc", "dev", 4316, 0),
        ("afqmc", "test", 3861, 0),
        ("tnews", "train", 53360, 0),
        ("tnews", "dev", 10000, 0),
        ("tnews", "test", 10000, 0),
        ("tnews", "test1.0", 10000, 0),
        ("iflytek", "train", 5622, 0),
        ("iflytek", "dev", 2599, 0),
        ("iflytek", "test", 2600, 0),
        ("cmnli", "dev", 12241, 0),
        ("cmnli", "test", 13880, 0),
        ("ocnli", "train", 50437, 49),
        ("ocnli", "dev", 2950, 50),
        ("ocnli", "test", 3000, 0),
        ("cluewsc2020", "train", 1244, 0),
        ("cluewsc2020", "dev", 304, 0),
        ("cluewsc2020", "test", 290, 0),
        ("csl", "train", 20000, 0),
        ("csl", "dev", 3000, 0),
        ("csl", "test", 3000, 0),
        ("cmrc2018", "train", 10142, 0),
        ("cmrc2018", "dev", 3219, 0),
        ("cmrc2018", "test", 2000, 0),
        ("cmrc2018", "trial", 1002, 0),
        ("c3", "train", 11869, 0),
        ("c3", "dev", 3816, 0),
        ("c3", "test1.0", 3892, 0),
        ("c3", "test1.1", 1625, 0),
        ("bustm", "train", 160, 0),
        ("eprstmt", "dev", 160, 0),
        ("csldcp", "train", 2036, 0),
        *(
            (f"{task}-{draw}", split, size, 0)
            for task, size in (("bustm", 32), ("eprstmt", 32), ("csldcp", 536))
            for draw in range(5)
            for split in ("train", "dev")
        ),
    ],
)
def test_sizes_of_the_real_splits(task: str, split: str, examples: int, dropped: int) -> None:
    read = read_split(find_task(task), Path(os.environ["ERNIE_TINY_DATA"]), split)
    assert (len(read.examples), read.dropped) == (examples, dropped)
    unlabelled = split.startswith("test")
    assert all((not example.answers and example.label is None) == unlabelled for example in read.examples)


@real_data
def test_real_answers_that_are_misplaced_are_moved_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    read = read_split(CLUE["cmrc2018"], Path(os.environ["ERNIE_TINY_DATA"]), "train")
    for example in read.examples:
        for answer in example.answers:
            assert example.texts[1].startswith(answer.text, answer.start)
    assert "21 answers" in caplog.text
