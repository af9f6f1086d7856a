"""Sampling weights by hand; the stream's frequencies, epochs, processes and resumption."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie_tiny.batch import Batch, Feature
from ernie_tiny.data.sampling import TaskStream, sampling_weights
from ernie_tiny.errors import InputError

SIZES = {"large": 10000, "small": 100}


def features(task: str, count: int) -> list[Feature]:
    random = np.random.default_rng(count)
    lengths = random.integers(3, 20, count)
    sequences = [(np.full(length, 5, np.int32), np.zeros(length, np.int32)) for length in lengths]
    return [Feature(f"{task}-{number}", (sequence,), (0,)) for number, sequence in enumerate(sequences)]


FEATURES = {"a": features("a", 97), "b": features("b", 40), "c": features("c", 23)}
WEIGHTS = {"a": 0.5, "b": 0.3, "c": 0.2}
BY_SIZE = {"batch_size": 8, "max_tokens": None}
BY_TOKENS = {"batch_size": None, "max_tokens": 160}


def stream(seed: int = 3, size: dict = BY_SIZE, **options) -> TaskStream:
    return TaskStream(FEATURES, WEIGHTS, seed, pad_id=0, **{**size, **options})


def contents(batch: Batch) -> tuple:
    return batch.task, batch.example_ids, batch.input_ids.tolist()


def take(source: TaskStream, count: int) -> list[tuple]:
    return [contents(source.next_batch()) for _ in range(count)]


@pytest.mark.parametrize(
    ("strategy", "exponent", "large"),
    [
        ("proportional", 0.5, 10000 / 10100),
        ("temperature", 0.5, 100 / 110),  # square roots 100 and 10
        ("temperature", 1.0, 10000 / 10100),
        ("temperature", 0.0, 0.5),
        ("uniform", 0.5, 0.5),
    ],
)
def test_weights_by_hand(strategy, exponent, large):
    assert sampling_weights(SIZES, strategy, exponent) == pytest.approx({"large": large, "small": 1 - large})


def test_explicit_weights_are_normalised():
    weights = {"small": 3.0, "large": 1.0}
    assert sampling_weights(SIZES, "explicit", weights=weights) == {"large": 0.25, "small": 0.75}
    assert sampling_weights({"small": 100}, "explicit", weights=weights) == {"small": 1.0}  # of a stage per task


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 10**9), min_size=1), st.floats(0, 50))
def test_weights_sum_to_one(sizes, exponent):
    weights = sampling_weights(sizes, "temperature", exponent)
    assert sum(weights.values()) == pytest.approx(1)
    assert list(weights) == list(sizes)


def test_an_empty_task_is_a_fault():
    with pytest.raises(InputError, match="the task small has 0"):
        sampling_weights({"large": 4, "small": 0}, "uniform")


def test_tasks_come_as_often_as_their_weights_say():
    steps = 3000
    drawn = Counter(batch[0] for batch in take(stream(), steps))
    chi_square = sum((drawn[task] - steps * p) ** 2 / (steps * p) for task, p in WEIGHTS.items())
    assert chi_square < 13.8  # two degrees of freedom: 1 in 1000


@pytest.mark.parametrize("size", [BY_SIZE, BY_TOKENS])
def test_a_task_shows_every_feature_once_an_epoch(size):
    source = stream(size=size)
    seen = {task: [] for task in FEATURES}
    for task, ids, _ in take(source, 250):
        seen[task].extend(ids)
    for task, known in FEATURES.items():
        ids = [feature.example_id for feature in known]
        orders = [seen[task][start : start + len(ids)] for start in range(0, 3 * len(ids), len(ids))]
        assert [sorted(order) for order in orders] == 3 * [sorted(ids)]
        assert orders[0] != orders[1] != orders[2]


def test_batches_per_epoch():
    assert stream().batches_per_epoch == 13 + 5 + 3
    assert (
        stream(size=BY_TOKENS).batches_per_epoch
        >= sum(len(f.sequences[0][0]) for known in FEATURES.values() for f in known) / 160
    )


@pytest.mark.parametrize("size", [BY_SIZE, BY_TOKENS])
@settings(max_examples=25, deadline=None)
@given(position=st.integers(0, 120))
def test_resuming_anywhere_equals_going_on(size, position):
    undisturbed = stream(size=size)
    take(undisturbed, position)
    state = json.loads(json.dumps(undisturbed.state_dict()))
    resumed = stream(size=size)
    take(resumed, 7)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == undisturbed.state_dict()
    assert take(resumed, 12) == take(undisturbed, 12)


def test_a_position_behind_the_end_of_a_shorter_epoch_is_the_next_ones_begin():
    source = stream()
    epochs = {task: epoch for task, (epoch, _) in source.state_dict()["places"].items()}
    source.load_state_dict({"step": 3, "places": {task: [epoch, 10**6] for task, epoch in epochs.items()}})
    assert source.state_dict()["places"] == {task: [epoch + 1, 0] for task, epoch in epochs.items()}
    source.next_batch()


def test_a_state_does_not_change_with_the_stream():
    source = stream()
    state = source.state_dict()
    take(source, 5)
    assert state == stream().state_dict()
    source.load_state_dict(state)
    take(source, 5)
    assert state == stream().state_dict()


def test_a_position_far_away_needs_no_replay():
    source = stream()
    source.load_state_dict({"step": 10**12, "places": {"a": [10**9, 3], "b": [10**9, 1], "c": [10**9, 0]}})
    assert len(take(source, 3)) == 3


@pytest.mark.parametrize("size", [BY_SIZE, BY_TOKENS])
@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_part_the_global_batch_between_them(size, world_size):
    alone = stream(size=size)
    ranks = [stream(size=size, rank=rank, world_size=world_size) for rank in range(world_size)]
    for _ in range(60):
        whole, parts = alone.next_batch(), [rank.next_batch() for rank in ranks]
        for rank, part in enumerate(parts):
            assert (part.task, part.example_ids) == (whole.task, whole.example_ids[rank::world_size])
            assert len(part.example_ids) >= 1
        assert all(rank.state_dict() == alone.state_dict() for rank in ranks)


def test_the_order_depends_on_the_seed_and_not_on_the_order_of_the_tasks():
    turned = {task: FEATURES[task] for task in reversed(list(FEATURES))}
    assert take(TaskStream(turned, WEIGHTS, 3, 8, None, 0), 20) == take(stream(), 20)
    assert [task for task, _, _ in take(stream(seed=4), 20)] != [task for task, _, _ in take(stream(), 20)]


@pytest.mark.parametrize(("batch_size", "max_tokens"), [(6, None), (None, 120)])
def test_too_many_processes_are_told_at_once(batch_size, max_tokens):
    with pytest.raises(InputError, match="may hold as few as 3, too few for 4 processes"):
        stream(batch_size=batch_size, max_tokens=max_tokens, world_size=4)


def test_candidates_count_towards_the_budget():
    sequence = (np.full(10, 5, np.int32), np.zeros(10, np.int32))
    choices = [Feature(str(i), (sequence,) * (2 + i % 2)) for i in range(30)]
    source = TaskStream({"choice": choices}, {"choice": 1.0}, 0, None, 90, 0)
    assert max(source.next_batch().input_ids.size for _ in range(20)) == 90


def test_a_checkpoint_of_other_tasks_is_refused():
    state = stream().state_dict()
    other = TaskStream({"a": FEATURES["a"]}, {"a": 1.0}, 3, 8, None, 0)
    with pytest.raises(InputError, match="of the tasks a, b, c, this stage has a"):
        other.load_state_dict(state)
