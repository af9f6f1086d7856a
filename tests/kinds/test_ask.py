"""From features to predictions through any network, batch by batch."""

from __future__ import annotations

import numpy as np
import pytest

from ernie_tiny.batch import Batch, Feature
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.kinds import ask as module
from ernie_tiny.kinds.ask import answer

FLAT = TaskSpec("flat", "classification", {}, labels=("even", "odd"))
CHOICE = TaskSpec("choice", "multiple_choice", {})
READING = TaskSpec("reading", "reading", {})


def row(number: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(length, number, np.int32), np.zeros(length, np.int32)


@pytest.mark.parametrize("batch_tokens", [1, 7, 16, 64, 8192])
def test_every_example_is_answered_once_and_in_order(batch_tokens: int) -> None:
    examples = [Example(f"e{n}", ("",)) for n in range(30)]
    features = [Feature(f"e{n}", (row(n, 1 + n * 7 % 13),)) for n in range(30)]
    seen: list[str] = []

    def network(batch: Batch) -> np.ndarray:
        seen.extend(batch.example_ids)
        assert batch.input_ids.size <= max(batch_tokens, 13)
        return np.eye(2)[batch.input_ids[:, 0] % 2]

    found = answer(FLAT, examples, features, 0, batch_tokens, network)
    assert sorted(seen) == sorted(example.id for example in examples)
    assert [p.id for p in found] == [example.id for example in examples]
    assert [p.answer for p in found] == ["even", "odd"] * 15


def test_processes_share_the_batches_of_one_and_all_have_all_predictions() -> None:
    examples = [Example(f"e{n}", ("",)) for n in range(30)]
    features = [Feature(f"e{n}", (row(n, 1 + n * 7 % 13),)) for n in range(30)]
    seen: list[str] = []

    def network(batch: Batch) -> np.ndarray:
        seen.append("/".join(batch.example_ids))
        return np.stack([batch.input_ids[:, 0], np.full(len(batch.example_ids), 14.5)], axis=1)

    def keep(own: dict[int, np.ndarray]) -> list[dict[int, np.ndarray]]:
        shares.append(own)
        return [{number: np.zeros(2) for number in range(30)}]

    alone = answer(FLAT, examples, features, 0, 16, network)
    batches, shares = sorted(seen), []
    seen.clear()
    for rank in range(3):
        answer(FLAT, examples, features, 0, 16, network, rank, 3, keep)
    assert sorted(seen) == batches
    assert answer(FLAT, examples, features, 0, 16, network, 0, 3, lambda own: shares) == alone


def test_a_choice_that_stands_in_is_never_taken() -> None:
    counts = [2, 4, 3, 2]
    examples = [Example(f"e{n}", ("", ""), None, ("c",) * count) for n, count in enumerate(counts)]
    features = [Feature(f"e{n}", (row(n, 5),) * count) for n, count in enumerate(counts)]

    def network(batch: Batch) -> np.ndarray:
        assert batch.choice_mask is not None
        return np.where(batch.choice_mask, np.arange(batch.num_choices), 100.0)  # the missing ones score highest

    found = answer(CHOICE, examples, features, 0, 8192, network)
    assert [p.answer for p in found] == ["1", "3", "2", "1"]
    assert [len(p.scores) for p in found] == counts


def test_padding_counts_for_features_of_unequal_candidates() -> None:
    counts, lengths = [4, 2], [10, 20]
    examples = [Example(f"e{n}", ("", ""), None, ("c",) * count) for n, count in enumerate(counts)]
    features = [Feature(f"e{n}", (row(n, lengths[n]),) * counts[n]) for n in range(2)]

    def network(batch: Batch) -> np.ndarray:
        assert batch.input_ids.size <= 80  # together they would take 2 x 4 x 20
        assert batch.choice_mask is not None
        return batch.choice_mask.astype(float)

    assert len(answer(CHOICE, examples, features, 0, 80, network)) == 2


def test_span_logits_end_where_the_feature_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [3, 9, 5]
    examples = [Example(f"e{n}", ("", "")) for n in range(3)]
    features = [Feature(f"e{n}", (row(n, length),)) for n, length in enumerate(lengths)]
    given: list[np.ndarray] = []
    monkeypatch.setattr(module, "decode", lambda spec, examples, features, logits: given.extend(logits))

    def network(batch: Batch) -> np.ndarray:
        positions = np.arange(batch.input_ids.shape[1], dtype=float)
        return batch.input_ids[:, :1, None] * 100 + np.stack([positions, -positions])[None]

    answer(READING, examples, features, 0, 8192, network)
    assert len(given) == 3
    for number, (values, length) in enumerate(zip(given, lengths)):
        np.testing.assert_array_equal(values, 100 * number + np.stack([np.arange(length), -np.arange(length)]))
