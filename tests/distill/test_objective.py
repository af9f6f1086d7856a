"""The objective is the weighted sum of its terms and asks for what they read, and for no more."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ernie_tiny.batch import Batch
from ernie_tiny.config.schema import HardTerm, MlmTerm, ObjectiveConfig, RelationTerm
from ernie_tiny.distill.losses import cross_entropy, relation_kl
from ernie_tiny.distill.objective import Objective
from ernie_tiny.distill.terms import Side, supervised_loss
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.classification import CLASSIFICATION
from ernie_tiny.models.signals import SignalRequest, Signals

LENGTH = 5
KINDS = {"toy": CLASSIFICATION}


def side(layers: int, width: int = 12) -> Side:
    return Side(layers, num_heads=2, width=width)


def batch_of(labels=(1, 0), task: str = "toy", **more) -> Batch:
    mask = np.ones((2, LENGTH), np.int64)
    mask[1, 3:] = 0
    labels = None if labels is None else np.array(labels)
    return Batch(task, ("a", "b"), np.ones_like(mask), np.zeros_like(mask), mask, labels, **more)


def signals_of(width: int, layers: tuple[int, ...], seed: int, logits=None) -> Signals:
    rng = np.random.default_rng(seed)
    signals = Signals(paddle.to_tensor(batch_of().attention_mask), logits)
    for store in (signals.queries, signals.keys, signals.values):
        for layer in layers:
            store[layer] = paddle.to_tensor(rng.normal(size=(2, LENGTH, width)).astype(np.float32))
    return signals


def student_of(*layers: int) -> Signals:
    logits = paddle.to_tensor(np.random.default_rng(9).normal(size=(2, 3)).astype(np.float32))
    return signals_of(12, layers, 1, logits)


def relation(student: Signals, teacher: Signals, names: tuple[str, ...], layers: tuple[int, int], heads: int) -> float:
    """The sum over the named projections, from relation_kl itself."""
    pairs = [(getattr(student, name)[layers[0]], getattr(teacher, name)[layers[1]]) for name in names]
    return sum(float(relation_kl(*pair, student.attention_mask, heads)) for pair in pairs)


def test_one_term_alone_keeps_its_weight():
    student = student_of()
    hard = float(cross_entropy(student.logits, paddle.to_tensor([1, 0])))
    total, terms = Objective(ObjectiveConfig(hard=HardTerm(0.25)), side(2), kinds=KINDS)(student, None, batch_of())
    assert list(terms) == ["hard"] and float(terms["hard"]) == pytest.approx(hard)
    assert float(total) == pytest.approx(0.25 * hard)


def test_the_total_is_the_weighted_sum_and_the_terms_are_raw():
    config = ObjectiveConfig(hard=HardTerm(2.0), relation=RelationTerm(0.5, relation_heads=6))
    student, teacher = student_of(3), signals_of(24, (5,), 2)
    total, terms = Objective(config, side(4), side(6, 24), KINDS)(student, teacher, batch_of())
    hard = float(cross_entropy(student.logits, paddle.to_tensor([1, 0])))
    relations = relation(student, teacher, ("queries", "keys", "values"), (3, 5), 6)
    assert {name: float(value) for name, value in terms.items()} == pytest.approx({"hard": hard, "relation": relations})
    assert float(total) == pytest.approx(2.0 * hard + 0.5 * relations)


@pytest.mark.parametrize(
    ("pairs", "names"), [(("qq",), ("queries",)), (("vv", "kk"), ("values", "keys")), (("kk",), ("keys",))]
)
def test_relations_are_those_that_are_named(pairs, names):
    student, teacher = student_of(1), signals_of(24, (1,), 2)
    config = ObjectiveConfig(relation=RelationTerm(pairs=pairs, relation_heads=3))
    total, _ = Objective(config, side(2), side(2, 24))(student, teacher, batch_of())
    assert float(total) == pytest.approx(relation(student, teacher, names, (1, 1), 3))


@pytest.mark.parametrize(
    ("term", "student_layers", "student", "teacher"),
    [
        (RelationTerm(), 4, 3, 11),
        (RelationTerm(teacher_layer=-3, student_layer=-2), 4, 2, 9),
        (RelationTerm(teacher_layer=0, student_layer=1), 4, 1, 0),
        (RelationTerm(), 4 + 1, 4, 11),  # an auxiliary layer on top is the last one
    ],
)
def test_layers_may_count_from_the_end(term, student_layers, student, teacher):
    objective = Objective(ObjectiveConfig(relation=term), side(student_layers), side(12))
    assert objective.student_request == SignalRequest(logits=False, projections=frozenset([student]))
    assert objective.teacher_request == SignalRequest(logits=False, projections=frozenset([teacher]))


@pytest.mark.parametrize("of", ["student", "teacher"])
@pytest.mark.parametrize("layer", [4, -5])
def test_a_layer_that_is_not_there_is_refused(of, layer):
    term = RelationTerm(**{f"{of}_layer": layer})
    with pytest.raises(InputError, match=f"{of}_layer = {layer}: the {of} has the layers 0 to 3"):
        Objective(ObjectiveConfig(relation=term), side(4), side(4))


def test_a_relation_without_a_teacher_is_no_term_left_out():
    objective = Objective(ObjectiveConfig(hard=HardTerm(), relation=RelationTerm()), side(2), side(2))
    with pytest.raises(ValueError, match="teacher"):
        objective(student_of(1), None, batch_of())


@pytest.mark.parametrize(
    ("config", "logits", "projections", "teacher"),
    [
        (ObjectiveConfig(hard=HardTerm()), True, set(), set()),
        (ObjectiveConfig(mlm=MlmTerm()), True, set(), set()),
        (ObjectiveConfig(relation=RelationTerm()), False, {1}, {3}),
        (ObjectiveConfig(hard=HardTerm(), relation=RelationTerm()), True, {1}, {3}),
    ],
)
def test_only_what_a_term_reads_is_asked_for(config, logits, projections, teacher):
    objective = Objective(config, side(2), side(4))
    assert objective.student_request == SignalRequest(logits, projections=frozenset(projections))
    assert objective.teacher_request == SignalRequest(projections=frozenset(teacher))


def test_the_term_of_masked_tokens_has_its_own_name_and_weight():
    student = student_of()
    batch = batch_of(labels=(2, 0), task="", masked_positions=np.array([1, 6]))
    total, terms = Objective(ObjectiveConfig(mlm=MlmTerm(weight=3.0)), side(2))(student, None, batch)
    assert list(terms) == ["mlm"]
    assert float(total) == pytest.approx(3 * float(cross_entropy(student.logits, paddle.to_tensor([2, 0]))))


def test_gradients_are_weighted_too():
    student, teacher = student_of(1), signals_of(24, (1,), 2)
    gradients = []
    for weight in (1.0, 4.0):
        student.queries[1] = paddle.to_tensor(student.queries[1].numpy(), stop_gradient=False)
        config = ObjectiveConfig(relation=RelationTerm(weight, relation_heads=3))
        Objective(config, side(2), side(2, 24))(student, teacher, batch_of())[0].backward()
        gradients.append(student.queries[1].grad.numpy())
    np.testing.assert_allclose(gradients[1], 4 * gradients[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("term", "progress", "expected"),
    [
        (HardTerm(2.0), 0.7, 2.0),
        (HardTerm(2.0, final_weight=0.0), 0.25, 1.5),  # three quarters are left
        (HardTerm(2.0, warm_in=0.5), 0.0, 0.0),
        (HardTerm(2.0, warm_in=0.5), 0.25, 1.0),
        (HardTerm(2.0, warm_in=0.5), 0.9, 2.0),
        (HardTerm(2.0, final_weight=4.0, warm_in=0.5), 0.25, 0.5 * 2.5),
    ],
)
def test_a_weight_follows_its_schedule(term, progress, expected):
    objective = Objective(ObjectiveConfig(hard=term), side(2), kinds=KINDS)
    assert objective.weights(progress) == pytest.approx({"hard": expected})
    total, terms = objective(student_of(), None, batch_of(), progress)
    assert float(total) == pytest.approx(expected * float(terms["hard"]))


def test_an_objective_without_projections_trains_nothing_of_its_own():
    assert Objective(ObjectiveConfig(relation=RelationTerm()), side(2), side(2)).parameters() == []


# ---- supervised losses


@pytest.mark.parametrize(("task", "named"), [("toy", "toy"), ("", "general text")])
def test_labels_are_needed(task, named):
    with pytest.raises(ValueError, match=f"a batch of {named} has no labels"):
        supervised_loss(CLASSIFICATION.decisions(student_of().logits, batch_of(None, task)), task)
