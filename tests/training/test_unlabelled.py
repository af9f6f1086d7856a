"""Stages on examples of which a part has no label: exact under any cut into batches and processes, logged, resumed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import paddle
import pytest

from ernie_tiny import processes
from ernie_tiny.batch import UNKNOWN, Batch
from ernie_tiny.config import schema
from ernie_tiny.config.schema import ObjectiveConfig
from ernie_tiny.distill.objective import Objective
from ernie_tiny.distill.terms import side_of
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.training.events import read_events
from ernie_tiny.training.loop import draw_step
from ernie_tiny.training.network import StageNetwork
from tests.training.small_stage import Stopped, StoppingStream, Stream, assert_equal, build, run
from tests.training.test_accumulation import assert_alike, batch_of, draw_totals, gradients, model_of

KINDS = ("classification", "regression", "multiple_choice", "reading")
LABELLED = np.array([True, False, False, True, False, True])  # of the six inputs
CUTS = {
    "two": (slice(0, 2), slice(2, 6)),
    "one without a label": (slice(0, 1), slice(1, 3), slice(3, 6)),
    "singles": tuple(slice(row, row + 1) for row in range(6)),
}


def part(rows: slice, kind: str, labelled: np.ndarray = LABELLED) -> Batch:
    """Some of six inputs; a batch of which none has a label has no labels, as collate makes it."""
    batch = batch_of(rows, kind)
    assert batch.labels is not None
    if not labelled[rows].any():
        return dataclasses.replace(batch, labels=None)
    labels = batch.labels.copy()
    labels[~labelled[rows]] = np.nan if kind == "regression" else UNKNOWN
    return dataclasses.replace(batch, labels=labels)


class Cut:
    def __init__(self, parts: tuple[slice, ...], kind: str, labelled: np.ndarray = LABELLED) -> None:
        self._batches = iter([part(rows, kind, labelled) for rows in parts])

    def next_batch(self) -> Batch:
        return next(self._batches)


def made(kind: str) -> tuple[StageNetwork, MultiTaskModel]:
    """A student that learns from labels and from a teacher's answers and hidden states."""
    student, teacher = model_of(16, kind, False, 1), model_of(24, kind, False, 2)
    terms = {"hard": schema.HardTerm(0.7), "soft": schema.SoftTerm(temperature=2.0), "hidden": schema.HiddenTerm()}
    objective = Objective(ObjectiveConfig(**terms), side_of(student), side_of(teacher), {"topic": kind_named(kind)})
    return StageNetwork({"student": student}, {"student": objective}), teacher


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_any_cut_into_batches_is_one_large_batch(kind: str, cut: str) -> None:
    network, teacher = made(kind)
    steps = [draw_step(Cut(rows, kind), network.counts, len(rows), False) for rows in ((slice(0, 6),), CUTS[cut])]
    assert_alike(*(gradients(network, teacher, step) for step in steps))


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_are_one_large_batch(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the two processes draws no labelled example at all."""
    network, teacher = made(kind)
    order = np.array([False, False, False, True, False, True])
    whole = gradients(network, teacher, draw_step(Cut((slice(0, 6),), kind, order), network.counts, 1, False))
    shares_of_two = ((slice(0, 1), slice(1, 3)), (slice(3, 5), slice(5, 6)))
    batches = [part(rows, kind, order) for cut in shares_of_two for rows in cut]
    own = [draw_totals(network.counts(batch), batch) for batch in batches]
    monkeypatch.setattr(processes, "world_size", lambda: 2)
    monkeypatch.setattr(processes, "total", lambda counts: paddle.to_tensor(np.sum(own, axis=0)))
    steps = [draw_step(Cut(cut, kind, order), network.counts, 2, False) for cut in shares_of_two]
    assert_alike(whole, gradients(network, teacher, *steps))


def test_a_step_without_a_labelled_example_has_a_hard_loss_of_zero() -> None:
    network, teacher = made("classification")
    nothing = np.zeros(6, bool)
    step = draw_step(Cut(CUTS["two"], "classification", nothing), network.counts, 2, False)
    assert [float(shares["hard"]) for _, shares in step.parts if shares is not None] == [0, 0]
    loss, found = gradients(network, teacher, step)
    assert np.isfinite(loss) and all(np.isfinite(gradient).all() for gradient in found.values())


class PartLabelled(Stream):
    """Of each four examples the first has a label, of every third batch none."""

    def next_batch(self) -> Batch:
        batch = super().next_batch()
        assert batch.labels is not None
        labels = np.where(np.arange(4) == 0, batch.labels, UNKNOWN)
        return dataclasses.replace(batch, labels=labels if self.position % 3 else None)


class StoppingPartLabelled(StoppingStream, PartLabelled):
    pass


def test_the_share_of_labelled_examples_is_logged(tmp_path: Path) -> None:
    """Of six batches of four examples four have a labelled one; in intervals of two: 2, 1 and 1 of 8."""
    loop = build(tmp_path, PartLabelled(), logging_steps=2, part_labelled=True)
    loop.train()
    shares = [event["labelled_share"] for event in read_events(tmp_path) if event["event"] == "log"]
    assert shares == [2 / 8, 1 / 8, 1 / 8]


def test_a_stage_of_labelled_examples_logs_no_share(tmp_path: Path) -> None:
    build(tmp_path, Stream()).train()
    assert all("labelled_share" not in event for event in read_events(tmp_path))


@pytest.mark.parametrize("stop", [2, 5])
def test_a_killed_stage_goes_on_to_the_same_weights(stop: int, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", PartLabelled())
    with pytest.raises(Stopped):
        run(tmp_path / "killed", StoppingPartLabelled(stop))
    assert_equal(whole, run(tmp_path / "killed", PartLabelled()))
