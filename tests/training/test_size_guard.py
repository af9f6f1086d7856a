"""A student that is not smaller than its teacher is pointed out, with what to do."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.runs.plan import plan
from ernie_tiny.training.size_guard import Size, size_warnings
from ernie_tiny.training.stage import prepare_stage
from ernie_tiny.training.workspace import Workspace

CONFIG = """
name: tiny
tokenizer: {build_from: general, vocab_size: 300}
models:
  teacher: {num_hidden_layers: 2, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 16}
  student: {num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 16}
data: {corpora: {general: {files: [general.txt]}}}
stages:
  - name: distil
    train: student
    teacher: teacher
    data: {corpus: general, max_length: 16}
    objective: {relation: {relation_heads: 2}}
    optim: {max_steps: 1, batch_size: 2}
"""
LAYER = 4 * (8 * 8 + 8) + (2 * 8 * 32 + 32 + 8) + 4 * 8
EMBEDDINGS, POOLER = (300 + 16 + 4 + 2) * 8, 8 * 8 + 8


def load(folder: Path, *overrides: str):
    folder.joinpath("run.yaml").write_text(CONFIG, encoding="utf-8")
    characters = "".join(chr(0x4E00 + number) for number in range(295))
    folder.joinpath("general.txt").write_text(f"{characters}\n" * 3, encoding="utf-8")
    return load_config(folder / "run.yaml", [f"data.root={folder}", f"output_dir={folder}/run", *overrides])


def warned_by_stage(folder: Path, caplog: pytest.LogCaptureFixture, *overrides: str) -> list[str]:
    workspace = Workspace(load(folder, *overrides))
    with caplog.at_level(logging.WARNING):
        prepare_stage(workspace, workspace.run.stage("distil"), None, folder / "stage")
    return [record.getMessage() for record in caplog.records if "smaller" in record.getMessage()]


def warned_by_plan(folder: Path, *overrides: str) -> list[str]:
    lines = plan(load(folder, *overrides)).splitlines()
    return [line.partition("warning: ")[2] for line in lines if "warning: " in line]


def test_plan_and_stage_say_the_same_with_the_parameters_of_each_part(tmp_path, caplog):
    wide = "models.student.num_hidden_layers=2"
    (text,) = warned_by_plan(tmp_path, wide)
    assert warned_by_stage(tmp_path, caplog, wide) == [text]
    (expected,) = size_warnings(
        "distil",
        {"student": Size(EMBEDDINGS, 2 * LAYER + POOLER)},
        {"teacher": Size(EMBEDDINGS, 2 * LAYER + POOLER)},
    )
    assert text == expected


@pytest.mark.parametrize("overrides", [(), ("stages.distil.auxiliary_layers=3",)])
def test_nothing_is_said_of_a_smaller_student(overrides, tmp_path, caplog):
    assert warned_by_plan(tmp_path, *overrides) == warned_by_stage(tmp_path, caplog, *overrides) == []


@pytest.mark.parametrize(("embeddings", "advice"), [(600_000, "Lower models.nano"), (610_000, "prune_vocabulary")])
def test_pruning_is_offered_where_embeddings_are_most_of_the_student(embeddings, advice):
    student = {"nano": Size(embeddings, 1_000_000 - embeddings), "small": Size(1, 1)}
    (text,) = size_warnings("TSD", student, {"teacher@a": Size(200_000, 300_000), "other@b": Size(0, 500_000)})
    assert text.startswith("stages.TSD: nano is not smaller than its teacher: parameters 1.00 M (0.6")
    assert "; teacher@a, other@b: 1.00 M (0.20 M embeddings, 0.80 M layers)" in text
    assert advice in text


def test_without_a_teacher_there_is_nothing_to_say():
    assert list(size_warnings("scratch", {"student": Size(1, 1)}, {})) == []
