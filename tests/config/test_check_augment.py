"""Augmentation that cannot work is refused when the config is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.errors import InputError
from ernie_tiny.training.tasks import task_specs

CONFIG = """
name: toy
data: {corpora: {general: {files: [a.txt]}}}
models:
  teacher: {num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2}
stages:
  - name: pretrain
    train: teacher
    data: {corpus: general}
    objective: {mlm: {}}
    optim: {max_steps: 3, batch_size: 4}
  - name: enhance
    train: teacher@pretrain
    data: {tasks: [afqmc, c3], augment: {model: teacher@pretrain}}
    objective: {hard: {}}
    optim: {max_steps: 3, batch_size: 4}
  - name: again
    train: teacher@enhance
    data: {tasks: [tnews]}
    objective: {hard: {}}
    optim: {max_steps: 3, batch_size: 4}
"""


def load(folder: Path, *overrides: str):
    (folder / "toy.yaml").write_text(CONFIG, encoding="utf-8")
    return load_config(folder / "toy.yaml", list(overrides))


def test_tinyberts_settings_are_the_defaults(tmp_path):
    augment = load(tmp_path).stage("enhance").data.augment
    assert (augment.model, augment.probability, augment.candidates) == ("teacher@pretrain", 0.4, 15)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.pretrain.data.augment={model: teacher}", "stages.pretrain.data.augment copies a task's examples"),
        ("stages.again.data.augment={model: teacher@enhance}", "'teacher@enhance' has no head for masked tokens"),
        ("stages.enhance.data.augment.model=teacher", "'teacher' has no head for masked tokens"),
        ("stages.enhance.data.augment.model=teacher@again", "no stage before this one is named 'again'"),
        ("stages.enhance.data.augment.model=teachr@pretrain", "Did you mean 'teacher'"),
        ("stages.enhance.data.augment.probability=1.5", "probability = 1.5: must be above 0 and at most 1"),
        ("stages.enhance.data.augment.copies=0", "augment.copies = 0: must be above 0"),
        ("stages.enhance.data.augment.candidates=0", "augment.candidates = 0: must be above 0"),
    ],
)
def test_what_cannot_work_is_refused(override, message, tmp_path):
    with pytest.raises(InputError) as caught:
        load(tmp_path, override)
    assert message in str(caught.value)


@pytest.mark.parametrize("heads, able", [('{"masked_tokens": true}', True), ('{"masked_tokens": false}', False)])
def test_a_pretrained_folder_says_whether_it_has_the_head(heads, able, tmp_path):
    (tmp_path / "heads.json").write_text(heads, encoding="utf-8")
    overrides = [f"models.mlm={{pretrained: '{tmp_path}'}}", "stages.enhance.data.augment.model=mlm"]
    if able:
        assert load(tmp_path, *overrides).stage("enhance").data.augment.model == "mlm"
        return
    with pytest.raises(InputError, match="'mlm' has no head for masked tokens"):
        load(tmp_path, *overrides)


def test_a_model_without_a_folder_has_no_head_whatever_lies_in_the_folder_that_one_is_in(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertForMaskedLM"]}')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="'teacher' has no head for masked tokens"):
        load(tmp_path, "stages.enhance.data.augment.model=teacher")


def test_a_damaged_heads_file_is_named(tmp_path):
    (tmp_path / "heads.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=r"heads\.json is damaged"):
        load(tmp_path, f"models.mlm={{pretrained: '{tmp_path}'}}", "stages.enhance.data.augment.model=mlm")


def test_a_skipped_stage_is_no_augmenting_model(tmp_path):
    with pytest.raises(InputError, match="'teacher' has no head for masked tokens"):
        load(tmp_path, "stages.pretrain.skip=true")


@pytest.mark.parametrize(("task", "reason"), [("cmrc2018", "its spans"), ("cluewsc2020", "the marks in the text")])
def test_tasks_that_replaced_tokens_would_spoil_are_refused(task, reason, tmp_path):
    run = load(tmp_path, f"stages.enhance.data.tasks=[afqmc, {task}]")
    with pytest.raises(InputError, match=f"augment: {task} cannot be augmented: replaced tokens would spoil {reason}"):
        task_specs(run)
    task_specs(load(tmp_path))
