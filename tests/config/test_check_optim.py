"""The settings of a stage's optimisation that cannot work are refused."""

from __future__ import annotations

import pytest

from ernie_tiny.config import load_config
from tests.config.conftest import refused

CONFIG = """
name: toy
data: {corpora: {general: {files: [a.txt]}}}
models:
  teacher: {num_hidden_layers: 4, hidden_size: 16, num_attention_heads: 2}
  student: {num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2}
stages:
  - name: first
    train: teacher
    data: {tasks: [tnews]}
    objective: {hard: {}}
    optim: {max_steps: 3, batch_size: 4}
  - name: distil
    train: student
    teacher: teacher@first
    data: {corpus: general}
    objective: {relation: {relation_heads: 2}}
    optim: {max_steps: 3, batch_size: 4}
"""


@pytest.mark.parametrize(
    ("optim", "said"),
    [
        ("{batch_size: 4}", "max_steps or epochs"),
        ("{max_steps: 1, epochs: 1, batch_size: 4}", "max_steps or epochs"),
        ("{max_steps: 1}", "batch_size or max_tokens"),
        ("{max_steps: 1, batch_size: 4, max_tokens: 9}", "batch_size or max_tokens"),
    ],
)
def test_length_and_batches_are_given_in_one_way(path, optim, said):
    message = refused(path, f"stages.first.optim={optim}")
    assert "stages.first.optim needs" in message and said in message and "not both" in message


def test_epochs_are_for_tasks(path):
    message = refused(path, "stages.distil.optim={epochs: 1, batch_size: 4}")
    assert "stages.distil.optim.epochs" in message and "max_steps" in message


@pytest.mark.parametrize(
    ("batch", "key"),
    [(("optim.batch_size=1",), "optim"), (("task_settings.tnews.batch_size=1",), "task_settings.tnews")],
)
def test_a_relation_of_inputs_takes_two_in_a_batch(path, batch, key):
    related = ["train=student", "teacher=teacher", "per_task=true", "objective={sample_relation: {relation_heads: 2}}"]
    overrides = [f"stages.distil.{item}" for item in (*related, "data={tasks: [tnews]}")]
    load_config(path, overrides)
    message = refused(path, *overrides, *(f"stages.distil.{item}" for item in batch))
    assert f"stages.distil.{key}.batch_size = 1: sample_relation compares inputs of a batch" in message


@pytest.mark.parametrize("key", ["learning_rate", "max_steps", "max_tokens", "accumulate", "warmup_ratio"])
@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_numbers_of_optimisation_are_in_range(path, key, value):
    override = f"stages.first.optim.{key}={value}"
    if (key, value) in [("learning_rate", 1.5), ("warmup_ratio", 0)]:
        load_config(path, [override])
    else:
        assert f"stages.first.optim.{key} = {value}" in refused(path, override)
