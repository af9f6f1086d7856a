"""Named entities by type on the page of a run, computed by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.evaluation.metrics import scorer
from ernie_tiny.evaluation.scores import Scores
from ernie_tiny.kinds.entities import Entity
from ernie_tiny.report.results import Results, TypeScore, TypeScores, from_record, to_record
from ernie_tiny.report.runs import Run
from tests.report.made_results import html_page, make, markdown_page

TEXT = "甲乙丙丁戊己"
SPEC = TaskSpec("ner", "labelling", {}, labels=("PER", "LOC"))
# Given are PER at 0 (right), LOC at 2 (right), PER at 4 to 6 (an end is wrong), LOC at 5 (there is none).
WANTED = (("PER", 0, 1), ("LOC", 2, 4), ("PER", 4, 5))
GIVEN = (("PER", 0, 1), ("LOC", 2, 4), ("PER", 4, 6), ("LOC", 5, 6))
HEADER = "| model | task | type | precision | recall | F1 | support | broken |"


def entities(*stretches: tuple[str, int, int]) -> tuple[Entity, ...]:
    return tuple(Entity(TEXT[start:end], name, start, end) for name, start, end in stretches)


def made(broken: float = 3, by: float = 0.0) -> Results:
    """Results whose student was scored on the entities above."""
    examples = [Example("0", (TEXT,), answers=(entities(*WANTED),))]
    predictions = [Prediction("0", entities(*GIVEN), broken=3)]
    results = make(tasks=("tnews", "ner"))
    student = results.models[1]
    scores_of = scorer(SPEC, examples, predictions)
    scores = Scores(SPEC, examples, predictions, scores_of(np.array([0])), scores_of)
    lines = [TypeScore(**line) for line in scores.by_type()]
    lines[0] = dataclasses.replace(lines[0], precision=lines[0].precision + by)
    student.types["ner"] = TypeScores(lines, broken)
    student.scores["ner"] = dict(scores.values)
    return results


def section(text: str) -> list[str]:
    return text.partition("## Named entities by type\n\n")[2].partition("\n\n## ")[0].splitlines()


def test_precision_recall_f1_support_and_what_is_broken_by_hand() -> None:
    header, _, *rows = section(markdown_page([Run(made())]))[:5]
    assert header == HEADER
    assert rows == [
        "| student | ner | PER | 50.00 | 50.00 | 50.00 | 2 |  |",  # 1 of 2 given, 1 of 2 wanted
        "| student | ner | LOC | 50.00 | 100.00 | 66.67 | 1 |  |",  # 1 of 2 given, 1 of 1 wanted: 2 * 0.5 / 1.5
        "| student | ner | all | 50.00 | 66.67 | 57.14 | 3 | 3 |",  # 2 of 4 given, 2 of 3 wanted: 4 / 7
    ]
    page = html_page([Run(made())])
    assert '<h2 id="entities-title">Named entities by type</h2>' in page and "<td>57.14</td>" in page
    assert "sequences of most probable tags that do not keep to their scheme" in page


def test_nothing_broken_is_said_and_runs_without_entities_have_no_such_section() -> None:
    assert section(markdown_page([Run(made(broken=0))]))[4].endswith("| 3 | 0 |")
    assert "Named entities" not in html_page([Run(make())]) + markdown_page([Run(make())])


def test_results_json_keeps_it_and_has_nothing_of_it_where_there_is_none() -> None:
    record = to_record(made())
    assert record["models"][1]["types"]["ner"]["broken"] == 3 and "types" not in record["models"][0]
    assert from_record(record) == made()


def test_several_seeds_show_means() -> None:
    runs = [Run(made(broken, by), config={"seed": seed}) for seed, (broken, by) in enumerate([(1, 0.0), (4, 9.0)])]
    runs[1].results.models[1].scores["ner"] = {"precision": 60.0, "recall": 70.0, "f1": 63.0}
    text = markdown_page(runs)
    lines = section(text)
    assert lines[2] == "| student | ner | PER | 54.50 | 50.00 | 50.00 | 2 |  |"
    # of 50.00 and 60.00, 66.67 and 70.00, 57.14 and 63.00
    assert lines[4] == "| student | ner | all | 55.00 | 68.33 | 60.07 | 3 | 2.5 |"
    assert "- Means over the seeds." in lines


@pytest.mark.parametrize("value", ["much", None])
def test_a_damaged_record_is_refused(value: object) -> None:
    record = to_record(made())
    record["models"][1]["types"]["ner"]["types"][0]["precision"] = value
    with pytest.raises(ValueError, match=r"types\.ner\.types\.0\.precision"):
        from_record(record)
