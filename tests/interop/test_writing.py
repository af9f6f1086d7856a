"""Folders written for transformers, opened there: the same logits, and the same labels by its pipelines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from ernie_tiny.data.huggingface_tokenizer import save_tokenizer_for_transformers
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from ernie_tiny.evaluation.predict import predict
from ernie_tiny.kind_facts import facts_of
from ernie_tiny.kinds.ask import featurise, head_of
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.huggingface_write import CHOICE, CLASSES, save_for_transformers
from ernie_tiny.models.multitask import MultiTaskModel, SingleTaskModel
from tests.shapes import TINY

torch = pytest.importorskip("torch", reason="the extra interop (torch, transformers) is not installed")
transformers = pytest.importorskip("transformers", reason="the extra interop (torch, transformers) is not installed")

TEXT = "今天北京的天气很好我们去公园看花"
TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *dict.fromkeys(TEXT)])
BOUND = 1e-4
SHAPE = {**TINY, "vocab_size": TOKENIZER.vocab_size, "max_position_embeddings": 40}
TASKS = {
    "classification": TaskSpec("topic", "classification", {}, labels=("故事", "文化", "娱乐")),
    "pair": TaskSpec("same", "pair", {}, labels=("no", "yes"), texts=("a", "b")),
    "regression": TaskSpec("near", "regression", {}),
    "multiple_choice": TaskSpec("c", "multiple_choice", {}),
    "cloze": TaskSpec("z", "cloze", {}),
    "reading": TaskSpec("r", "reading", {}),
    "labelling": TaskSpec("e", "labelling", {}, labels=("人", "地"), scheme="bio"),
}
FAMILIES = ("ernie", "bert", "roberta", "electra")
CASES = [
    (family, kind)
    for family in FAMILIES
    for kind in TASKS
    if family != "electra" or facts_of(kind).transformers_head not in (CHOICE, CLASSES)
]


def built(family: str, spec: TaskSpec, **changes: int) -> MultiTaskModel:
    paddle.seed(7)
    model = MultiTaskModel(build_encoder(family, {**SHAPE, **changes}), [head_of(spec)])
    for parameter in model.parameters():
        parameter.set_value(parameter + 0.2 * paddle.randn(parameter.shape))
    model.eval()
    return model


def write(model: MultiTaskModel, spec: TaskSpec, folder: Path) -> None:
    kind = kind_named(spec.kind)
    names = kind.output_names(spec)
    save_for_transformers(model, folder, {"pad_token_id": 0}, spec.name, kind.facts.transformers_head, names)
    save_tokenizer_for_transformers(TOKENIZER, folder, 24, 2)


@pytest.mark.parametrize("family, kind", CASES)
def test_a_model_of_each_kind_gives_the_same_logits(family: str, kind: str, tmp_path: Path) -> None:
    compare(built(family, TASKS[kind]), kind, tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_fewer_heads_gives_the_same_logits(family: str, tmp_path: Path) -> None:
    compare(built(family, TASKS["labelling"], num_attention_heads=3, head_size=4), "labelling", tmp_path)


def compare(model: MultiTaskModel, kind: str, tmp_path: Path) -> None:
    spec = TASKS[kind]
    write(model, spec, tmp_path)
    head = facts_of(kind).transformers_head
    opened, told = getattr(transformers, f"AutoModelFor{head}").from_pretrained(tmp_path, output_loading_info=True)
    assert not any(told[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys")), told
    ids = np.random.default_rng(3).integers(5, TOKENIZER.vocab_size, (4, 9))
    mask, types = np.ones_like(ids), np.zeros_like(ids)
    mask[1, 6:], types[:, 5:] = 0, 1
    ids[mask == 0] = 0
    single = SingleTaskModel(model, spec.name)
    single.eval()
    with paddle.no_grad():
        expected = single(*map(paddle.to_tensor, (ids, types, mask))).numpy()
    arrays = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
    if head == CHOICE:
        arrays = {name: value.reshape(2, 2, 9) for name, value in arrays.items()}
    with torch.no_grad():
        found = opened.eval()(**{name: torch.tensor(value) for name, value in arrays.items()})
    if "start_logits" in found:
        logits = torch.stack([found.start_logits, found.end_logits], 1).numpy()
    else:
        logits = found.logits.numpy()
    if logits.shape[-1] != expected.shape[-1] and head not in (CHOICE,):
        logits = logits.transpose(0, 2, 1)
    real = np.broadcast_to(mask[:, None], expected.shape) == 1 if expected.ndim == 3 else np.ones_like(expected) == 1
    assert np.abs(logits.reshape(expected.shape) - expected)[real].max() < BOUND


@pytest.mark.parametrize("family", FAMILIES[:3])
def test_the_pipeline_gives_the_labels_of_our_predictions_on_200_texts(family: str, tmp_path: Path) -> None:
    spec = TASKS["classification"]
    model = built(family, spec)
    draw = np.random.default_rng(4)
    texts = ["".join(draw.choice(list(TEXT + "龘A "), draw.integers(1, 30))) for _ in range(200)]
    examples = [Example(str(number), (text,)) for number, text in enumerate(texts)]
    features = featurise(spec, examples, TOKENIZER, 24)
    raw = predict(model, spec, examples, features, 0, 4096)
    usual = paddle.to_tensor(np.log([one.scores for one in raw]).mean(axis=0), "float32")
    model.heads["topic"].dense.bias.set_value(model.heads["topic"].dense.bias - usual)  # so that no label always wins
    answers = predict(model, spec, examples, features, 0, 4096)
    write(model, spec, tmp_path)
    pipeline = transformers.pipeline("text-classification", str(tmp_path), device="cpu")
    found = pipeline(texts, truncation=True, batch_size=16)
    assert [one["label"] for one in found] == [one.answer for one in answers]
    assert len({one["label"] for one in found}) > 1
    np.testing.assert_allclose([one["score"] for one in found], [max(one.scores) for one in answers], atol=BOUND)


def test_the_pipeline_gives_each_token_its_tag_at_its_characters(tmp_path: Path) -> None:
    spec = TASKS["labelling"]
    model = built("ernie", spec)
    write(model, spec, tmp_path)
    pipeline = transformers.pipeline("token-classification", str(tmp_path), device="cpu", ignore_labels=[])
    text = "我们今天去北京"
    (feature,) = featurise(spec, [Example("0", (text,))], TOKENIZER, 24)
    ids, types = (paddle.to_tensor(np.array([part])) for part in feature.sequences[0])
    with paddle.no_grad():
        logits = SingleTaskModel(model, "e")(ids, types, paddle.ones_like(ids)).numpy()[0]
    names = kind_named("labelling").output_names(spec)
    expected = [names[column] for column in logits.argmax(axis=0)[1:-1]]
    assert [(one["entity"], text[one["start"] : one["end"]]) for one in pipeline(text)] == list(zip(expected, text))
