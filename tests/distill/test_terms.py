"""Each term reads the signals that it names and hands them to its loss, layer by layer, without padding."""

from __future__ import annotations

import dataclasses

import numpy as np
import paddle
import pytest

from ernie_tiny.batch import Batch
from ernie_tiny.config import schema
from ernie_tiny.config.schema import ObjectiveConfig
from ernie_tiny.data.batching import collate
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from ernie_tiny.distill.objective import Objective
from ernie_tiny.distill.terms import TERMS, Side
from ernie_tiny.kinds.ask import featurise
from ernie_tiny.kinds.choice import MULTIPLE_CHOICE
from ernie_tiny.kinds.classification import CLASSIFICATION, REGRESSION
from ernie_tiny.kinds.kind import Kind
from ernie_tiny.kinds.labelling import LABELLING
from ernie_tiny.models.signals import SignalRequest, Signals

STUDENT, TEACHER = Side(2, num_heads=2, width=4), Side(4, num_heads=2, width=6)
ROWS, LENGTH = 3, 5
REAL = (5, 3, 4)  # tokens of each row


def batch_of(padding: int = 0, rows: slice = slice(None)) -> Batch:
    mask = np.zeros((ROWS, LENGTH + padding), np.int64)
    for row, count in enumerate(REAL):
        mask[row, :count] = 1
    mask, labels = mask[rows], np.array([0, 1, 1])[rows]
    return Batch("toy", ("a", "b", "c")[rows], np.ones_like(mask), np.zeros_like(mask), mask, labels)


def signals_of(side: Side, seed: int, padding: int = 0, rows: slice = slice(None)) -> Signals:
    """Random signals; what stands at padding is large, so that counting it would show."""
    rng = np.random.default_rng(seed)

    def vectors() -> paddle.Tensor:
        values = rng.normal(size=(ROWS, LENGTH, side.width))
        values = np.concatenate([values, np.full((ROWS, padding, side.width), 7.0)], axis=1)
        for row, count in enumerate(REAL):
            values[row, count:] = 7.0
        return paddle.to_tensor(values[rows].astype(np.float32))

    logits = paddle.to_tensor(rng.normal(size=(ROWS, 2))[rows].astype(np.float32))
    signals = Signals(paddle.to_tensor(batch_of(padding, rows).attention_mask), logits, vectors())
    for layer in range(side.num_layers):
        for store in (signals.hidden, signals.queries, signals.keys, signals.values):
            store[layer] = vectors()
    return signals


def objective_of(name: str, term: object, kind: Kind = CLASSIFICATION) -> Objective:
    paddle.seed(3)
    return Objective(dataclasses.replace(ObjectiveConfig(), **{name: term}), STUDENT, TEACHER, {"toy": kind})


def value(objective: Objective, padding: int = 0, rows: slice = slice(None)) -> float:
    signals = [signals_of(side, seed, padding, rows) for seed, side in enumerate((STUDENT, TEACHER))]
    return float(objective(*signals, batch_of(padding, rows))[0])


EVERY = {
    "hard": schema.HardTerm(),
    "soft": schema.SoftTerm(temperature=2.0),
    "logit_mse": schema.LogitTerm(),
    "relation": schema.RelationTerm(relation_heads=2),
    "sample_relation": schema.SampleRelationTerm(relation_heads=2),
    "attention": schema.AttentionTerm(),
    "hidden": schema.HiddenTerm(),
    "embedding": schema.EmbeddingTerm(),
}


def test_every_term_of_the_config_has_a_loss():
    assert set(TERMS) == {item.name for item in dataclasses.fields(ObjectiveConfig)} == {*EVERY, "mlm"}


@pytest.mark.parametrize("name", EVERY)
def test_padding_never_counts(name):
    objective = objective_of(name, EVERY[name])
    assert value(objective, padding=50) == pytest.approx(value(objective), rel=1e-5)


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"sample_relation"}))
def test_the_weighted_halves_of_a_batch_make_the_whole(name):
    objective = objective_of(name, EVERY[name])
    sizes = (1, 2) if name in ("hard", "soft", "logit_mse") else (5, 3 + 4)  # examples or tokens of the halves
    if name == "attention":
        sizes = (5 * 5, 3 * 3 + 4 * 4)  # pairs of a query and a key
    halves = [value(objective, rows=rows) for rows in (slice(0, 1), slice(1, 3))]
    expected = sum(size * half for size, half in zip(sizes, halves)) / sum(sizes)
    assert value(objective) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "term", "student", "teacher"),
    [
        ("soft", schema.SoftTerm(), SignalRequest(logits=True), SignalRequest(logits=True)),
        ("attention", schema.AttentionTerm(), {"projections": {0, 1}}, {"projections": {1, 3}}),
        ("attention", schema.AttentionTerm(layers=("top",), form="kl"), {"projections": {1}}, {"projections": {3}}),
        ("hidden", schema.HiddenTerm(layers=("0:2",)), {"hidden": {0}}, {"hidden": {2}}),
        ("hidden", schema.HiddenTerm(layers=("last",)), {"hidden": {0, 1}}, {"hidden": {2, 3}}),
        ("embedding", schema.EmbeddingTerm(), SignalRequest(embeddings=True), SignalRequest(embeddings=True)),
    ],
)
def test_only_the_mapped_layers_are_asked_for(name, term, student, teacher):
    objective = objective_of(name, term)
    for found, wanted in ((objective.student_request, student), (objective.teacher_request, teacher)):
        if isinstance(wanted, dict):
            wanted = SignalRequest(**{key: frozenset(layers) for key, layers in wanted.items()})
        assert found == wanted


def test_hidden_states_go_through_their_own_projection_and_are_averaged_over_layers():
    objective = objective_of("hidden", schema.HiddenTerm())
    student, teacher = signals_of(STUDENT, 0), signals_of(TEACHER, 1)
    real = batch_of().attention_mask.astype(bool)
    losses = []
    for own, other, projection in zip((0, 1), (1, 3), objective.terms["hidden"].projections):
        projected = student.hidden[own].numpy() @ projection.weight.numpy()
        losses.append(np.mean((projected - teacher.hidden[other].numpy())[real] ** 2))
    assert float(objective(student, teacher, batch_of())[0]) == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize(("shared", "count"), [(False, 2), (True, 1)])
def test_projections_are_trained_one_a_layer_or_one_for_all(shared, count):
    objective = objective_of("hidden", schema.HiddenTerm(shared_projection=shared))
    assert [list(parameter.shape) for parameter in objective.parameters()] == count * [[4, 6]]
    objective(signals_of(STUDENT, 0), signals_of(TEACHER, 1), batch_of())[0].backward()
    assert all(np.abs(parameter.grad.numpy()).sum() > 0 for parameter in objective.parameters())


def test_rows_that_stand_in_for_missing_candidates_do_not_count():
    """Two choice features of two candidates, the last of which is missing: as if its row were not there."""
    objective = objective_of("hidden", schema.HiddenTerm())
    three = value(objective)
    mask = np.concatenate([batch_of().attention_mask, [[1, 0, 0, 0, 0]]])
    batch = Batch("toy", ("a", "b"), mask, mask, mask, num_choices=2, choice_mask=np.array([[1, 1], [1, 0]]))

    def with_row(signals: Signals) -> Signals:
        for layer, states in signals.hidden.items():
            signals.hidden[layer] = paddle.concat([states, paddle.full_like(states[:1], 9.0)])
        return signals

    four = objective(with_row(signals_of(STUDENT, 0)), with_row(signals_of(TEACHER, 1)), batch)[0]
    assert float(four) == pytest.approx(three, rel=1e-5)


def test_logits_of_missing_candidates_and_padding_do_not_count():
    objective = objective_of("logit_mse", schema.LogitTerm(), MULTIPLE_CHOICE)
    masked = -1.0e4
    student = paddle.to_tensor([[1.0, 2.0, 3.0], [1.0, 2.0, masked]])
    teacher = paddle.to_tensor([[2.0, 2.0, 1.0], [3.0, 2.0, masked]])
    mask = np.ones((6, 2), np.int64)
    batch = Batch("toy", ("a", "b"), mask, mask, mask, num_choices=3, choice_mask=np.array([[1, 1, 1], [1, 1, 0]]))
    found = objective(Signals(paddle.to_tensor(mask), student), Signals(paddle.to_tensor(mask), teacher), batch)[0]
    assert float(found) == pytest.approx(((1 + 0 + 4) / 3 + (4 + 0) / 2) / 2)


ANSWER_TERMS = [
    ("hard", schema.HardTerm()),
    ("soft", schema.SoftTerm(temperature=3.0)),
    ("logit_mse", schema.LogitTerm()),
]


@pytest.mark.parametrize(("name", "term"), ANSWER_TERMS)
def test_a_batch_of_texts_without_a_token_to_tag_weighs_nothing(name, term):
    task = TaskSpec("toy", "labelling", {}, labels=("PER",))
    tokenizer = Tokenizer([*SPECIAL_TOKENS, "甲"])
    features = featurise(task, [Example("a", ("",)), Example("b", ("  ",))], tokenizer, 8)
    batch = collate(features, "toy", tokenizer.pad_id)
    sides = []
    for number in range(2):
        logits = paddle.full([2, 3, batch.input_ids.shape[1]], 1.0 + number)
        logits.stop_gradient = False
        sides.append(Signals(paddle.to_tensor(batch.attention_mask), logits))
    objective = objective_of(name, term, LABELLING)
    loss = objective(*sides, batch)[0]
    loss.backward()
    assert float(loss) == 0 and np.abs(sides[0].logits.grad.numpy()).sum() == 0


@pytest.mark.parametrize(("name", "term"), ANSWER_TERMS)
def test_of_regression_every_answer_term_is_a_squared_error(name, term):
    """Softened, a single number has no gradient: the student would learn from its labels alone, without a word."""
    student, teacher = paddle.to_tensor([[1.0], [2.0]]), paddle.to_tensor([[1.5], [4.0]])
    mask = np.ones((2, 3), np.int64)
    student.stop_gradient = False
    batch = Batch("toy", ("a", "b"), mask, mask, mask, labels=np.array([1.5, 4.0], np.float32))
    signals = Signals(paddle.to_tensor(mask), student), Signals(paddle.to_tensor(mask), teacher)
    loss = objective_of(name, term, REGRESSION)(*signals, batch)[0]
    assert float(loss) == pytest.approx((0.5**2 + 2.0**2) / 2)
    loss.backward()
    assert student.grad.numpy().ravel().tolist() == pytest.approx([-0.5, -2.0])
