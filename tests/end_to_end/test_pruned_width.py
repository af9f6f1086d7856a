"""A student without half of its neurons: cut by importance, recovered in a stage, an ordinary folder in the end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.errors import InputError
from ernie_tiny.models.multitask import load_model
from ernie_tiny.runs.plan import plan
from ernie_tiny.training.workspace import Workspace
from tests.end_to_end.tiny import tool

CONFIG = """
name: pruned
data: {sample: true}
tokenizer: {build_from: general, vocab_size: 300}
models:
  student: &shape {num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, intermediate_size: 32,
                   max_position_embeddings: 64}
  pruned: {<<: *shape, intermediate_size: 16, init_from: student@finetune, init_layers: [0, 1],
           init_narrowed: importance}
stages:
  - name: finetune
    train: student
    data: &data {tasks: [tnews], max_length: 24, examples: 48}
    objective: {hard: {}}
    optim: &optim {learning_rate: 5.0e-3, max_steps: 6, batch_size: 16}
  - name: recover
    train: pruned
    teacher: student@finetune
    data: *data
    objective: {soft: {}, hidden: {layers: [top]}}
    optim: *optim
report: {teacher: student@finetune, student: pruned@recover, examples: 20}
runtime: {threads: 1, visualdl: false}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pruned")
    text = CONFIG.replace("sample: true", f"root: {folder}/data, sample: true, corpora: {{general: {{files: "
                          "[corpus/general.txt]}}")  # fmt: skip
    (folder / "pruned.yaml").write_text(f"output_dir: {folder}/run\n{text}", encoding="utf-8")
    tool("train", "-c", str(folder / "pruned.yaml"))
    return folder / "pruned.yaml"


def test_the_run_ends_in_an_ordinary_folder_of_the_smaller_shape(config: Path) -> None:
    folder = config.parent / "run/stages/recover/model"
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["intermediate_size"] == 16
    model = load_model(str(folder))
    assert [layer.linear1.weight.shape for layer in model.encoder.encoder.layers] == [[16, 16]] * 2
    assert list(model.head_specs) == ["tnews"]
    results = json.loads((config.parent / "run/results.json").read_text(encoding="utf-8"))
    assert {"teacher", "student"} <= {found["role"] for found in results["models"]}
    assert "layers [0, 1] of student@finetune, narrowed by importance" in plan(load_config(config))


def test_it_begins_with_neurons_and_heads_of_the_trained_model(config: Path) -> None:
    workspace = Workspace(load_config(config))
    whole, pruned = workspace.model("student@finetune"), workspace.model("pruned")
    for name, value in whole.heads.state_dict().items():
        assert np.array_equal(pruned.heads.state_dict()[name].numpy(), value.numpy())
    for wide, narrow in zip(whole.encoder.encoder.layers, pruned.encoder.encoder.layers):
        neurons = {tuple(column) for column in wide.linear1.weight.numpy().T}
        assert {tuple(column) for column in narrow.linear1.weight.numpy().T} < neurons
        assert np.array_equal(narrow.self_attn.q_proj.weight.numpy(), wide.self_attn.q_proj.weight.numpy())


def test_a_model_without_answers_is_refused(config: Path) -> None:
    workspace = Workspace(load_config(config, ["models.pruned.init_from=student"]))
    with pytest.raises(InputError, match=r"models\.pruned\.init_narrowed = importance: student has no head"):
        workspace.model("pruned")
