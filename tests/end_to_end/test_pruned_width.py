"""A student without half of its heads and neurons: cut by importance, recovered, an ordinary folder in the end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.predict import predict
from ernie_tiny.models.multitask import load_model
from ernie_tiny.runs.plan import plan
from ernie_tiny.serving.predictor import Predictor
from ernie_tiny.training.workspace import Workspace
from tests.tools import tool

CONFIG = """
name: pruned
data: {sample: true}
tokenizer: {build_from: general, vocab_size: 300}
models:
  student: &shape {num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 4, intermediate_size: 32,
                   max_position_embeddings: 64}
  pruned: {<<: *shape, num_attention_heads: 2, head_size: 4, intermediate_size: 16, init_from: student@finetune,
           init_layers: [0, 1], init_narrowed: importance}
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
    objective: {soft: {}, hidden: {layers: [top]}, relation: {relation_heads: 8}, attention: {heads: 4}}
    optim: *optim
export: {model: pruned@recover, tasks: [tnews]}
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
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert [written[key] for key in ("num_attention_heads", "head_size", "intermediate_size")] == [2, 4, 16]
    model = load_model(str(folder))
    assert [layer.self_attn.out_proj.weight.shape for layer in model.encoder.encoder.layers] == [[8, 16]] * 2
    assert [layer.linear1.weight.shape for layer in model.encoder.encoder.layers] == [[16, 16]] * 2
    assert list(model.head_specs) == ["tnews"]
    results = json.loads((config.parent / "run/results.json").read_text(encoding="utf-8"))
    assert {"teacher", "student"} <= {found["role"] for found in results["models"]}
    assert "layers [0, 1] of student@finetune, narrowed by importance" in plan(load_config(config))


def test_it_is_served_and_read_as_a_pretrained_model(config: Path) -> None:
    run = config.parent / "run"
    workspace = Workspace(load_config(config))
    spec, examples = workspace.task("tnews"), workspace.examples("tnews", "dev", 20)
    features = workspace.features("tnews", "dev", 24, 20)
    expected = predict(workspace.model("pruned@recover"), spec, examples, features, workspace.tokenizer.pad_id)
    found = Predictor(run / "export/tnews").predict(examples)
    assert [one.answer for one in found] == [one.answer for one in expected]
    np.testing.assert_allclose([one.scores for one in found], [one.scores for one in expected], atol=1e-5)
    folder = run / "stages/recover/model"
    elsewhere = ["stages.1.teacher=student@finetune", "output_dir=again"]
    again = load_config(config, [f"models.pruned={{pretrained: {folder}}}", *elsewhere])
    assert "2 heads of 4" in plan(again)


def test_transformers_is_told_of_heads_that_were_pruned(config: Path) -> None:
    run = config.parent / "run"
    tool("export", "--run", str(run), "--model", "pruned@recover", "--task", "tnews", "--format", "huggingface")
    written = json.loads((run / "huggingface/tnews/config.json").read_text(encoding="utf-8"))
    assert (written["num_attention_heads"], written["pruned_heads"]) == (4, {"0": [2, 3], "1": [2, 3]})


def test_it_begins_with_neurons_and_heads_of_the_trained_model(config: Path) -> None:
    workspace = Workspace(load_config(config))
    whole, pruned = workspace.model("student@finetune"), workspace.model("pruned")
    for name, value in whole.heads.state_dict().items():
        assert np.array_equal(pruned.heads.state_dict()[name].numpy(), value.numpy())
    for wide, narrow in zip(whole.encoder.encoder.layers, pruned.encoder.encoder.layers):
        neurons = {tuple(column) for column in wide.linear1.weight.numpy().T}
        assert {tuple(column) for column in narrow.linear1.weight.numpy().T} < neurons
        for name in ("q_proj", "k_proj", "v_proj"):
            heads = [np.split(getattr(layer.self_attn, name).weight.numpy(), count, 1) for layer, count in
                     ((wide, 4), (narrow, 2))]  # fmt: skip
            places = [next(at for at, own in enumerate(heads[0]) if np.array_equal(own, head)) for head in heads[1]]
            assert places == sorted(set(places))


def test_a_model_without_answers_is_refused(config: Path) -> None:
    workspace = Workspace(load_config(config, ["models.pruned.init_from=student"]))
    with pytest.raises(InputError, match=r"models\.pruned\.init_narrowed = importance: student has no head"):
        workspace.model("pruned")
