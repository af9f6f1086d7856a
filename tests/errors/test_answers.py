"""The rows D of docs/errors.md that recorded answers have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable

import pytest

from ernie_tiny.config import RunConfig, load_config
from ernie_tiny.data.task import Example
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.answers import Reading, read_answers
from ernie_tiny.runs.doctor import examine_run
from ernie_tiny.runs.installation import FAULT
from tests.errors.test_data import CHOICE, check, lines, write_run


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., RunConfig]:
    """Makes the run with a first stage that learns from a file of answers of these rows."""

    write_run(tmp_path)

    def make(*rows: Any, changes: Sequence[str] = ()) -> RunConfig:
        (tmp_path / "answers.jsonl").write_bytes(lines(*rows))
        taught = ["stages.0.teacher={answers: answers.jsonl}", "stages.0.objective={soft: {}}"]
        places = [f"data.root={tmp_path}", f"output_dir={tmp_path}/run"]
        return load_config(tmp_path / "run.yaml", [*places, *taught, *changes])

    return make


SMOOTHED = ["stages.0.teacher.label_smoothing=0.1"]
THREE = [{"id": name, "logits": [0, 1]} for name in "012"]
ENTITY = {"type": "PER", "start": 1, "end": 9}
LABELLING = "{kind: labelling, labels: [PER], files: {train: [named.jsonl], dev: [named.jsonl]}}"


@pytest.mark.parametrize(
    ("row", "answers", "changes"),
    [
        ("D65", THREE[:1], ()),
        ("D67", [*THREE, {**THREE[0], "logits": [1, 0]}], ()),
        ("D68", [{"label": "a"}], SMOOTHED),
        ("D69", [{"id": 0}], ()),
        ("D70", [{"id": 0, "label": "a"}], ()),
        ("D71", [{"id": 0, "probabilities": {"a": 0.5, "c": 0.5}}], ()),
        ("D72", [{"id": 0, "probabilities": [0.5, 0.2]}], ()),
        ("D73", [{"id": 0, "logits": [1, 2, 3]}], ()),
        ("D74", [{"id": 0, "probabilities": [0.5, 0.5]}], ["stages.0.objective={logit_mse: {}}"]),
        (
            "D75",
            THREE,
            ["data.tasks.mine.files={train: [train.jsonl], unlabelled: [late.jsonl], dev: [dev.jsonl]}"],
        ),
        ("D76", [{"id": 0, "label": [ENTITY]}], [f"data.tasks.mine={LABELLING}", *SMOOTHED]),
        ("D77", [{"id": 0, "logits": [1, "x"]}], ()),
        ("D84", [{"id": 0, "text": "天", "logits": [0, 1]}], ()),
        ("D78", [{"id": 0, "probabilities": [1.5, -0.5]}], ()),
    ],
)
def test_recorded_answers(
    row: str, answers: list[Any], changes: Sequence[str], recorded: Callable[..., RunConfig], tmp_path: Path, says: Any
) -> None:
    (tmp_path / "named.jsonl").write_bytes(lines({"text": "今天", "label": {"PER": {"今": [[0, 0]]}}}))
    with pytest.raises(InputError) as caught:
        check(recorded(*answers, changes=changes))
    says(row, caught.value)


def test_a_choice_that_is_a_text_and_the_number_of_another(tmp_path: Path, says: Any) -> None:
    (tmp_path / "answers.jsonl").write_bytes(lines({"id": 0, "label": "2"}))
    asked = {"train": [Example("0", ("甲", "乙"), 0, ("3", "2", "5"))]}
    with pytest.raises(InputError) as caught:
        read_answers(CHOICE, Reading(tmp_path / "answers.jsonl", "stages.first.teacher", 0.1), asked, asked)
    says("D81", caught.value)


def test_recorded_answers_that_can_be_used(
    recorded: Callable[..., RunConfig], tmp_path: Path, says: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run = recorded(*THREE, {"id": "x", "logits": [0, 1]})
    check(run)
    says("D66", caplog.text)
    run_without = recorded(*THREE[:2])
    faults = [str(finding) for finding in examine_run(run_without) if finding.state == FAULT]
    assert any("1 of 3 examples of mine have no answer; the first is '2' of train" in fault for fault in faults)
    (tmp_path / "answers.jsonl").unlink()
    with pytest.raises(InputError) as caught:
        check(run)
    says("D64", caught.value)
