"""Padding by hand, and plans that hold every index once within their size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ernie_tiny.batch import NO_LABEL, UNKNOWN, Feature
from ernie_tiny.data.batching import collate, plan_batches, smallest_batch
from ernie_tiny.errors import InputError

PAD, CLS = 0, 7
LENGTHS = np.random.default_rng(0).integers(3, 129, 2000)


def feature(name: str, *sequences: list[int], label: tuple[int, ...] = ()) -> Feature:
    arrays = ((np.array(ids, np.int32), np.arange(len(ids), dtype=np.int32) % 2) for ids in sequences)
    return Feature(name, tuple(arrays), label)


def test_sequences_are_padded_to_the_longest():
    batch = collate([feature("a", [CLS, 5, 8], label=(2,)), feature("b", [CLS, 8], label=(0,))], "toy", PAD)
    assert batch.input_ids.tolist() == [[CLS, 5, 8], [CLS, 8, PAD]]
    assert batch.token_type_ids.tolist() == [[0, 1, 0], [0, 1, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.labels.tolist() == [2, 0]
    assert (batch.task, batch.example_ids) == ("toy", ("a", "b"))
    assert (batch.num_choices, batch.choice_mask) == (1, None)
    arrays = (batch.input_ids, batch.token_type_ids, batch.attention_mask, batch.labels)
    assert {array.dtype for array in arrays} == {np.dtype(np.int64)}
    assert batch.num_tokens == 5


def test_padding_is_the_pad_id():
    batch = collate([feature("a", [CLS, 5]), feature("b", [CLS])], "toy", pad_id=99)
    assert batch.input_ids.tolist() == [[CLS, 5], [CLS, 99]]
    assert batch.attention_mask.tolist() == [[1, 1], [1, 0]]


def test_spans_keep_two_labels():
    windows = [feature("a", [CLS, 5, 8], label=(1, 2)), feature("a", [CLS, 8], label=(0, 0))]
    batch = collate(windows, "toy", PAD)
    assert batch.labels.tolist() == [[1, 2], [0, 0]]


def test_numbers_are_float32():
    batch = collate([feature("a", [CLS], label=(2.5,)), feature("b", [CLS], label=(0.0,))], "toy", PAD)
    assert (batch.labels.tolist(), batch.labels.dtype) == ([2.5, 0.0], np.float32)


def test_a_feature_without_a_label_beside_others_has_an_unknown_one():
    batch = collate([feature("a", [CLS], label=(0,)), feature("b", [CLS])], "toy", PAD)
    assert batch.labels.tolist() == [0, UNKNOWN] and batch.labels.dtype == np.int64
    assert batch.labelled.tolist() == [True, False]
    spans = collate([feature("a", [CLS]), feature("b", [CLS, 5], label=(0, 1))], "toy", PAD)
    assert spans.labels.tolist() == [[UNKNOWN, UNKNOWN], [0, 1]] and spans.labelled.tolist() == [False, True]
    bare = collate([feature("a", [CLS]), feature("b", [CLS])], "toy", PAD)
    assert bare.labels is None and bare.labelled.tolist() == [False, False]


def test_an_unknown_number_is_none_that_a_label_could_be():
    numbers = [feature("a", [CLS], label=(-1.0,)), feature("b", [CLS]), feature("c", [CLS], label=(-100.0,))]
    batch = collate(numbers, "toy", PAD)
    assert batch.labels.dtype == np.float32 and np.isnan(batch.labels[1]) and batch.labels[2] == -100
    assert batch.labelled.tolist() == [True, False, True]


def test_a_part_of_a_batch_keeps_its_candidates_together():
    choices = [
        Feature(name, tuple((np.array(ids, np.int32), np.zeros(len(ids), np.int32)) for ids in rows), label)
        for name, rows, label in (
            ("a", ([CLS, 5], [CLS, 6]), (1,)),
            ("b", ([CLS, 7],), ()),
            ("c", ([CLS, 8], [CLS, 9, 5]), (0,)),
        )
    ]
    batch = collate(choices, "toy", PAD)
    part = batch.only(batch.labelled)
    assert part.example_ids == ("a", "c") and part.labels.tolist() == [1, 0]
    assert part.input_ids[:, 1].tolist() == [5, 6, 8, 9] and part.choice_mask.tolist() == [[1, 1], [1, 1]]
    assert batch.only(~batch.labelled).choice_mask.tolist() == [[1, 0]]


def test_a_missing_candidate_is_one_real_token_that_the_choice_mask_excludes():
    three = feature("a", [CLS, 1], [CLS, 2, 3], [CLS, 4], label=(1,))
    batch = collate([three, feature("b", [CLS, 5], [CLS, 6], label=(0,))], "toy", PAD)
    assert batch.num_choices == 3
    assert batch.choice_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.input_ids.tolist()[2:] == [[CLS, 4, PAD], [CLS, 5, PAD], [CLS, 6, PAD], [CLS, PAD, PAD]]
    assert batch.attention_mask.tolist()[5] == [1, 0, 0]
    assert batch.labels.tolist() == [1, 0]
    scores = np.where(batch.attention_mask == 1, 0.0, -np.inf)
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    assert np.isfinite(exponents / exponents.sum(axis=1, keepdims=True)).all()


@st.composite
def sizes(draw: st.DrawFn) -> tuple[np.ndarray, dict]:
    lengths = np.array(draw(st.lists(st.integers(1, 60), min_size=1, max_size=400)))
    if draw(st.booleans()):
        return lengths, {"batch_size": draw(st.integers(1, 9)), "max_tokens": None}
    return lengths, {"batch_size": None, "max_tokens": int(lengths.max()) + draw(st.integers(0, 200))}


@given(sizes(), st.integers(0, 2**31), st.booleans())
def test_every_index_stands_once_in_batches_of_the_right_size(case, seed, shuffle):
    lengths, size = case
    batches = plan_batches(lengths, seed, 0, shuffle=shuffle, **size)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert min(map(len, batches)) >= smallest_batch(lengths, **size) >= 1
    if size["batch_size"] is not None:
        assert max(map(len, batches)) <= size["batch_size"]
        assert len(batches) == math.ceil(len(lengths) / size["batch_size"])
    else:
        assert max(len(batch) * lengths[batch].max() for batch in batches) <= size["max_tokens"]


@pytest.mark.parametrize("size", [(16, None), (None, 2048)])
def test_a_plan_is_a_function_of_seed_and_epoch(size):
    def plan(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in plan_batches(LENGTHS, seed, epoch, *size)]

    assert plan(1, 0) == plan(1, 0)
    assert plan(1, 0) != plan(1, 1)
    assert plan(1, 0) != plan(2, 0)


def test_batches_hold_similar_lengths_in_no_order():
    batches = plan_batches(LENGTHS, 0, 0, 16, None)
    padded = sum(len(batch) * LENGTHS[batch].max() for batch in batches)
    assert padded < 1.05 * LENGTHS.sum()  # in random batches nearly half is padding
    longest = np.array([LENGTHS[batch].max() for batch in batches])
    assert abs(np.corrcoef(longest[1:], longest[:-1])[0, 1]) < 0.3


def test_a_token_budget_is_used():
    batches = plan_batches(LENGTHS, 0, 0, None, 2048)
    assert LENGTHS.sum() / (2048 * len(batches)) > 0.9


def test_without_shuffling_the_plan_does_not_depend_on_the_seed():
    one = plan_batches(LENGTHS, 1, 0, 16, None, shuffle=False)
    two = plan_batches(LENGTHS, 2, 5, 16, None, shuffle=False)
    assert [batch.tolist() for batch in one] == [batch.tolist() for batch in two]
    assert np.concatenate(one[:50]).max() < 50 * 16


def test_no_features_make_no_batches():
    assert plan_batches(np.array([]), 0, 0, None, 8) == []


def test_a_rest_shares_with_the_batch_before():
    assert sorted(map(len, plan_batches(np.full(33, 4), 0, 0, 32, None))) == [16, 17]
    assert smallest_batch(np.full(33, 4), 32, None) == 16


def test_a_budget_below_the_longest_feature():
    with pytest.raises(InputError, match=r"max_tokens = 100 .* 120 padded tokens .*number 1"):
        plan_batches(np.array([3, 120, 5]), 0, 0, None, 100)


def test_labels_of_unequal_numbers_are_filled_up() -> None:
    tags = [feature("a", [CLS, 5, 8], label=(NO_LABEL, 2, 1)), feature("b", [CLS, 8], label=(NO_LABEL, 0))]
    batch = collate(tags, "toy", PAD)
    assert batch.labels is not None and batch.labels.dtype == "int64"
    assert batch.labels.tolist() == [[NO_LABEL, 2, 1], [NO_LABEL, 0, NO_LABEL]]
