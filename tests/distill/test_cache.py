"""A cached teacher gives what the live one gave, for the same inputs in any order and company, and for no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ernie_tiny.batch import Batch, Feature
from ernie_tiny.data.batching import collate
from ernie_tiny.distill.cache import CachedTeacher, fingerprint_of, write_cache
from ernie_tiny.distill.teacher import LiveTeacher
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import CANDIDATE, POSITION, ROW
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.forms import HeadSpec
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signals import SignalRequest
from tests.shapes import TINY

SHAPE = {**TINY, "hidden_size": 8, "intermediate_size": 16}
HEADS = [
    HeadSpec("topic", ROW, 3, ("a", "b", "c")),
    HeadSpec("pick", CANDIDATE, 1),
    HeadSpec("read", POSITION, 2),
]
BY_TASK = {head.task: head for head in HEADS}
EVERYTHING = SignalRequest(True, True, frozenset([0, 1]), frozenset([1]))
LOGITS = SignalRequest(logits=True)
IDENTITY = {"teacher": "one", "tokenizer": "two"}


@pytest.fixture(scope="module")
def model() -> MultiTaskModel:
    return MultiTaskModel(build_encoder("ernie", SHAPE), HEADS)


def features_of(task: str) -> list[Feature]:
    """Six inputs of different lengths; choice inputs have one to three candidates."""
    random = np.random.default_rng(1)

    def sequence(length: int) -> tuple[np.ndarray, np.ndarray]:
        return random.integers(5, 40, length).astype(np.int32), (np.arange(length) > 2).astype(np.int32)

    found = []
    for number in range(6):
        candidates = 1 + number % 3 if task == "pick" else 1
        found.append(Feature(f"{number}", tuple(sequence(4 + (number * 5 + n) % 7) for n in range(candidates)), (0,)))
    return found


def batches_of(task: str, *groups: tuple[int, ...]) -> list[Batch]:
    features = features_of(task)
    return [collate([features[number] for number in group], task, pad_id=0) for group in groups]


@pytest.fixture
def logits(model: MultiTaskModel, tmp_path: Path) -> Path:
    """A cache of the logits of two inputs."""
    live, batches = LiveTeacher(model, LOGITS), batches_of("topic", (0, 1))
    write_cache(tmp_path, live, batches, LOGITS, "float32", IDENTITY, BY_TASK)
    return tmp_path


@pytest.mark.parametrize("task", ["topic", "pick", "read"])
def test_signals_are_those_of_the_live_teacher_in_other_company(model, task, tmp_path):
    live = LiveTeacher(model, EVERYTHING)
    write_cache(tmp_path, live, batches_of(task, (0, 1, 2), (3, 4, 5)), EVERYTHING, "float32", IDENTITY, BY_TASK)
    teacher = CachedTeacher([tmp_path], EVERYTHING, "float32", IDENTITY, BY_TASK)
    for batch in batches_of(task, (5, 0), (2,), (4, 1, 3)):
        found, expected = teacher(batch), live(batch)
        assert found.logits.shape == expected.logits.shape
        np.testing.assert_allclose(found.logits.numpy(), expected.logits.numpy(), atol=1e-5)
        real = batch.token_mask.astype(bool)
        pairs = [(found.embeddings, expected.embeddings)]
        for name in ("hidden", "queries", "keys", "values"):
            own, other = getattr(found, name), getattr(expected, name)
            assert own.keys() == other.keys()
            pairs += [(own[layer], other[layer]) for layer in own]
        for own, other in pairs:
            assert own.shape == other.shape
            np.testing.assert_allclose(own.numpy()[real], other.numpy()[real], atol=1e-5)
            assert not own.numpy()[~real].any()


def test_tasks_of_all_forms_share_a_cache(model, tmp_path):
    live, batches = LiveTeacher(model, LOGITS), [batches_of(head.task, (0, 1, 2))[0] for head in HEADS]
    write_cache(tmp_path, live, batches, LOGITS, "float32", IDENTITY, BY_TASK)
    teacher = CachedTeacher([tmp_path], LOGITS, "float32", IDENTITY, BY_TASK)
    for batch in batches:
        np.testing.assert_allclose(teacher(batch).logits.numpy(), live(batch).logits.numpy(), atol=1e-5)


def test_parts_of_several_processes_are_one_cache(model, tmp_path):
    live = LiveTeacher(model, EVERYTHING)
    parts = [tmp_path / "part-0", tmp_path / "part-1"]
    for part, groups in zip(parts, (((0, 3),), ((1, 2), (4, 5)))):
        part.mkdir()
        write_cache(part, live, batches_of("topic", *groups), EVERYTHING, "float32", IDENTITY, BY_TASK)
    teacher = CachedTeacher(parts, EVERYTHING, "float32", IDENTITY, BY_TASK)
    (batch,) = batches_of("topic", (4, 3, 2, 0))
    np.testing.assert_allclose(teacher(batch).logits.numpy(), live(batch).logits.numpy(), atol=1e-5)


def test_float16_is_near(model, tmp_path):
    request = SignalRequest(logits=True, hidden=frozenset([1]))
    live = LiveTeacher(model, request)
    (batch,) = batches_of("topic", (0, 1, 2))
    write_cache(tmp_path, live, [batch], request, "float16", IDENTITY, BY_TASK)
    found = CachedTeacher([tmp_path], request, "float16", IDENTITY, BY_TASK)(batch)
    np.testing.assert_allclose(found.logits.numpy(), live(batch).logits.numpy(), atol=1e-3)
    assert (tmp_path / "logits.bin").stat().st_size == 3 * 3 * 2


def test_what_float16_cannot_hold_is_refused(model, tmp_path):
    bias = model.heads["topic"].dense.bias
    kept = bias.numpy()
    bias.set_value(kept + 7e4)
    with pytest.raises(InputError, match=r"cache.precision = float16: the teacher's signals reach 7000\d"):
        write_cache(
            tmp_path, LiveTeacher(model, LOGITS), batches_of("topic", (0,)), LOGITS, "float16", IDENTITY, BY_TASK
        )
    bias.set_value(kept)


def test_an_input_that_was_not_cached_is_named(logits):
    teacher = CachedTeacher([logits], LOGITS, "float32", IDENTITY, BY_TASK)
    with pytest.raises(InputError, match="nothing for example 2: the data or its tokens changed"):
        teacher(*batches_of("topic", (1, 2)))
    with pytest.raises(InputError, match="nothing for example 0"):
        teacher(*batches_of("read", (0,)))  # the same tokens of another task


@pytest.mark.parametrize(
    ("precision", "identity", "said"),
    [
        ("float32", {"teacher": "other", "tokenizer": "two"}, r"different: teacher \(one there, other now\)"),
        ("float32", {"teacher": "one", "tokenizer": "new"}, r"different: tokenizer \(two there, new now\)"),
        ("float16", IDENTITY, r"different: precision \(float32 there, float16 now\)"),
    ],
)
def test_what_changed_is_said(logits, precision, identity, said):
    with pytest.raises(InputError, match=said):
        CachedTeacher([logits], LOGITS, precision, identity, BY_TASK)


def test_a_signal_that_was_not_cached_is_named(logits):
    with pytest.raises(InputError, match="without hidden-1"):
        CachedTeacher([logits], SignalRequest(logits=True, hidden=frozenset([1])), "float32", IDENTITY, BY_TASK)


def test_the_fingerprint_is_of_the_weights(model):
    before = fingerprint_of([model])
    assert fingerprint_of([model]) == before
    weight = model.heads["topic"].dense.weight
    kept = weight.numpy()
    weight.set_value(kept + 1e-3)
    assert fingerprint_of([model]) != before
    weight.set_value(kept)
    assert fingerprint_of([model]) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_attention_heads", 1),
        ("hidden_act", "relu"),
        ("layer_norm_eps", 1e-5),
        ("norm_epsilon", 1e-5),  # of a model from transformers, whose layer_norm_eps stays the default
        ("pad_token_id", 1),
    ],
)
def test_the_fingerprint_is_of_numbers_that_no_weight_shows(model, monkeypatch, name, value):
    before = fingerprint_of([model])
    assert getattr(model.encoder.config, name, None) != value
    monkeypatch.setattr(model.encoder.config, name, value, raising=False)
    assert fingerprint_of([model]) != before


def test_a_norm_epsilon_that_is_the_default_changes_no_fingerprint(model, monkeypatch):
    before = fingerprint_of([model])
    monkeypatch.setattr(model.encoder.config, "norm_epsilon", model.encoder.config.layer_norm_eps, raising=False)
    assert fingerprint_of([model]) == before
