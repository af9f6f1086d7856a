"""Accumulated batches make the loss and gradients of one large batch, for every term and kind of answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import numpy as np
import paddle
import pytest
from paddle import Tensor

from ernie_tiny import processes
from ernie_tiny.batch import Batch
from ernie_tiny.config import schema
from ernie_tiny.config.schema import ObjectiveConfig
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.distill.objective import Objective
from ernie_tiny.distill.terms import side_of
from ernie_tiny.kinds.ask import head_of
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.training.events import read_events
from ernie_tiny.training.loop import Step, draw_step
from ernie_tiny.training.network import StageNetwork
from tests.shapes import TINY
from tests.training.small_stage import Stream, build

VOCABULARY = 30
LENGTHS = (3, 9, 4, 7, 2, 5)  # tokens of each input
ROWS_OF_TWO = (slice(0, 1), slice(1, 6))
ROWS_OF_THREE = (slice(0, 3), slice(3, 4), slice(4, 6))
TERMS: dict[str, Any] = {
    "hard": schema.HardTerm(),
    "soft": schema.SoftTerm(temperature=2.0),
    "logit_mse": schema.LogitTerm(),
    "relation": schema.RelationTerm(relation_heads=2),
    "attention": schema.AttentionTerm(),
    "attention kl": schema.AttentionTerm(form="kl"),
    "hidden": schema.HiddenTerm(),
    "embedding": schema.EmbeddingTerm(),
    "mlm": schema.MlmTerm(),
}
ANSWERS = ("hard", "soft", "logit_mse")
KINDS = ("classification", "regression", "multiple_choice", "reading")


def batch_of(rows: slice, kind: str = "classification", masked: bool = False) -> Batch:
    """Some of six inputs, padded to the longest of them."""
    random = np.random.default_rng(7)
    ids = random.integers(1, VOCABULARY, (len(LENGTHS), max(LENGTHS)))
    lengths = np.array(LENGTHS)[rows]
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    ids = ids[rows, : lengths.max()] * mask
    names = tuple("abcdef"[rows])
    batch = Batch("topic", names, ids, np.zeros_like(ids), mask)
    if masked:  # every second token of an input
        where = np.flatnonzero(mask * (np.arange(lengths.max()) % 2 == 1))
        return dataclasses.replace(batch, task="", labels=ids.ravel()[where], masked_positions=where)
    if kind == "multiple_choice":  # two candidates each; the second of every other input is missing
        choices = np.array([[1, number % 2] for number in range(len(LENGTHS))])[rows]
        twice = {name: np.repeat(getattr(batch, name), 2, axis=0) for name in ("token_type_ids", "attention_mask")}
        ids = np.repeat(ids, 2, axis=0)
        ids[1::2] = np.where(ids[1::2], VOCABULARY - ids[1::2], 0)
        labels = np.zeros(len(names), np.int64)
        return dataclasses.replace(batch, input_ids=ids, **twice, labels=labels, num_choices=2, choice_mask=choices)
    labels = {
        "classification": np.array([0, 1, 2, 0, 1, 1]),
        "regression": np.array([7.0, 3.0, 9.0, 4.5, 6.0, 8.0], np.float32),
        "reading": np.array([[1, 2], [3, 5], [0, 0], [2, 6], [1, 1], [0, 4]]),
    }
    return dataclasses.replace(batch, labels=labels[kind][rows])


class Cut:
    """A stream of the given parts of the six inputs."""

    def __init__(self, parts: tuple[slice, ...], kind: str, masked: bool) -> None:
        self._batches = iter([batch_of(rows, kind, masked) for rows in parts])

    def next_batch(self) -> Batch:
        return next(self._batches)


def model_of(width: int, kind: str, masked: bool, seed: int) -> MultiTaskModel:
    paddle.seed(seed)
    shape = {**TINY, "hidden_size": width, "vocab_size": VOCABULARY + 1, "max_position_embeddings": 16}
    shape |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    labels = ("a", "b", "c") if kind == "classification" else ()
    task = TaskSpec("topic", kind, files={}, labels=labels)
    model = MultiTaskModel(build_encoder("ernie", shape), [head_of(task)])
    if masked:
        model.add_masked_token_head()
    for weight in model.parameters():
        if weight.ndim == 2:  # as drawn, all models answer alike, and a small divergence is rounding for the most part
            weight.set_value(10 * weight)
    return model


def made(term: str, kind: str) -> tuple[StageNetwork, Optional[MultiTaskModel]]:
    """A student with its objective of one term, and a teacher where the term has one."""
    masked, key = term == "mlm", term.partition(" ")[0]
    student = model_of(16, kind, masked, 1)
    teacher = None if term in ("hard", "mlm") else model_of(24, kind, masked, 2)
    config = dataclasses.replace(ObjectiveConfig(), **{key: TERMS[term]})
    sides = side_of(student), side_of(teacher) if teacher is not None else None
    kinds = {"topic": kind_named(kind)}
    return StageNetwork({"student": student}, {"student": Objective(config, *sides, kinds)}), teacher


def gradients(network: StageNetwork, teacher: Optional[MultiTaskModel], *steps: Step) -> tuple[float, dict[str, Any]]:
    """Mean loss and summed gradients, as the loop has them before it clips; the mean over processes too."""
    losses, number = [], sum(len(step.parts) for step in steps)
    for step in steps:
        for batch, shares in step.parts:
            signals = None
            if teacher is not None:
                with paddle.no_grad():
                    signals = teacher(batch, network.teacher_request)
            loss = network(batch, signals, 0.0, shares)[0] / number
            loss.backward()
            losses.append(float(loss))
    found = {name: value.grad.numpy() for name, value in network.named_parameters() if value.grad is not None}
    network.clear_gradients()
    return sum(losses), found


def assert_alike(one: tuple[float, dict[str, Any]], other: tuple[float, dict[str, Any]]) -> None:
    """Equal within 1e-6 of the loss, 2e-6 of each gradient's norm or, where its parts cancel out, a tenth of all's.

    The 1e-7 are the rounding of the logits' size, which a small divergence keeps. Gradients differ by up to 1.1e-6 on a
    processor with AVX2, whose products are summed in another order, by less with AVX512.
    """
    assert other[0] == pytest.approx(one[0], rel=1e-6, abs=1e-7)
    assert one[1].keys() == other[1].keys() and one[1]
    whole = np.sqrt(sum(np.square(value).sum() for value in one[1].values()))
    for name, value in one[1].items():
        size = max(np.linalg.norm(value), 0.1 * whole)
        assert np.linalg.norm(value - other[1][name]) <= 2e-6 * size, name


CASES = [(term, "classification") for term in TERMS] + [(term, kind) for term in ANSWERS for kind in KINDS[1:]]
CASES += [(term, "multiple_choice") for term in ("hidden", "attention", "relation")]


@pytest.mark.parametrize("parts", [ROWS_OF_TWO, ROWS_OF_THREE], ids=["two", "three"])
@pytest.mark.parametrize(("term", "kind"), CASES)
def test_accumulated_batches_are_one_large_batch(term: str, kind: str, parts: tuple[slice, ...]) -> None:
    network, teacher = made(term, kind)
    draws = [
        draw_step(Cut(cut, kind, term == "mlm"), network.counts, len(cut), False) for cut in ((slice(0, 6),), parts)
    ]
    assert draws[0].parts[0][1] is None and int(draws[0].tokens) == int(draws[1].tokens)
    assert_alike(*(gradients(network, teacher, step) for step in draws))


@pytest.mark.parametrize("term", TERMS)
def test_two_processes_that_accumulate_are_one_large_batch(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two processes draws two batches, none of them of one size."""
    network, teacher = made(term, "classification")
    masked = term == "mlm"
    whole = gradients(
        network, teacher, draw_step(Cut((slice(0, 6),), "classification", masked), network.counts, 1, False)
    )
    shares_of_two = ((slice(0, 1), slice(1, 3)), (slice(3, 5), slice(5, 6)))
    own = [
        draw_totals(network.counts(batch_of(rows, masked=masked)), batch_of(rows))
        for cut in shares_of_two
        for rows in cut
    ]
    monkeypatch.setattr(processes, "world_size", lambda: 2)
    monkeypatch.setattr(processes, "total", lambda counts: paddle.to_tensor(np.sum(own, axis=0)))
    steps = [draw_step(Cut(cut, "classification", masked), network.counts, 2, False) for cut in shares_of_two]
    assert_alike(whole, gradients(network, teacher, *steps))
    assert int(steps[0].tokens) == sum(LENGTHS)


def draw_totals(counts: Mapping[str, int], batch: Batch) -> list[int]:
    return [*counts.values(), batch.num_tokens, 0]


class Several:
    """A stream of batches of several tasks."""

    def __init__(self, *batches: Batch) -> None:
        self._batches = iter(batches)

    def next_batch(self) -> Batch:
        return next(self._batches)


def test_tasks_weigh_by_their_batches_whatever_their_kinds_count() -> None:
    """Two batches of a task of few decisions beside one of a task of many: 2 to 1, and within a task by decisions."""
    few, other, many = (dataclasses.replace(batch_of(rows), task=task) for rows, task in (
        (slice(0, 1), "topic"), (slice(1, 4), "topic"), (slice(0, 6), "names")
    ))  # fmt: skip
    counts = {id(few): 1, id(other): 3, id(many): 600}
    step = draw_step(Several(few, many, other), lambda batch: {"hard": counts[id(batch)]}, 3, False)
    assert [float(shares["hard"]) for _, shares in step.parts if shares is not None] == [0.5, 1.0, 1.5]


def test_a_task_without_labels_in_a_step_takes_nothing_from_the_others() -> None:
    bare, labelled = (dataclasses.replace(batch_of(slice(0, 3)), task=task) for task in ("bare", "topic"))
    step = draw_step(Several(bare, labelled), lambda batch: {"hard": 3 * (batch is labelled)}, 2, False)
    assert [float(shares["hard"]) for _, shares in step.parts if shares is not None] == [0.0, 1.0]


def test_equal_batches_weigh_what_they_did_to_the_bit() -> None:
    network, _ = made("hard", "classification")
    step = draw_step(Cut((slice(0, 3), slice(3, 6)), "classification", False), network.counts, 2, False)
    assert [float(shares["hard"]) for _, shares in step.parts if shares is not None] == [1.0, 1.0]


class Growing(Stream):
    """Batches of one, two, three ... examples."""

    def next_batch(self) -> Batch:
        batch = super().next_batch()
        rows = slice(0, 1 + (self.position - 1) % 4)
        return cut(batch, rows)


class Joined(Stream):
    """Two batches of Growing as one."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = Growing()

    def next_batch(self) -> Batch:
        one, other = self.parts.next_batch(), self.parts.next_batch()
        self.position += 1
        joined = {
            name: np.concatenate([getattr(one, name), getattr(other, name)])
            for name in ("input_ids", "token_type_ids", "attention_mask", "labels")
        }
        return dataclasses.replace(one, example_ids=one.example_ids + other.example_ids, **joined)


def cut(batch: Batch, rows: slice) -> Batch:
    arrays = {name: getattr(batch, name)[rows] for name in ("input_ids", "token_type_ids", "attention_mask", "labels")}
    return dataclasses.replace(batch, example_ids=batch.example_ids[rows], **arrays)


def test_a_stage_logs_the_losses_of_large_batches(tmp_path: Path) -> None:
    """Six steps with clipping and schedule; the terms that are logged are means over what they count, too."""
    found: list[list[Mapping[str, float]]] = []
    for name, stream, accumulate in (("one", Joined(), 1), ("two", Growing(), 2)):
        loop = build(tmp_path / name, stream, accumulate=accumulate, logging_steps=1)
        switch_off_dropout(loop.network)
        loop.train()
        found.append([event for event in read_events(tmp_path / name) if event["event"] == "log"])
    assert len(found[0]) == 6
    for one, two in zip(*found):
        assert two["raw/hard"] == pytest.approx(one["raw/hard"], rel=1e-5)
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)


def switch_off_dropout(network: Any) -> None:
    for layer in network.sublayers():
        if isinstance(layer, paddle.nn.Dropout):
            layer.p = 0.0
        elif isinstance(getattr(layer, "dropout", None), float):
            layer.dropout = 0.0


def test_counts_of_a_share_are_tensors_that_hold_what_they_should() -> None:
    network, _ = made("attention", "classification")
    step = draw_step(Cut(ROWS_OF_TWO, "classification", False), network.counts, 2, False)
    squares = [LENGTHS[0] ** 2, sum(length**2 for length in LENGTHS[1:])]
    for (_, shares), count in zip(step.parts, squares):
        assert shares is not None and isinstance(shares["attention"], Tensor)
        assert float(shares["attention"]) == pytest.approx(count / (sum(squares) / 2))
