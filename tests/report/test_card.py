"""The card of an exported model tells what the run's records hold, and its command works."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from ernie_tiny.config import load_config
from ernie_tiny.data.clue import SUBMITTED, find_task
from ernie_tiny.data.glue import GLUE
from ernie_tiny.kinds.read import read_inputs
from ernie_tiny.report.card import Export, Gate, model_card
from ernie_tiny.report.results import Results
from tests.report.made_results import make

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PARITY = {"static": 1e-7, "inference": 2.5e-6}


def card(reference="student@finetune", config="mitkd/nano.yaml", task="ocnli", overrides=(), results=None) -> str:
    run = load_config(CONFIGS / config, overrides)
    spec = find_task(task)
    return model_card(Export(run, reference, spec, 17_900_000, 13_100_000, results, 71.6, Gate(PARITY, 32, 1e-4)))


def section(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def results_of(reference: str) -> Results:
    results = make()
    for model in results.models:
        model.scores = {task: {"accuracy": score} for task, score in model.main.items()}
    results.models[1].reference, results.models[1].intervals = reference, {"ocnli": {"accuracy": (74.5, 77.5)}}
    return results


def test_card_tells_data_method_scores_limits_and_licences():
    text = card(results=results_of("student@finetune"))
    assert "Answers ocnli (pair: one of 3 labels)" in text and "17.90 M parameters (4.80 M without embeddings)" in text
    assert "- distil: general text `general`" in section(text, "Data")
    assert "| distil | student | teacher@enhance | 1 relation | 12.00 | 10.0 |" in section(text, "Method")
    assert "`teacher` starts from ernie-3.0-base-zh." in section(text, "Method")
    scores = section(text, "Scores")
    assert "On dev of ocnli, 2,950 examples" in scores
    assert "| student, student@finetune (this model) | 76.00 [74.50, 77.50] |" in scores
    assert "| teacher, teacher@end | 80.00 |" in scores and "same answer to 84.50 %" in scores
    assert "2.5e-06 (Paddle Inference) and 1.0e-07 (static graph)" in scores
    assert "CC BY-NC" in section(text, "Licences")


def test_stages_are_those_that_led_to_the_model_in_their_order():
    method = section(card("student@TSD", "progressive/nano.yaml"), "Method")
    names = re.findall(r"^\| ([\w-]+) \|", method, re.MULTILINE)
    assert names[0] == "stage" and [name for name in names[1:] if name in ("GD", "GED", "TAD", "TSD")] == [
        "GD", "GED", "TAD", "TSD",
    ]  # fmt: skip
    assert "scratch" not in names and "finetune-teacher" in names


def test_card_of_a_model_that_was_not_scored_says_so():
    assert "was not scored" in card() and "was not scored" in card(results=results_of("student@scratch"))


@pytest.mark.parametrize("task, benchmark", [("cluener", "CLUE"), ("stsb", "GLUE"), ("bustm", "FewCLUE")])
def test_licences_name_the_benchmark_of_each_task(task, benchmark):
    tasks = [f"stages.{stage}.data.tasks=[{task}]" for stage in ("enhance", "finetune", "scratch")]
    text = card(task=task, overrides=tasks)
    assert f"see {benchmark}'s terms for this set" in section(text, "Licences")


def test_licences_are_of_the_weights_on_the_way_to_the_model():
    models = ["models.other.pretrained=ernie-3.0-mini-zh", "models.start.pretrained=ernie-3.0-nano-zh"]
    student = ["models.student.init_from=start", "models.student.init_layers=[0, 1, 2, 3]"]
    text = section(card(overrides=[*models, *student]), "Licences")
    assert "weights of ernie-3.0-base-zh:" in text and "weights of ernie-3.0-nano-zh:" in text
    assert "ernie-3.0-mini-zh" not in text


def test_invented_data_is_named_as_such():
    text = card(config="quickstart.yaml")
    assert "invented by the project" in section(text, "Data") and "CC BY-NC" not in text


@pytest.mark.parametrize("task", [*SUBMITTED, "stsb"])
def test_line_of_the_command_is_one_that_the_model_reads(task, tmp_path):
    spec = find_task(task)
    line = re.search(r"^echo '(.*)' \| python tools/infer.py", card(task=task), re.MULTILINE)
    assert line is not None
    (tmp_path / "lines.jsonl").write_text(line[1], encoding="utf-8")
    assert read_inputs(dataclasses.replace(spec, max_length=64), tmp_path / "lines.jsonl")


def test_texts_without_labels_are_told_of_the_stages_that_read_them():
    stages = section(card("student@distil", "own_data.yaml"), "Data").split()
    assert " ".join(stages) == "- teach: train of mine - distil: train of mine, and texts without labels"
    some = card("student@distil", "own_data.yaml", overrides=["stages.distil.data.unlabelled_examples=2000"])
    assert "- distil: train of mine, and 2,000 texts without labels\n" in some
    none = card("student@distil", "own_data.yaml", overrides=["stages.distil.data.unlabelled_examples=0"])
    assert "- distil: train of mine\n" in none


@pytest.mark.parametrize(
    "task, said",
    [
        ("ocnli", "Inputs are cut to 128 tokens.\n"),
        ("cmrc2018", "Texts of more than 512 tokens are answered in windows.\n"),
        ("cluener", "Texts of more than 128 tokens are answered in windows.\n"),
    ],
)
def test_limits_say_what_becomes_of_long_inputs(task, said):
    tasks = [f"stages.{stage}.data.tasks=[{task}]" for stage in ("enhance", "finetune", "scratch")]
    assert f"- {said}" in section(card(task=task, overrides=tasks), "Limits")


def test_limits_and_language_are_not_those_of_one_benchmark():
    chosen = section(card(), "Limits")
    assert "- Dev also selected the weights, so that its score is optimistic. There is no score on test.\n" in chosen
    assert "- There is no score on test.\n" in section(card(overrides=["stages.finetune.select.every=null"]), "Limits")
    run = load_config(CONFIGS / "mitkd/nano.yaml")
    export = Export(run, "student@finetune", GLUE["stsb"], 1, 1, None, 1.0, transformers_head="SequenceClassification")
    assert "library_name: transformers" in model_card(export) and "language" not in model_card(export)
    assert "longer ones are cut where `truncation=True` is given" in section(model_card(export), "Limits")


def test_python_of_the_card_compiles():
    code = re.search(r"```python\n(.*?)```", card(), re.DOTALL)
    assert code is not None
    compile(code[1], "card", "exec")
    assert code[1].index("prepare(") < code[1].index("from ernie_tiny import Predictor")  # which imports Paddle
