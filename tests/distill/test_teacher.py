"""A live teacher: eval mode, no gradient, and nothing computed that was not asked for."""

from __future__ import annotations

import math

import numpy as np
import paddle
import pytest

from ernie_tiny.batch import Batch
from ernie_tiny.distill.teacher import LiveTeacher, PerTaskTeacher
from ernie_tiny.kind_facts import ROW
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.forms import HeadSpec
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signals import SignalRequest
from tests.shapes import TINY

SHAPE = {**TINY, "num_hidden_layers": 3, "hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5}
REQUEST = SignalRequest(projections=frozenset([1]))


@pytest.fixture
def model() -> MultiTaskModel:
    network = MultiTaskModel(build_encoder("ernie", SHAPE), [HeadSpec("toy", ROW, 2, ("a", "b"))])
    network.train()
    return network


def batch_of(task: str = "toy") -> Batch:
    ids = np.random.default_rng(0).integers(1, 40, (2, 5))
    return Batch(task, ("0", "1"), ids, np.zeros_like(ids), np.ones_like(ids))


def test_dropout_is_off(model):
    in_training = [model(batch_of(), REQUEST).queries[1].numpy() for _ in range(2)]
    assert not np.array_equal(*in_training)
    teacher = LiveTeacher(model, REQUEST)
    assert not any(layer.training for layer in model.sublayers(include_self=True))
    assert np.array_equal(*(teacher(batch_of()).queries[1].numpy() for _ in range(2)))


def test_signals_are_the_models_and_without_gradient(model):
    signals = LiveTeacher(model, REQUEST)(batch_of())
    expected = model(batch_of(), REQUEST)
    for kind in ("queries", "keys", "values"):
        found, own = getattr(signals, kind), getattr(expected, kind)
        assert set(found) == {1} and np.array_equal(found[1].numpy(), own[1].numpy())
        assert found[1].stop_gradient and not own[1].stop_gradient


def test_a_loss_on_its_signals_reaches_no_weight(model):
    signals = LiveTeacher(model, SignalRequest(logits=True, projections=frozenset([0])))(batch_of())
    student = paddle.ones([16, 1])
    student.stop_gradient = False
    (paddle.matmul(signals.values[0], student).sum() + signals.logits.sum()).backward()
    assert student.grad is not None
    assert all(parameter.grad is None for parameter in model.parameters())


def test_nothing_above_the_last_tap_and_no_head_is_run(model):
    calls = []
    for name, layer in (("above", model.encoder.encoder.layers[2]), ("head", model.heads["toy"])):
        layer.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    teacher = LiveTeacher(model, REQUEST)
    assert teacher(batch_of(task="")).logits is None  # general text has no head
    assert calls == []


def test_its_time_is_summed(model):
    teacher = LiveTeacher(model, REQUEST)
    assert teacher.seconds == 0.0
    teacher(batch_of())
    once = teacher.seconds
    teacher(batch_of())
    assert 0 < once < teacher.seconds


def test_on_a_gpu_that_is_not_waited_for_its_time_is_unknown(model, monkeypatch):
    monkeypatch.setattr(paddle.device, "get_device", lambda: "gpu:0")
    teacher = LiveTeacher(model, REQUEST)
    teacher(batch_of())
    assert math.isnan(PerTaskTeacher({batch_of().task: teacher}).seconds)
