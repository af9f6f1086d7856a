"""What a person reads of a task's scores: a confusion matrix, the worst answers."""

from __future__ import annotations

import numpy as np
from rich.cells import cell_len

from ernie_tiny.report.details import confusion_lines, detail_lines
from ernie_tiny.report.tables import TERMINAL_WIDTH


def test_a_matrix_too_wide_for_a_terminal_becomes_its_most_frequent_confusions() -> None:
    assert confusion_lines(("好", "坏"), ((3, 1), (0, 20))) == [
        "right \\ given  好  坏",
        "---------------------",
        "好              3   1",
        "坏              0  20",
    ]
    counts = np.diag(np.full(60, 9))
    counts[2, 1], counts[50, 3] = 4, 7
    lines = confusion_lines([str(label) for label in range(60)], counts.tolist())
    assert lines == ["50 taken for 3: 7 times", "2 taken for 1: 4 times"]


def test_details_show_score_interval_agreement_and_worst_answers() -> None:
    record = {
        "model": "student@finetune", "task": "toy", "split": "dev", "examples": 2,
        "scores": {"exact_match": 50.0, "f1": 60.0}, "intervals": {"exact_match": [0.0, 100.0], "f1": [20.0, 100.0]},
        "agreement": {"with": "teacher@enhance", "percent": 75.0},
        "worst": [{"id": "q1", "f1": 20.0, "question": "谁？", "prediction": "北", "references": ["北京", "北京"]}],
    }  # fmt: skip
    first, second, third = detail_lines(record)
    assert first.endswith("dev, 2 examples: exact_match 50.00 [0.00, 100.00]  f1 60.00 [20.00, 100.00]")
    assert second == "    agreement with teacher@enhance: 75.00 %"
    assert third == "    id q1  f1 20.00  question 谁？  prediction 北  references 北京"
    types = [{"type": "PER", "f1": 50.0, "precision": 40.0, "recall": 66.666, "entities": 3}]
    assert detail_lines({**record, "worst": types, "broken": 7})[2:] == [
        "    sequences of most probable tags that do not keep to their scheme: 7",
        "    type PER  f1 50.00  precision 40.00  recall 66.67  entities 3",
    ]
    assert max(map(cell_len, (second, third))) <= TERMINAL_WIDTH
